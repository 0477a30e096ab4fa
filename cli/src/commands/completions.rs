//! `infra completions`.

use clap::CommandFactory;
use clap_complete::generate;
use clap_complete::shells::{Bash, Elvish, Fish, PowerShell, Zsh};
use clap_complete_nushell::Nushell;

use crate::arguments::{Arguments, Shell};
use crate::failure::{Exit, Failure};
use crate::terminal::Terminal;

pub(super) fn run(terminal: Terminal, shell: Shell) -> Result<Exit, Failure> {
    terminal.data(&script(shell))?;
    Ok(Exit::Done)
}

fn script(shell: Shell) -> String {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(Bash, &mut command, name, &mut script),
        Shell::Elvish => generate(Elvish, &mut command, name, &mut script),
        Shell::Fish => generate(Fish, &mut command, name, &mut script),
        Shell::Nushell => generate(Nushell, &mut command, name, &mut script),
        Shell::PowerShell => generate(PowerShell, &mut command, name, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, name, &mut script),
    }
    String::from_utf8(script).expect("completion scripts are text")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_learns_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            for command in ["login", "logout", "status", "token", "use", "trust", "completions"] {
                assert!(script.contains(command), "{shell:?}: {command}");
            }
        }
    }
}
