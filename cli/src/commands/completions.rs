//! `infra completions`: the script that lets a shell complete this program's arguments.

use crate::arguments::Shell;
use crate::completion;
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) fn run(terminal: Terminal, shell: Shell) -> Result<Exit, Failure> {
    terminal.data(&completion::script(shell))?;
    Ok(Exit::Done)
}
