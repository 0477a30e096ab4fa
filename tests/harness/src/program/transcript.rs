//! A transcript: what was typed, what came out, what was left, with everything that differs from run to run replaced.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::{Ran, User};

/// Grows run by run, and is compared with the golden file in `tests/transcripts` at the end.
pub struct Transcript {
    text: String,
    replacements: Vec<(String, String)>,
}

impl Transcript {
    pub fn new() -> Self {
        Self { text: String::new(), replacements: Vec::new() }
    }

    /// Writes `name` wherever `text` stands.
    pub fn replace(&mut self, text: impl Into<String>, name: &str) {
        self.replacements.push((text.into(), name.to_owned()));
    }

    /// Adds a run: the command, both streams, the exit code.
    pub fn add(&mut self, ran: &Ran) {
        let _ = writeln!(self.text, "$ {}", ran.name);
        for (stream, text) in [("", &ran.stdout), ("! ", &ran.stderr)] {
            for line in text.lines() {
                let _ = writeln!(self.text, "{stream}{line}");
            }
        }
        let code = ran.code.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
        let _ = writeln!(self.text, "[{code}]\n");
    }

    /// Adds what is in `~/.infra`.
    pub fn add_files(&mut self, user: &User) {
        let files = user.files();
        let _ = writeln!(self.text, "~/.infra:\n{}", if files.is_empty() { "nothing\n" } else { &files });
    }

    /// Compares with `tests/transcripts/NAME.txt`; with `UPDATE=1` writes it.
    #[track_caller]
    pub fn compare(&self, name: &str) {
        let golden = folder().join(format!("{name}.txt"));
        let text = self.replaced();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&golden, &text).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
            return;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        assert!(
            text == expected,
            "the transcript differs from {}; `UPDATE=1` rewrites it, and then read the diff\n{}",
            golden.display(),
            differing_lines(&expected, &text)
        );
    }

    fn replaced(&self) -> String {
        let text = self
            .replacements
            .iter()
            .fold(self.text.clone(), |text, (from, to)| text.replace(from.as_str(), to));
        replace_times(&replace_tokens(&text))
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../transcripts")
}

fn differing_lines(expected: &str, text: &str) -> String {
    let (expected, text): (Vec<_>, Vec<_>) = (expected.lines().collect(), text.lines().collect());
    (0..expected.len().max(text.len())).fold(String::new(), |mut lines, index| {
        let (old, new) = (expected.get(index), text.get(index));
        if old != new {
            let _ = writeln!(
                lines,
                "line {}:\n  - {}\n  + {}",
                index + 1,
                old.unwrap_or(&""),
                new.unwrap_or(&"")
            );
        }
        lines
    })
}

/// `infra_` and what follows it, whole tokens only.
fn replace_tokens(text: &str) -> String {
    let is_of_token = |character: char| character.is_ascii_alphanumeric() || character == '.';
    let mut parts = text.split("infra_");
    let mut replaced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|character| !is_of_token(character)).unwrap_or(part.len());
        let (token, rest) = part.split_at(end);
        let is_token = token.len() == 35 && token.as_bytes().get(10) == Some(&b'.');
        let _ = write!(
            replaced,
            "{}{rest}",
            if is_token { "TOKEN".to_owned() } else { format!("infra_{token}") }
        );
    }
    replaced
}

/// `2026-11-23T08:00:00Z` and its like with fractions, and the seconds left.
fn replace_times(text: &str) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let length = time_length(rest);
        if length > 0 {
            replaced.push_str("TIME");
        } else {
            replaced.extend(rest.chars().next());
        }
        let step = length.max(rest.chars().next().map_or(0, char::len_utf8));
        rest = rest.get(step..).unwrap_or_default();
    }
    replaced
}

/// How long the RFC 3339 time at the start of `text` is; 0 when there is none.
fn time_length(text: &str) -> usize {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let is_time = text.len() > shape.len()
        && text.bytes().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == *other,
        });
    let end = text.bytes().skip(shape.len()).position(|byte| byte != b'.' && !byte.is_ascii_digit());
    match end {
        Some(end) if is_time && text.as_bytes().get(shape.len() + end) == Some(&b'Z') => {
            shape.len() + end + 1
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_times_and_named_texts_are_replaced() {
        let mut transcript = Transcript::new();
        transcript.replace("https://127.0.0.1:12345", "SERVER");
        transcript.add(&Ran {
            name: "infra token https://127.0.0.1:12345".to_owned(),
            code: Some(0),
            stdout: format!("infra_{}.{}\n", "a".repeat(10), "b".repeat(24)),
            stderr: "until 2026-11-23T08:00:00.123Z, infra_x\n".to_owned(),
        });

        assert_eq!(transcript.replaced(), "$ infra token SERVER\nTOKEN\n! until TIME, infra_x\n[exit 0]\n\n");
    }
}
