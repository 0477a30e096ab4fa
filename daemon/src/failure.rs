//! How a command fails: message, causes, hint and exit code.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::terminal::Terminal;

/// What a failed command prints. Contains no secrets.
#[derive(Debug)]
pub struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    exit: ExitKind,
}

/// The kind of failure, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ExitKind {
    /// The command failed.
    Failed = 1,
    /// The arguments or the configuration must change.
    Usage = 2,
    /// A remote system is unreachable.
    Away = 4,
    /// The reader of standard output closed it. The exit code is that of a program ended by SIGPIPE.
    PipeClosed = 141,
}

impl Failure {
    /// A failure that a retry probably does not fix. Exit code 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self::with(what, ExitKind::Failed)
    }

    /// The arguments or the configuration must change. Exit code 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::with(what, ExitKind::Usage)
    }

    /// A required remote system is unreachable; a retry may help. Exit code 4.
    pub fn away(what: impl Into<String>) -> Self {
        Self::with(what, ExitKind::Away)
    }

    /// Standard output cannot be written. If its reader closed it, nothing is printed.
    pub fn output(error: &std::io::Error) -> Self {
        let exit = if error.kind() == std::io::ErrorKind::BrokenPipe {
            ExitKind::PipeClosed
        } else {
            ExitKind::Failed
        };
        Self::with("standard output cannot be written", exit).because(error)
    }

    /// Adds `error` and its causes.
    #[must_use]
    pub fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Transparent errors, and errors that print their source, would repeat the text.
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

    /// Adds a hint. Commands are in backticks.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the failure and returns its exit code.
    pub fn tell(&self, terminal: Terminal) -> ExitCode {
        if self.exit != ExitKind::PipeClosed {
            terminal.error(&self.text());
        }
        self.exit_code()
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit as u8)
    }

    fn with(what: impl Into<String>, exit: ExitKind) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, exit }
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
        text
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::usage(error.to_string())
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
    fn failure_has_message_causes_and_hint() {
        let failure = Failure::new("the daemon cannot start").because(&Upper(Lower)).hint("`infrad check`");
        assert_eq!(
            failure.text(),
            "the daemon cannot start\n  because: the upper layer broke\n  because: the lower layer broke\n  \
             try: `infrad check`"
        );
    }

    #[test]
    fn repeated_cause_is_omitted() {
        let failure = Failure::new("the daemon cannot start: the upper layer broke")
            .because(&Transparent(Upper(Lower)));
        assert_eq!(
            failure.text(),
            "the daemon cannot start: the upper layer broke\n  because: the lower layer broke"
        );
    }

    #[test]
    fn exit_code_matches_failure_kind() {
        for (failure, code) in [(Failure::new(""), 1), (Failure::usage(""), 2), (Failure::away(""), 4)] {
            assert_eq!(failure.exit_code(), ExitCode::from(code));
        }
    }
}
