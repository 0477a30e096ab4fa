//! `infra exec`: runs a command with an audience token in its environment.

use std::process::Command;

use jiff::SignedDuration;

use super::Context;
use super::audience::{self, TokenRequest};
use crate::arguments::Exec;
use crate::failure::{Exit, Failure};
use crate::platform;

/// Removed from the command's environment: with the session token it could act as the user at every service.
const SESSION_TOKEN: &str = "INFRA_TOKEN";

pub(super) fn run(context: &Context, arguments: &Exec) -> Result<Exit, Failure> {
    let (program, rest) = arguments.command.split_first().expect("the arguments have a command");
    let min_left = SignedDuration::try_from(arguments.min_left.unwrap_or_default())
        .map_err(|_| Failure::new(Exit::Usage, "--min-left is too long"))?;
    let request = TokenRequest { server: None, audience: &arguments.audience, min_left };
    let token = audience::obtain(context, &request)?.token;
    let mut command = Command::new(program);
    command.args(rest).env_remove(SESSION_TOKEN).env(&arguments.variable, token.expose());
    let shown = program.to_string_lossy().into_owned();
    let error = platform::become_command(command);
    Err(Failure::new(Exit::Failed, format!("cannot run `{shown}`"))
        .because(&error)
        .hint(platform::COMMAND_HINT))
}
