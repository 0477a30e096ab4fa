//! `infrad completions`: prints the shell completion script.

use std::process::ExitCode;

use infra_shared::completion::Shell;

use crate::arguments::PROGRAM;
use crate::commands::Context;
use crate::failure::Failure;

pub(super) fn run(context: &Context, shell: Shell) -> Result<ExitCode, Failure> {
    context.terminal.data(PROGRAM.script(shell)).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}
