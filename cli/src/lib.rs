//! `infra`: sign in to infrastructure from the terminal.
//!
//! From the top: `arguments` `commands` · `browser_login` `trust` · `daemon_client` `home` `keyring` · `proxy`
//! `settings` `terminal` `failure`.

pub mod arguments;
pub mod browser_login;
pub mod commands;
pub mod daemon_client;
pub mod failure;
pub mod home;
pub mod keyring;
pub mod proxy;
pub mod settings;
pub mod terminal;
pub mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use failure::{Exit, Failure};
use terminal::Terminal;

/// The program: does what `arguments` (its own name first) ask, and answers with an exit code of [`failure::Exit`].
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(answer) => return terminal::show_usage(&answer),
    };
    let terminal = Terminal::new(&arguments.global);
    if let Err(error) = infra_shared::dumps::forbid() {
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
