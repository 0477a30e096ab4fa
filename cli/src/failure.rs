//! How a command fails: what happened, the causes, a hint, and the exit code for scripts.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

/// Exit codes. Their meaning never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success; for `status`: signed in.
    Done = 0,
    Failed = 1,
    /// Invalid usage.
    Usage = 2,
    /// No session, or no live one.
    LoginNeeded = 3,
    /// The daemon or the identity provider cannot be reached, so the session's state is unknown.
    Unreachable = 4,
    /// The server's identity is not trusted.
    Untrusted = 5,
    /// The sign-in was denied, or not completed in time.
    Refused = 6,
    /// Signed out here, but the request to the daemon failed.
    NotRevoked = 7,
    /// Interrupted by the user.
    Interrupted = 130,
    /// The reader of standard output closed it. The code of a program that SIGPIPE ended.
    PipeClosed = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What the user sees of a failed command. It contains no secrets.
#[derive(Debug, Clone)]
pub struct Failure {
    exit: Exit,
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    note: Option<String>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), causes: Vec::new(), hint: None, note: None }
    }

    /// The hint, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds `error` and its sources.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Skip the text of a source that its parent already contains.
            if !self.causes.last().unwrap_or(&self.what).contains(&text) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a cause as text.
    #[must_use]
    pub fn because_text(mut self, cause: String) -> Self {
        self.causes.push(cause);
        self
    }

    /// Adds a hint; commands in backticks.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what the failure did not change.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Puts `hint` before the existing hint.
    #[must_use]
    pub fn hint_first(mut self, hint: &str) -> Self {
        self.hint = Some(match self.hint.take() {
            Some(other) => format!("{hint}; else {other}"),
            None => hint.to_owned(),
        });
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Standard output cannot be written. If its reader closed it, nothing is reported.
    pub fn output_error(error: &std::io::Error) -> Self {
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::PipeClosed } else { Exit::Failed };
        Self::new(exit, "standard output cannot be written").because(error)
    }

    /// The text that the user sees.
    pub fn text(&self) -> String {
        let mut text = self.what.clone();
        for cause in &self.causes {
            text.push_str("\n  because: ");
            text.push_str(cause);
        }
        if let Some(hint) = &self.hint {
            text.push_str("\n  try: ");
            text.push_str(hint);
        }
        if let Some(note) = &self.note {
            text.push_str("\n  note: ");
            text.push_str(note);
        }
        text
    }
}

impl fmt::Display for Failure {
    /// In one line, without the hint.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_shows_message_cause_and_hint() {
        let cause = std::io::Error::other("the disk is full");
        let failure =
            Failure::new(Exit::Failed, "the session cannot be saved").because(&cause).hint("`df ~`");
        assert_eq!(failure.text(), "the session cannot be saved\n  because: the disk is full\n  try: `df ~`");
    }
}
