//! How a command fails: what happened, because of what, what to try; and the exit code that scripts rely on.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::process::ExitCode;

use crate::terminal::Terminal;

/// The exit codes. They never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `status`: signed in.
    Done = 0,
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// No session, or none that is live.
    LoginNeeded = 3,
    /// The daemon or the identity provider cannot be reached: the session's state is not known.
    Unreachable = 4,
    /// The server's identity is not trusted.
    Untrusted = 5,
    /// The login was refused, or not completed in time.
    Refused = 6,
    /// Logged out here, but the daemon could not be told.
    NotTold = 7,
    /// Interrupted by the user.
    Interrupted = 130,
    /// The reader of standard output has had enough. As of a program that SIGPIPE ended.
    PipeClosed = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What a failed command tells its user. Nothing in it is secret.
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

    /// What to try, where something helps.
    pub fn what_to_try(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds `error` and the causes below it.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Errors that are transparent, or print their source themselves, would say it twice.
            if !self.causes.last().unwrap_or(&self.what).contains(&text) {
                self.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// Adds a cause that is told as a text.
    #[must_use]
    pub fn because_text(mut self, cause: String) -> Self {
        self.causes.push(cause);
        self
    }

    /// Adds what to try; commands in backticks.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds what has not changed by the failure.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Puts something before what else there is to try.
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

    /// Standard output cannot be written. Where its reader has had enough, nothing went wrong, and nothing is told.
    pub fn of_output(error: &std::io::Error) -> Self {
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::PipeClosed } else { Exit::Failed };
        Self::new(exit, "standard output cannot be written").because(error)
    }

    /// Tells the user, and answers with the exit code.
    pub fn tell(&self, terminal: Terminal) -> Exit {
        if self.exit != Exit::PipeClosed {
            terminal.error(&self.text());
        }
        self.exit
    }

    fn text(&self) -> String {
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
    /// In one line, without what to try.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)?;
        self.causes.iter().try_for_each(|cause| write!(formatter, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_to_try() {
        let cause = std::io::Error::other("the disk is full");
        let failure =
            Failure::new(Exit::Failed, "the session cannot be saved").because(&cause).hint("`df ~`");
        assert_eq!(failure.text(), "the session cannot be saved\n  because: the disk is full\n  try: `df ~`");
    }
}
