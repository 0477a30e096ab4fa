//! `infrad completions`: the script that lets a shell complete this program's arguments.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::arguments::Arguments;
use crate::commands::Context;
use crate::failure::Failure;

pub(super) fn run(context: &Context, shell: Shell) -> Result<ExitCode, Failure> {
    context.terminal.data(script(shell)).map_err(|error| Failure::output(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "infrad", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).expect("a script is text");
            for command in ["serve", "check", "fingerprint", "completions"] {
                assert!(script.contains(command), "{shell}: {command}");
            }
        }
    }
}
