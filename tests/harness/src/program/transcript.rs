//! A transcript: commands, output and files left behind, with replacements for values that differ between
//! runs.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use super::{Ran, User};

/// A transcript that grows run by run, to compare with a golden file in `tests/transcripts`.
pub struct Transcript {
    text: String,
    replacements: Vec<(String, String)>,
}

impl Transcript {
    pub fn new() -> Self {
        Self { text: String::new(), replacements: Vec::new() }
    }

    /// Replaces `text` with `name` everywhere.
    pub fn replace(&mut self, text: impl Into<String>, name: &str) {
        self.replacements.push((text.into(), name.to_owned()));
    }

    /// Adds a run: the command, both streams and the exit code.
    pub fn add(&mut self, ran: &Ran) {
        let _ = writeln!(self.text, "$ {}", ran.name.trim_end());
        for (stream, text) in [("", &ran.stdout), ("! ", &ran.stderr)] {
            for line in text.lines() {
                let _ = writeln!(self.text, "{stream}{line}");
            }
        }
        let code = ran.code.map_or_else(|| "killed".to_owned(), |code| format!("exit {code}"));
        let _ = writeln!(self.text, "[{code}]\n");
    }

    /// Adds a line about an event between two runs.
    pub fn note(&mut self, note: &str) {
        let _ = writeln!(self.text, "# {note}\n");
    }

    /// Adds the files in `~/.infra`.
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
        replace_varying(text)
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

/// Patterns of values that differ between runs, with their replacements.
const VARYING: [(&str, &str); 10] = [
    (r"\bsha256:[0-9a-f]{64}\b", "sha256:OTHER"),
    (r"infra_[0-9A-Za-z]{10}\.[0-9A-Za-z]{24}", "TOKEN"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME"),
    (r"(\b(at|on) )?((\d{4}-\d\d-\d\d|\btomorrow|\byesterday) at )?\b\d\d:\d\d\b", "CLOCK"),
    (r"\b(\d+ days|\d+ h( \d+ min)?|\d+ min|\d+ s) (left|ago)", "TIME $3"),
    (r#""secondsLeft":\d{2,}"#, r#""secondsLeft":SECONDS"#),
    (r#""clockOffsetSeconds":-?[01]\b"#, r#""clockOffsetSeconds":0"#),
    (r#""id":"[0-9A-Za-z]{10}""#, r#""id":"ID""#),
    (r"\brequest [0-9A-Za-z]{12}\b", "request ID"),
];

pub(crate) fn replace_varying(text: String) -> String {
    VARYING.iter().fold(text, |text, (pattern, name)| {
        Regex::new(pattern).expect("a sound pattern").replace_all(&text, *name).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_replaces_tokens_times_and_named_texts() {
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
