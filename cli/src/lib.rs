//! `infra`: sign in to infrastructure from the terminal.
//!
//! From the top: `commands` · `browser_login` `kubeconfig` `trust` · `arguments` · `completion` · `daemon_client` `home`
//! `keyring` · `terminal` · `settings` · `failure` · `durable` `proxy`.

pub mod arguments;
pub mod browser_login;
pub mod commands;
pub mod completion;
pub mod daemon_client;
pub mod durable;
pub mod failure;
pub mod home;
pub mod keyring;
pub mod kubeconfig;
pub mod proxy;
pub mod settings;
pub mod terminal;
pub mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use infra_shared::command_line::{self, Misuse};

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
    let dumps = infra_shared::dumps::forbid();
    // Before all else, because the user is typing.
    if let Some(shell) = settings::completing_shell() {
        return terminal::print_completions(&PROGRAM.answer(&shell, &words));
    }
    let arguments = match parse_arguments(&words) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let Global { color, quiet, verbose, .. } = arguments.global;
    let terminal = Terminal::new(color, quiet, verbose);
    if let Err(error) = dumps {
        let failure = Failure::new(Exit::Failed, "core dumps cannot be forbidden").because(&error);
        return terminal.fail(&failure).into();
    }
    match commands::run(arguments, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => terminal.fail(&failure).into(),
    }
}

/// Parses `words`. Returns the exit code after showing help or a usage error.
fn parse_arguments(words: &[OsString]) -> Result<Arguments, ExitCode> {
    let choice = command_line::colour(words);
    let mut program = Arguments::command().color(choice);
    let parsed = program
        .try_get_matches_from_mut(words)
        .and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches));
    parsed.map_err(|answer| {
        let Some(Misuse { what, because, hint }) = Misuse::of(&answer, &program, words) else {
            return terminal::show_usage(&answer);
        };
        let failure = Failure::new(Exit::Usage, what).because_text(because).hint(hint);
        Terminal::new(choice, false, 0).fail(&failure).into()
    })
}
