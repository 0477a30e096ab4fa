//! `infra`: sign in to infrastructure from the terminal.
//!
//! From the top: `arguments` `commands` · `browser_login` `completion` `trust` · `daemon_client` `home` `keyring`
//! `kubeconfig` · `proxy` `settings` `terminal` `failure` · `durable`.

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

use arguments::{Arguments, Colour, Global};
use failure::{Exit, Failure};
use terminal::Terminal;

/// Fuzz targets with the names of their corpora, for `tests/fuzz`. Only built for it.
#[cfg(fuzzing)]
pub fn fuzzed() -> Vec<(&'static str, fn(&[u8]))> {
    [browser_login::fuzzing::FUZZED, home::fuzzing::FUZZED].concat()
}

/// Runs the program with `arguments` (its own name first) and returns an exit code of [`failure::Exit`].
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let dumps = infra_shared::dumps::forbid();
    // Before all else, because the user is typing.
    if let Some(shell) = settings::completing_shell() {
        return terminal::answer_shell(&completion::PROGRAM.answer(&shell, &words));
    }
    let arguments = match understand(&words) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let terminal = Terminal::new(&arguments.global);
    if let Err(error) = dumps {
        return Failure::new(Exit::Failed, "core dumps cannot be forbidden")
            .because(&error)
            .tell(terminal)
            .into();
    }
    match commands::run(arguments, terminal) {
        Ok(exit) => exit.into(),
        Err(failure) => failure.tell(terminal).into(),
    }
}

/// Parses `words`. Returns the exit code after showing help or a usage error.
fn understand(words: &[OsString]) -> Result<Arguments, ExitCode> {
    let choice = command_line::colour(words);
    let mut program = Arguments::command().color(choice);
    let understood = program
        .try_get_matches_from_mut(words)
        .and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches));
    understood.map_err(|answer| {
        let Some(Misuse { what, because, hint }) = Misuse::of(&answer, &program, words) else {
            return terminal::show_usage(&answer);
        };
        let terminal = Terminal::new(&Global { color: Colour::of(choice), ..Global::default() });
        Failure::new(Exit::Usage, what).because_text(because).hint(hint).tell(terminal).into()
    })
}
