//! `infra`: sign in to infrastructure from the terminal.
//!
//! From the top: `commands` · `browser_login` `kubeconfig` `trust` · `arguments` · `completion` · `daemon_client` `home`
//! `keyring` · `terminal` · `settings` · `failure` · `platform` `proxy`.

pub mod arguments;
pub mod browser_login;
pub mod commands;
pub mod completion;
pub mod daemon_client;
pub mod failure;
pub mod home;
pub mod keyring;
pub mod kubeconfig;
mod platform;
pub mod proxy;
pub mod settings;
pub mod terminal;
pub mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use infra_shared::command_line;

use arguments::{Arguments, Global, PROGRAM};
use failure::{Exit, Failure};
use terminal::Terminal;

/// Fuzz targets with the names of their corpora, for `tests/fuzz`. Only built for it.
#[cfg(fuzzing)]
pub fn fuzz_targets() -> Vec<(&'static str, fn(&[u8]))> {
    [browser_login::fuzzing::FUZZ_TARGETS, home::fuzzing::FUZZ_TARGETS].concat()
}

/// Runs the program with `arguments` (its own name first) and returns an exit code of [`failure::Exit`].
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let dumps = infra_shared::core_dumps::forbid();
    // Before all else, because the user is typing.
    if let Some(exit) = PROGRAM.answer_shell(&words) {
        return exit;
    }
    let arguments: Arguments = match command_line::parse(&words, arguments::SYNONYMS) {
        Ok(arguments) => arguments,
        Err(outcome) => {
            let terminal = Terminal::new(command_line::colour(&words), false, 0);
            return outcome.unwrap_or_else(|failure| terminal.fail(&failure).into());
        }
    };
    let Global { color, quiet, verbose, .. } = arguments.global;
    let terminal = Terminal::new(color, quiet, verbose);
    if let Err(error) = dumps {
        let failure = Failure::new(Exit::Failed, "cannot forbid core dumps").because(&error);
        return terminal.fail(&failure).into();
    }
    match commands::run(arguments, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => terminal.fail(&failure).into(),
    }
}
