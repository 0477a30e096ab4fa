//! What a shell offers at TAB. Its script asks the program itself, with the shell's name in a variable, so that commands,
//! options and known names are those of this very version.
//!
//! Names of files and commands are never offered here: the shell completes those itself and quotes them as it needs. What
//! is offered here is quoted where the shell does not do that, and left out where it could not be typed in one line. An
//! attacker who chooses a name (of a file, or of a provider at a server) runs nothing by it.

mod nushell;
mod quoting;
mod typed;

use std::ffi::OsString;
use std::fmt::Write;

use clap::{Arg, Command, ValueEnum, ValueHint};
use clap_complete::engine::{self, ArgValueCompleter, CompletionCandidate};

use crate::printable::is_printable;

/// The shells that have completions.
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

/// A program that can be asked.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub name: &'static str,
    /// The variable that names the shell that asks.
    pub variable: &'static str,
    pub arguments: fn() -> Command,
}

/// Marks a place where the shell completes a file, or a command with its arguments.
const FILE: &str = "file";
const COMMAND: &str = "command";

impl Program {
    /// The script for `shell`. Nushell's holds commands and options alone.
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

    /// What `shell` is answered at the end of `words` (all before the first `--` is ours, and the last is being typed). The
    /// first line says who completes: `names` are those that follow, `files` are the shell's, and so is `command N`, where
    /// N words stand before the command. Empty where nothing can be completed: a message would land in the middle of a
    /// line that somebody types.
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

    /// With the last word once more, as it is `typed`.
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
            // Memory can be written.
            let _ = writeln!(answer, "{value}\t{help}");
        }
        Some(answer)
    }

    fn candidates(&self, words: Vec<OsString>) -> Option<Vec<CompletionCandidate>> {
        let last = words.len().checked_sub(1)?;
        engine::complete(&mut offered((self.arguments)()), words, last, None).ok()
    }
}

/// The arguments as a shell offers them: options only after a `-`, so that a command or a server is what TAB gives; files
/// and commands as marks.
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
