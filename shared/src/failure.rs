//! How a command fails: what happened, the causes, a hint, and the exit code for scripts.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::iter::successors;
use std::process::ExitCode;

/// Exit codes. Their meaning never changes, and is the same in both programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Success; for `infra status`: signed in.
    Done = 0,
    Failed = 1,
    /// Invalid usage, or a configuration that has to change.
    Usage = 2,
    /// No session, or no live one.
    LoginNeeded = 3,
    /// A remote system cannot be reached. A retry may help.
    Unreachable = 4,
    /// The server's identity is not trusted.
    Untrusted = 5,
    /// The sign-in was denied, or not completed in time.
    LoginFailed = 6,
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

    /// A failure that a retry probably does not fix.
    pub fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// A required remote system is unreachable; a retry may help.
    pub fn unreachable(what: impl Into<String>) -> Self {
        Self::new(Exit::Unreachable, what)
    }

    /// The arguments or the configuration must change.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Standard output cannot be written. If its reader closed it, nothing is reported.
    pub fn output(error: &io::Error) -> Self {
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::PipeClosed } else { Exit::Failed };
        Self::new(exit, "cannot write to standard output").because(error)
    }

    /// Adds `error` and its sources.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        for cause in successors(Some(error), |&cause| cause.source()) {
            let text = cause.to_string();
            // Transparent errors, and errors that print their source, would repeat the text.
            if !self.causes.last().unwrap_or(&self.what).contains(&text) {
                self.causes.push(text);
            }
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

    /// Puts `hint` before the existing hint.
    #[must_use]
    pub fn hint_first(mut self, hint: &str) -> Self {
        self.hint = Some(match self.hint.take() {
            Some(other) => format!("{hint}; else {other}"),
            None => hint.to_owned(),
        });
        self
    }

    /// Adds what the failure did not change.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The text that the user sees.
    pub fn text(&self) -> String {
        let causes = self.causes.iter().map(|cause| ("because", cause));
        let lines = causes
            .chain(self.hint.iter().map(|hint| ("try", hint)))
            .chain(self.note.iter().map(|note| ("note", note)));
        lines.fold(self.what.clone(), |text, (label, line)| format!("{text}\n  {label}: {line}"))
    }

    /// All of it in one line, for the log of a script.
    pub fn line(&self) -> String {
        let rest = self.causes.iter().cloned().chain(self.hint.iter().map(|hint| format!("try: {hint}")));
        let rest: Vec<String> = rest.collect();
        if rest.is_empty() { self.what.clone() } else { format!("{}: {}", self.what, rest.join("; ")) }
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

    #[derive(Debug, thiserror::Error)]
    #[error("the lower layer broke")]
    struct Lower;

    #[derive(Debug, thiserror::Error)]
    #[error("the upper layer broke")]
    struct Upper(#[source] Lower);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Transparent(Upper);

    #[test]
    fn failure_shows_message_causes_hint_and_note() {
        let failure = Failure::new(Exit::Failed, "the session cannot be saved")
            .because(&Upper(Lower))
            .hint("`df ~`")
            .note("you are still signed in");
        assert_eq!(
            failure.text(),
            "the session cannot be saved\n  because: the upper layer broke\n  because: the lower layer broke\n  \
             try: `df ~`\n  note: you are still signed in"
        );
        assert_eq!(
            failure.to_string(),
            "the session cannot be saved: the upper layer broke: the lower layer broke"
        );
        assert_eq!(
            failure.line(),
            "the session cannot be saved: the upper layer broke; the lower layer broke; try: `df ~`"
        );
        assert_eq!(Failure::new(Exit::Failed, "the disk is full").line(), "the disk is full");
    }

    #[test]
    fn repeated_cause_is_omitted() {
        let failure = Failure::failed("the daemon cannot start: the upper layer broke")
            .because(&Transparent(Upper(Lower)));
        assert_eq!(
            failure.text(),
            "the daemon cannot start: the upper layer broke\n  because: the lower layer broke"
        );
    }

    #[test]
    fn exit_code_matches_failure_kind() {
        let broken = |kind: ErrorKind| Failure::output(&kind.into());
        for (failure, code) in [
            (Failure::failed(""), 1),
            (Failure::usage(""), 2),
            (Failure::unreachable(""), 4),
            (broken(ErrorKind::StorageFull), 1),
            (broken(ErrorKind::BrokenPipe), 141),
        ] {
            assert_eq!(failure.exit() as u8, code);
        }
    }
}
