//! `infrad`: signs users in with an OpenID provider, stores their sessions and validates tokens for services.
//!
//! Modules use only modules in lower rows. From the top: `arguments` · `commands` · `assembly` · `failure` · `config`
//! `dev` · `logging` `terminal` · `api` `control` `monitoring` `upkeep` · `listener` `services` · `sessions` ·
//! `identity` `jwt` `tls` · `store` · `keys` · `secrets` · `outbound` `audit` · `addresses` `platform` `fair_queue`.
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
pub mod jwt;
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

use infra_shared::command_line;
use infra_shared::failure::Exit;

use crate::arguments::{Arguments, PROGRAM};
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
    if let Some(exit) = PROGRAM.answer_shell(&words) {
        return exit;
    }
    let arguments: Arguments = match command_line::parse(&words, arguments::SYNONYMS) {
        Ok(arguments) => arguments,
        Err(outcome) => {
            let terminal = Terminal::new(false, command_line::colour(&words));
            return outcome.unwrap_or_else(|failure| report(&failure, terminal));
        }
    };
    let context = Context::new(&arguments);
    if let Some(name) = config::empty_variable() {
        let failure = Failure::usage(format!("{name} is set, but empty"));
        return report(&failure.hint(format!("set {name} to its value, or unset it")), context.terminal);
    }
    if context.config_path.as_os_str().is_empty() {
        let failure = Failure::usage("`--config` is empty");
        return report(
            &failure.hint("name the configuration file, or leave the option out"),
            context.terminal,
        );
    }
    if let Err(error) = infra_shared::core_dumps::forbid() {
        let failure = Failure::failed("cannot forbid core dumps").because(&error);
        return report(&failure, context.terminal);
    }
    let outcome = commands::run(&context, &arguments.command);
    logging::finish();
    outcome.unwrap_or_else(|failure| report(&failure, context.terminal))
}

/// Prints `failure` and returns its exit code.
fn report(failure: &Failure, terminal: Terminal) -> ExitCode {
    // The reader closed standard output on purpose.
    if failure.exit() != Exit::PipeClosed {
        terminal.error(&failure.text());
    }
    failure.exit().into()
}
