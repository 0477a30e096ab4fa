//! `infrad`: signs users in with an OpenID Provider, keeps their sessions, and answers whose token it was shown.
//!
//! Rooms call rooms below them, never beside or above. From the top:
//! `arguments` · `commands` · `assembly` · `failure` · `config` `dev` · `logging` `terminal` · `api` `control` `monitoring` `upkeep` ·
//! `listener` · `sessions` · `identity` `tls` · `store` · `keys` · `secrets` · `outbound` `audit` · `platform`.
//! `tests/daemon/structure.rs` keeps them to it.

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
pub mod identity;
pub mod keys;
pub mod listener;
pub mod logging;
pub mod monitoring;
pub mod outbound;
pub mod platform;
pub mod secrets;
pub mod sessions;
pub mod store;
pub mod terminal;
pub mod tls;
pub mod upkeep;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::arguments::Arguments;
use crate::commands::Context;
use crate::failure::Failure;

/// The program: does what `arguments` (its own name first) ask, and answers with the exit code of design §2.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(answer) => return terminal::show_usage(&answer),
    };
    let context = Context::new(&arguments);
    if let Err(error) = infra_shared::dumps::forbid() {
        return Failure::new("core dumps cannot be forbidden").because(&error).tell(context.terminal);
    }
    match commands::run(&context, &arguments.command) {
        Ok(code) => code,
        Err(failure) => failure.tell(context.terminal),
    }
}
