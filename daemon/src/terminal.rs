//! Terminal output: data on standard output, messages on standard error.

use std::io::{self, Write};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Output streams with the options that affect them.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    quiet: bool,
    colour: ColorChoice,
}

impl Terminal {
    pub fn new(quiet: bool, colour: clap::ColorChoice) -> Self {
        let colour = match colour {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
        Self { quiet, colour }
    }

    /// Writes requested data to standard output, unchanged.
    pub fn data(self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(text.as_ref())?;
        output.flush()
    }

    /// Prints a message on standard error, unless `-q` is given.
    pub fn say(self, line: &str) {
        if !self.quiet {
            self.write_stderr(line);
        }
    }

    /// Prints a warning on standard error, even with `-q`, because the condition persists.
    pub fn warn(self, line: &str) {
        self.write_stderr(&format!("{WARNING}warning:{WARNING:#} {line}"));
    }

    pub fn error(self, line: &str) {
        self.write_stderr(&format!("{ERROR}error:{ERROR:#} {line}"));
    }

    /// Whether standard error uses colour. The log follows it.
    pub fn colours_stderr(self) -> bool {
        self.stderr().current_choice() != ColorChoice::Never
    }

    fn write_stderr(self, line: &str) {
        // If standard error is closed, there is no reader.
        let _ = writeln!(self.stderr().lock(), "{line}");
    }

    fn stderr(self) -> anstream::AutoStream<io::Stderr> {
        anstream::AutoStream::new(io::stderr(), self.colour)
    }
}
