//! Shell completion. The generated script calls the program and names the shell in a variable, so that candidates
//! always match the installed version.
//!
//! The shell itself completes and quotes names of files and commands. Other candidates are quoted here for shells that
//! insert text unquoted. A candidate that cannot be typed on one line is left out. An attacker who chooses a name (of a
//! file, or of a provider at a server) therefore cannot run code with it.

mod nushell;
mod quoting;
mod typed;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate};

use crate::printable::is_printable;

/// Shells with completion support.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    Nushell,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

/// A program that completes its own command line.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    /// Environment variable in which the script names the shell.
    pub variable: &'static str,
    pub arguments: fn() -> Command,
}

/// Tags arguments that the shell completes itself: a file, or a command with its arguments.
const FILE: &str = "file";
const COMMAND: &str = "command";

impl Program {
    /// Returns the script for `shell`. Nushell's script holds commands and options only.
    pub fn script(&self, shell: Shell) -> String {
        let template = match shell {
            Shell::Bash => include_str!("completion/script.bash"),
            Shell::Elvish => include_str!("completion/script.elv"),
            Shell::Fish => include_str!("completion/script.fish"),
            Shell::PowerShell => include_str!("completion/script.ps1"),
            Shell::Zsh => include_str!("completion/script.zsh"),
            Shell::Nushell => return nushell::script((self.arguments)(), self.name),
        };
        template.replace("PROGRAM", self.name).replace("VARIABLE", self.variable)
    }

    /// Answers the shell that requests completions, if one does.
    #[expect(clippy::disallowed_methods, reason = "the shell's script asks through a variable")]
    pub fn answer_shell(&self, words: &[OsString]) -> Option<ExitCode> {
        let shell = std::env::var(self.variable).ok().filter(|shell| !shell.is_empty())?;
        // A shell that stops reading is not an error.
        let _ = io::stdout().write_all(self.answer(&shell, words).as_bytes());
        Some(ExitCode::SUCCESS)
    }

    /// Answers a completion request from `shell`. The command line follows the first `--` in `words`; its last word is
    /// incomplete.
    ///
    /// The first line of the answer is `names`, followed by candidates, or `files` if the shell completes a file name.
    /// It is `command N` if the shell completes a command that follows N words. The answer is empty if nothing matches,
    /// because an error message would land in the line being typed.
    pub fn answer(&self, shell: &str, words: &[OsString]) -> String {
        let Ok(shell) = Shell::from_str(shell, false) else { return String::new() };
        let typed = words.iter().skip_while(|word| *word != "--").skip(1);
        let words: Vec<OsString> = match shell {
            Shell::Bash => typed.clone().map(typed::unquoted).collect(),
            _ => typed.clone().cloned().collect(),
        };
        let typed = typed.last().map(|word| word.to_string_lossy()).unwrap_or_default();
        self.answer_words(shell, &typed, words).unwrap_or_default()
    }

    /// Answers for `words` without quotes. `typed` is the last word as the user typed it.
    fn answer_words(&self, shell: Shell, typed: &str, mut words: Vec<OsString>) -> Option<String> {
        let last = words.len().checked_sub(1)?;
        if let Some(dashes) = words.iter().take(last).position(|word| word == "--") {
            words.truncate(dashes + 1);
            words.push(OsString::new());
            let is_command = self.candidates(words)?.iter().any(|candidate| marks(candidate, COMMAND));
            return is_command.then(|| format!("command {}\n", dashes + 1));
        }
        let word = words.get(last)?.clone();
        let candidates = self.candidates(words)?;
        let (files, names): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| marks(candidate, FILE));
        if names.is_empty() || word.is_empty() && !files.is_empty() {
            return (!files.is_empty()).then(|| "files\n".to_owned());
        }
        let mut answer = "names\n".to_owned();
        for name in &names {
            let value = name.get_value().to_str().filter(|value| value.chars().all(is_printable));
            let Some(value) = value.and_then(|value| quoting::quoted(shell, value, typed)) else { continue };
            let help = name.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.lines().next().unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(answer, "{value}\t{help}");
        }
        Some(answer)
    }

    fn candidates(&self, words: Vec<OsString>) -> Option<Vec<CompletionCandidate>> {
        let last = words.len().checked_sub(1)?;
        engine::complete(&mut offered((self.arguments)()), words, last, None).ok()
    }
}

/// Adapts the arguments for completion: options appear only after a `-`, and arguments that the shell completes are
/// tagged.
fn offered(mut command: Command) -> Command {
    fn marked(argument: Arg) -> Arg {
        let mark = match argument.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath | ValueHint::ExecutablePath => FILE,
            ValueHint::CommandWithArguments => COMMAND,
            _ => return argument,
        };
        let marker = move |_: &std::ffi::OsStr| vec![CompletionCandidate::new("").tag(Some(mark.into()))];
        argument.add(ArgValueCompleter::new(marker))
    }
    fn prepared(command: Command) -> Command {
        let prepare = |argument: Arg| {
            let argument = marked(argument);
            if argument.is_positional() { argument } else { argument.hide(true) }
        };
        command.mut_args(prepare).mut_subcommands(prepared)
    }
    command.build();
    prepared(command)
}

fn marks(candidate: &CompletionCandidate, what: &str) -> bool {
    candidate.get_tag().is_some_and(|tag| tag.to_string() == what)
}

#[cfg(test)]
mod tests;
