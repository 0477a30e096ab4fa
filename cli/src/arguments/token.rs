//! Command-line arguments of `infra token`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use infra_shared::origin::Origin;

use super::duration;
use crate::completion;

#[derive(Debug, Args)]
pub struct Token {
    /// The server, by default the current one
    #[arg(add = ArgValueCompleter::new(completion::servers))]
    pub server: Option<Origin>,

    /// Print a token that only the service with this audience or name accepts
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub audience: Option<String>,

    /// What to print; `headers` needs `--audience`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t, requires_if("headers", "audience"))]
    pub format: TokenFormat,

    /// Exit with 3 if the session expires earlier, unused, by what is stored here; with `--audience`, get a token that lasts
    /// that long, less than 10m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub min_left: Option<Duration>,
}

/// The output of `infra token`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TokenFormat {
    /// The token
    #[default]
    Text,
    /// One JSON object with the HTTP headers of a request
    Headers,
}
