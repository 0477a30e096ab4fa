//! What a shell offers at TAB: commands and options, and the servers and providers that are known here.
//!
//! It reads files and nothing else: no network, no lock, no question; and it never changes, repairs or tells anything.

mod known;

use clap::CommandFactory;
use infra_shared::completion::Program;

use crate::arguments::Arguments;
use crate::settings::COMPLETE;

pub use known::{audiences, providers, servers, sessions};

/// This program, as shells ask it.
pub const PROGRAM: Program = Program { name: "infra", variable: COMPLETE, arguments: Arguments::command };
