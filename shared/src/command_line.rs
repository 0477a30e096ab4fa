//! Parses the arguments of both programs. clap's words explain an error; the hint names the command's `--help`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
use clap::error::{ContextKind, ContextValue};
use clap::{ColorChoice, Command, CommandFactory, FromArgMatches, ValueEnum};

use crate::failure::{Exit, Failure};
use crate::printable::printable;

/// Longest text quoted from an argument.
const MAX_CHARACTERS: usize = 200;

/// Names that people type as commands, with what to type instead.
pub type Synonyms = [(&'static str, &'static str)];

/// Parses `words`, the first of which is the program's name. Without arguments to run, returns the outcome: the exit
/// code after help or a version was printed, or what is wrong.
pub fn parse<A: CommandFactory + FromArgMatches>(
    words: &[OsString],
    synonyms: &Synonyms,
) -> Result<A, Result<ExitCode, Failure>> {
    let parsed = A::command()
        .color(colour(words))
        .try_get_matches_from(words)
        .and_then(|mut matches| A::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| {
        if is_help(&error) {
            print(&error).map_err(|error| Failure::output(&error))
        } else {
            Err(misuse(A::command(), words, synonyms))
        }
    })
}

fn is_help(error: &clap::Error) -> bool {
    matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion)
}

fn print(help: &clap::Error) -> io::Result<ExitCode> {
    match help.print() {
        Err(error) if !help.use_stderr() => Err(error),
        // If standard error is closed, there is no reader.
        _ => Ok(if help.use_stderr() { Exit::Usage } else { Exit::Done }.into()),
    }
}

/// Explains why `program` rejects `words`. The words are made printable before clap quotes them, because a script may
/// pass text from elsewhere.
fn misuse(mut program: Command, words: &[OsString], synonyms: &Synonyms) -> Failure {
    let words: Vec<OsString> =
        words.iter().map(|word| printable(&word.to_string_lossy(), MAX_CHARACTERS).into()).collect();
    let what = match program.try_get_matches_from_mut(&words) {
        Err(error) if !is_help(&error) => {
            if let Some((name, meant)) = synonym(&error, synonyms) {
                return Failure::usage(format!("unrecognized subcommand '{name}'")).hint(meant);
            }
            without_secrets(&explanation(&error))
        }
        _ => "an argument has characters that cannot be shown, or too many".to_owned(),
    };
    program.build();
    let command = words
        .iter()
        .skip(1)
        .take_while(|word| *word != "--")
        .fold(&program, |command, word| command.find_subcommand(word).unwrap_or(command));
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    Failure::usage(what).hint(format!("`{name} --help`"))
}

/// The unknown command, if it is one of `synonyms`.
fn synonym(error: &clap::Error, synonyms: &Synonyms) -> Option<(&'static str, &'static str)> {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return None };
    synonyms.iter().find(|(name, _)| name == typed).copied()
}

/// clap's text without its hint. All lines but the first are indented.
fn explanation(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("For more information"));
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    lines.join("\n  ")
}

/// Hides the words of `text` that look like a secret.
///
/// An error message may end up in a log or a shared terminal, and people paste tokens where an ID belongs.
fn without_secrets(text: &str) -> String {
    let is_part = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(start) = rest.find(is_part) {
        let (before, part) = rest.split_at(start);
        let end = part.find(|character| !is_part(character)).unwrap_or(part.len());
        let (part, after) = part.split_at(end);
        shown.push_str(before);
        shown.push_str(&without_secret(part));
        rest = after;
    }
    shown + rest
}

/// Hides a token of Infra, also a cut-off one, and a word as long as keys are. Shows fingerprints and file names.
fn without_secret(word: &str) -> Cow<'_, str> {
    const TOKEN: &str = "infra_";
    const SHORTEST_ID: usize = 10;
    const SHORTEST_KEY: usize = 40;
    if let Some((before, _)) = word.split_once(TOKEN).filter(|(_, token)| token.len() >= SHORTEST_ID) {
        return Cow::Owned(format!("{before}{TOKEN}…"));
    }
    let is_public =
        word.bytes().all(|byte| byte.is_ascii_hexdigit()) || word.contains('.') && !word.starts_with("eyJ");
    if word.len() >= SHORTEST_KEY && !is_public { Cow::Borrowed("…") } else { Cow::Borrowed(word) }
}

/// Reads `--color` before clap parses the arguments, because clap may print help or errors first.
pub fn colour(words: &[OsString]) -> ColorChoice {
    let mut words = words.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str());
    let mut choice = ColorChoice::Auto;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        if let Some(value) = value {
            choice = ColorChoice::from_str(value, false).unwrap_or_default();
        }
    }
    choice
}

/// The closest match for `typed` in `known`. A match differs in at most one letter in three, or starts with `typed`.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    known
        .into_iter()
        .map(|name| (distance(&typed, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance * 3 <= name.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn distance(typed: &str, name: &str) -> usize {
    let is_abbreviated = typed.len() > 2 && name.starts_with(typed);
    if is_abbreviated { 1 } else { strsim::damerau_levenshtein(typed, name) }
}

#[cfg(test)]
mod tests;
