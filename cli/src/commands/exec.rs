//! `infra exec`: runs a command with an audience token in its environment.

use std::process::Command;

use jiff::SignedDuration;

use super::Context;
use super::audience::{self, TokenRequest};
use crate::arguments::Exec;
use crate::failure::{Exit, Failure};

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
    replace(command).map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot run `{shown}`"))
            .because(&error)
            .hint("check the command's name and PATH")
    })
}

/// Replaces this process by the command, which keeps its signals, terminal and exit code.
#[cfg(unix)]
fn replace(mut command: Command) -> Result<Exit, std::io::Error> {
    use std::os::unix::process::CommandExt;

    Err(command.exec())
}

/// Runs the command and exits with its exit code.
#[cfg(not(unix))]
fn replace(mut command: Command) -> Result<Exit, std::io::Error> {
    let code = command.status()?.code().unwrap_or(1);
    #[expect(clippy::exit, reason = "exits with the command's exit code")]
    std::process::exit(code)
}
