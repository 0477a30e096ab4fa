//! `infrad`: signs users in with an OpenID provider, stores their sessions and validates tokens for services.
//!
//! Modules use only modules in lower rows. From the top: `arguments` · `commands` · `assembly` · `failure` · `config`
//! `dev` · `logging` `terminal` · `api` `control` `monitoring` `upkeep` · `listener` `services` · `sessions` ·
//! `identity` `tls` · `store` · `keys` · `secrets` · `outbound` `audit` · `addresses` `platform` `fair_queue`.
//! `tests/daemon/structure.rs` enforces this.

pub mod addresses;
pub mod api;
pub mod arguments;
pub mod assembly;
pub mod audit;
pub mod commands;
pub mod config;
pub mod control;
#[cfg(feature = "dev")]
pub mod dev;
pub mod failure;
pub mod fair_queue;
pub mod identity;
pub mod keys;
pub mod listener;
pub mod logging;
pub mod monitoring;
pub mod outbound;
pub mod platform;
pub mod secrets;
pub mod services;
pub mod sessions;
pub mod store;
pub mod terminal;
pub mod tls;
pub mod upkeep;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};
use infra_shared::command_line::{self, Misuse};

use crate::arguments::{Arguments, Colour};
use crate::commands::Context;
use crate::failure::Failure;
use crate::terminal::Terminal;

/// Fuzz targets for `tests/fuzz`, named after their corpora. Only built for fuzzing.
#[cfg(fuzzing)]
pub fn fuzz_targets() -> Vec<(&'static str, fn(&[u8]))> {
    [identity::fuzzing::FUZZ_TARGETS, sessions::fuzzing::FUZZ_TARGETS, config::fuzzing::FUZZ_TARGETS].concat()
}

/// Runs the program with `arguments`, the first of which is its name, and returns the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    // Before anything else, because the user is typing.
    if let Some(shell) = completing_shell() {
        return terminal::answer_shell(&arguments::PROGRAM.answer(&shell, &words));
    }
    let arguments = match understand(&words) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    let context = Context::new(&arguments);
    if let Err(error) = infra_shared::dumps::forbid() {
        return Failure::new("core dumps cannot be forbidden").because(&error).tell(context.terminal);
    }
    let outcome = commands::run(&context, &arguments.command);
    logging::finish();
    match outcome {
        Ok(code) => code,
        Err(failure) => failure.tell(context.terminal),
    }
}

/// The shell that requests completions, if any.
#[expect(
    clippy::disallowed_methods,
    reason = "a shell asks by the environment, before there is a configuration"
)]
fn completing_shell() -> Option<String> {
    std::env::var(arguments::PROGRAM.variable).ok().filter(|shell| !shell.is_empty())
}

/// Parses `words`. If they request help or are invalid, prints the answer and returns the exit code.
fn understand(words: &[OsString]) -> Result<Arguments, ExitCode> {
    let choice = command_line::colour(words);
    let mut program = Arguments::command().color(choice);
    let understood = program
        .try_get_matches_from_mut(words)
        .and_then(|mut matches| Arguments::from_arg_matches_mut(&mut matches));
    understood.map_err(|answer| {
        let Some(Misuse { what, because, hint }) = Misuse::of(&answer, &program, words) else {
            let shown = terminal::show_usage(&answer);
            return shown.unwrap_or_else(|error| Failure::output(&error).exit_code());
        };
        let failure = Failure::usage(what).because_text(because).hint(hint);
        failure.tell(Terminal::new(false, Colour::of(choice).choice()))
    })
}
