//! `infra completions`: prints the shell completion script.

use infra_shared::completion::Shell;

use crate::completion;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) fn run(terminal: Terminal, shell: Shell) -> Result<Exit, Failure> {
    terminal.data(&completion::PROGRAM.script(shell))?;
    Ok(Exit::Done)
}
