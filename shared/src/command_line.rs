//! Explains command-line errors in three parts: what happened, why, and what to try.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::printable::printable;

/// Longest text quoted from an argument.
const MAX_CHARACTERS: usize = 200;

/// A command-line error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misuse {
    pub what: String,
    pub because: String,
    pub hint: String,
}

impl Misuse {
    /// Translates clap's error about `arguments` of `program`. Returns `None` for `--help` and `--version`, which are
    /// not errors.
    pub fn of(error: &clap::Error, program: &clap::Command, arguments: &[OsString]) -> Option<Self> {
        use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};

        if matches!(error.kind(), DisplayHelp | DisplayHelpOnMissingArgumentOrSubcommand | DisplayVersion) {
            return None;
        }
        let typed = Typed::of(program, arguments);
        let (command, help) = (&typed.name, format!("`{} --help`", typed.name));
        let argument: Vec<String> =
            texts(error, ContextKind::InvalidArg).iter().map(|text| plain(text)).collect();
        let value = texts(error, ContextKind::InvalidValue).pop();
        let what = match (error.kind(), argument.as_slice(), value) {
            (ErrorKind::InvalidSubcommand, ..) => {
                format!("`{}` is not a command of `{command}`", typed_text(error))
            }
            (ErrorKind::UnknownArgument, [argument], _) if argument.starts_with('-') => {
                format!("`{argument}` is not an option of `{command}`")
            }
            (ErrorKind::UnknownArgument, [argument], _) => format!("`{command}` does not take `{argument}`"),
            (ErrorKind::MissingRequiredArgument, missing, _) => {
                format!("{} {} missing", names(missing), if missing.len() == 1 { "is" } else { "are" })
            }
            (ErrorKind::ArgumentConflict, [argument], _) => {
                match texts(error, ContextKind::PriorArg)
                    .iter()
                    .map(|text| plain(text))
                    .collect::<Vec<_>>()
                    .as_slice()
                {
                    [] => format!("`{argument}` cannot be used here"),
                    prior if prior == [argument.as_str()] => format!("`{argument}` stands there twice"),
                    prior => format!("`{argument}` and {} exclude each other", names(prior)),
                }
            }
            (ErrorKind::InvalidValue, [argument], Some(value)) if value.is_empty() => {
                format!("`{argument}` has no value")
            }
            (_, [argument], Some(value)) => format!("`{value}` cannot be used for `{argument}`"),
            (ErrorKind::InvalidUtf8, ..) => "an argument is not text (UTF-8)".to_owned(),
            _ => first_line(error),
        };
        let valid = texts(error, ContextKind::ValidValue);
        let because = match std::error::Error::source(error) {
            Some(source) => printable(&source.to_string(), MAX_CHARACTERS),
            None if !valid.is_empty() => format!("it is one of {}", valid.join(", ")),
            None if error.kind() == ErrorKind::InvalidSubcommand => {
                format!("it has {}", typed.commands().join(", "))
            }
            None => format!("it is called as `{}`", typed.usage()),
        };
        Some(Self { what, because, hint: hint(error, &valid, &help) })
    }
}

/// Suggests the likely intended word and the matching `--help`.
fn hint(error: &clap::Error, valid: &[String], help: &str) -> String {
    let typed = typed_text(error);
    let mut suggested: Vec<String> =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
            .into_iter()
            .flat_map(|kind| texts(error, kind))
            .collect();
    suggested.sort_by_key(|text| strsim::damerau_levenshtein(&typed, text));
    if suggested.is_empty() {
        suggested.extend(nearest(&typed, valid.iter().map(String::as_str)).map(ToOwned::to_owned));
    }
    if suggested.is_empty() {
        help.to_owned()
    } else {
        let suggested: Vec<String> = suggested.iter().map(|text| format!("`{text}`")).collect();
        format!("{}? {help} has them all", suggested.join(" or "))
    }
}

/// The text that clap rejected.
fn typed_text(error: &clap::Error) -> String {
    [ContextKind::InvalidSubcommand, ContextKind::InvalidValue, ContextKind::InvalidArg]
        .into_iter()
        .find_map(|kind| texts(error, kind).pop())
        .unwrap_or_default()
}

/// The subcommand named by the arguments, as far as they match one.
struct Typed {
    /// Full name, such as `infra login`.
    name: String,
    command: clap::Command,
}

impl Typed {
    fn of(program: &clap::Command, arguments: &[OsString]) -> Self {
        let mut command = program.clone();
        command.build();
        let mut name = program.get_name().to_owned();
        for word in arguments.iter().skip(1).take_while(|word| *word != "--") {
            if let Some(found) = command.find_subcommand(word).cloned() {
                name = format!("{name} {}", found.get_name());
                command = found;
            }
        }
        Self { name, command }
    }

    fn commands(&self) -> Vec<&str> {
        self.command.get_subcommands().map(clap::Command::get_name).collect()
    }

    fn usage(mut self) -> String {
        let usage = self.command.render_usage().to_string();
        let words: Vec<&str> = usage.trim_start_matches("Usage:").lines().map(str::trim).collect();
        words.join("` or `")
    }
}

/// An argument's bare name: `SERVER` for `[SERVER]`, `--verbose` for `--verbose...`.
fn plain(argument: &str) -> String {
    let name = argument.trim_end_matches('.');
    let is_positional = name.starts_with(['[', '<']);
    if is_positional { name.trim_matches(['[', ']', '<', '>']) } else { name }.to_owned()
}

/// Texts of one kind from clap's error, made safe to print.
fn texts(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    let show = |text: &String| printable(text, MAX_CHARACTERS);
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![show(text)],
        Some(ContextValue::Strings(texts)) => texts.iter().map(show).collect(),
        _ => Vec::new(),
    }
}

fn names(arguments: &[String]) -> String {
    arguments.iter().map(|argument| format!("`{argument}`")).collect::<Vec<_>>().join(", ")
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    printable(line.strip_prefix("error: ").unwrap_or(line), MAX_CHARACTERS)
}

/// Reads `--color` before clap parses the arguments, because clap may print help or errors first.
pub fn colour(arguments: &[OsString]) -> clap::ColorChoice {
    let mut words =
        arguments.iter().take_while(|argument| *argument != "--").filter_map(|word| word.to_str());
    let mut choice = clap::ColorChoice::Auto;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--color") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        choice = match value {
            Some("always") => clap::ColorChoice::Always,
            Some("never") => clap::ColorChoice::Never,
            Some(_) => clap::ColorChoice::Auto,
            None => choice,
        };
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
