//! What a shell offers at TAB. Its script asks `infra` itself, with the shell's name in `INFRA_COMPLETE`: so commands and
//! options are those of this very version, and the servers are those that are known here.
//!
//! It reads files and nothing else: no network, no lock, no question; and it never changes, repairs or tells anything.

mod bash;
mod known;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory};
use clap_complete::env::{Elvish, EnvCompleter, Fish, Powershell, Shells, Zsh};
use clap_complete_nushell::Nushell;

use crate::arguments::{Arguments, Shell};
use crate::settings::COMPLETE;
use bash::Bash;

pub use known::{audiences, providers, servers, sessions};

const SHELLS: Shells<'static> = Shells(&[&Bash, &Elvish, &Fish, &Powershell, &Zsh]);

/// Answers the script of `shell` with what can stand at the cursor in `words` (all before the first `--` is ours).
/// What cannot be completed is not: a message would land in the middle of a line that somebody types.
pub fn answer(shell: &str, words: &[OsString]) -> ExitCode {
    let words: Vec<OsString> = words.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    let Some(completer) = SHELLS.completer(shell).filter(|_| !words.is_empty()) else {
        return ExitCode::FAILURE;
    };
    let folder = std::env::current_dir().ok();
    let mut answer = Vec::new();
    let written = completer.write_complete(&mut offered(), words, folder.as_deref(), &mut answer);
    match written.and_then(|()| std::io::stdout().write_all(&answer)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The script for `shell`. Nushell cannot ask a program in the same way: its script holds commands and options alone.
pub fn script(shell: Shell) -> String {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Elvish => &Elvish,
        Shell::Fish => &Fish,
        Shell::PowerShell => &Powershell,
        Shell::Zsh => &Zsh,
        Shell::Nushell => return nushell_script(),
    };
    let mut script = Vec::new();
    completer
        .write_registration(COMPLETE, "infra", "infra", "infra", &mut script)
        .expect("memory can be written");
    text(script)
}

fn nushell_script() -> String {
    let mut script = Vec::new();
    clap_complete::generate(Nushell, &mut Arguments::command(), "infra", &mut script);
    text(script)
}

fn text(script: Vec<u8>) -> String {
    String::from_utf8(script).expect("completion scripts are text")
}

/// The arguments as a shell offers them: options only after a `-`, so that a command or a server is what TAB gives.
fn offered() -> Command {
    fn without_options(command: Command) -> Command {
        let hidden = |argument: Arg| if argument.is_positional() { argument } else { argument.hide(true) };
        command.mut_args(hidden).mut_subcommands(without_options)
    }
    let mut command = Arguments::command();
    command.build();
    without_options(command)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_asks_the_program_or_knows_every_command() {
        for shell in Shell::value_variants() {
            let script = script(*shell);
            let knows = |command| script.contains(command);
            assert!(knows(COMPLETE) || ["login", "logout", "status"].into_iter().all(knows), "{shell:?}");
        }
    }

    /// What is offered for these words, the last of which is being typed.
    fn completed(words: &[&str]) -> Vec<String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let last = words.len() - 1;
        let offered = clap_complete::engine::complete(&mut offered(), words, last, None).expect("an answer");
        offered.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn commands_are_offered_first_and_options_after_a_dash() {
        assert_eq!(completed(&["infra", "lo"]), ["login", "logout"]);
        assert!(completed(&["infra", ""]).iter().all(|offered| !offered.starts_with('-')));
        assert_eq!(completed(&["infra", "status", "--of"]), ["--offline"]);
        assert!(completed(&["infra", "login", "-"]).contains(&"--no-browser".to_owned()));
        assert_eq!(completed(&["infra", "login", "--color", "a"]), ["auto", "always"]);
        assert_eq!(completed(&["infra", "completions", "z"]), ["zsh"]);
        assert_eq!(completed(&["infra", "status", "--json", "--no"]), Vec::<String>::new());
    }
}
