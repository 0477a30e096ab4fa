//! `infra completions`: prints the shell completion script.

use infra_shared::completion::Shell;

use crate::arguments::PROGRAM;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) fn run(terminal: Terminal, shell: Shell) -> Result<Exit, Failure> {
    terminal.data(&PROGRAM.script(shell))?;
    Ok(Exit::Done)
}
