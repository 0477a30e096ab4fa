//! Shell completion: commands, options, and known servers and providers.
//!
//! It only reads files. It uses no network, lock or prompt, and never changes, repairs or reports anything.

mod known;

use clap::CommandFactory;
use infra_shared::completion::Program;

use crate::arguments::Arguments;
use crate::settings::COMPLETE;

pub use known::{audiences, providers, servers, sessions};

/// This program's completion, as called by shells.
pub const PROGRAM: Program = Program { name: "infra", variable: COMPLETE, arguments: Arguments::command };
