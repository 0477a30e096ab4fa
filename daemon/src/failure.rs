//! How a command fails: what happened, because of what, what to try; and the exit code that says whose turn it is.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::terminal::Terminal;

/// What a failed command tells its user. Nothing in it is secret.
#[derive(Debug)]
pub struct Failure {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    turn: Turn,
}

/// Whose turn it is now, as exit codes say it (design §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// It failed.
    Failed = 1,
    /// The arguments or the configuration must be changed.
    Usage = 2,
    /// A remote party must come back.
    Away = 4,
    /// Nobody's: the reader of standard output has had enough. As of a program that SIGPIPE ended.
    PipeClosed = 141,
}

impl Failure {
    /// It failed, and trying the same again will probably fail again. Exit code 1.
    pub fn new(what: impl Into<String>) -> Self {
        Self::with(what, Turn::Failed)
    }

    /// The arguments or the configuration must be changed. Exit code 2.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::with(what, Turn::Usage)
    }

    /// A remote party that is needed cannot be reached: trying again later may help. Exit code 4.
    pub fn away(what: impl Into<String>) -> Self {
        Self::with(what, Turn::Away)
    }

    /// Standard output cannot be written. Where its reader has had enough, nothing went wrong, and nothing is told.
    pub fn output(error: &std::io::Error) -> Self {
        let turn =
            if error.kind() == std::io::ErrorKind::BrokenPipe { Turn::PipeClosed } else { Turn::Failed };
        Self::with("standard output cannot be written", turn).because(error)
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

    /// Tells the user, and answers with the exit code.
    pub fn tell(&self, terminal: Terminal) -> ExitCode {
        if self.turn != Turn::PipeClosed {
            terminal.error(&self.text());
        }
        self.exit_code()
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.turn as u8)
    }

    fn with(what: impl Into<String>, turn: Turn) -> Self {
        Self { what: what.into(), causes: Vec::new(), hint: None, turn }
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
    fn a_failure_says_what_why_and_what_to_try() {
        let failure = Failure::new("the daemon cannot start").because(&Upper(Lower)).hint("`infrad check`");
        assert_eq!(
            failure.text(),
            "the daemon cannot start\n  because: the upper layer broke\n  because: the lower layer broke\n  \
             try: `infrad check`"
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let failure = Failure::new("the daemon cannot start: the upper layer broke")
            .because(&Transparent(Upper(Lower)));
        assert_eq!(
            failure.text(),
            "the daemon cannot start: the upper layer broke\n  because: the lower layer broke"
        );
    }

    #[test]
    fn the_exit_code_says_whose_turn_it_is() {
        for (failure, code) in [(Failure::new(""), 1), (Failure::usage(""), 2), (Failure::away(""), 4)] {
            assert_eq!(failure.exit_code(), ExitCode::from(code));
        }
    }
}
