//! What is seen of the program: data on standard output, talk on standard error.

use std::io::{self, Write};
use std::process::ExitCode;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Where a run talks to, with what the options say of it.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    quiet: bool,
    colour: ColorChoice,
}

impl Terminal {
    pub fn new(quiet: bool, colour: ColorChoice) -> Self {
        Self { quiet, colour }
    }

    /// Writes what was asked for to standard output, as it is.
    pub fn data(self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(text.as_ref())?;
        output.flush()
    }

    /// Tells a line on standard error, unless `-q`.
    pub fn say(self, line: &str) {
        if !self.quiet {
            self.tell(line);
        }
    }

    /// Warns on standard error, even with `-q`: what is warned about goes on being so.
    pub fn warn(self, line: &str) {
        self.tell(&format!("{WARNING}warning:{WARNING:#} {line}"));
    }

    /// Tells of an error on standard error.
    pub fn error(self, line: &str) {
        self.tell(&format!("{ERROR}error:{ERROR:#} {line}"));
    }

    /// Whether standard error shows colour, for the log that goes there.
    pub fn colours_talk(self) -> bool {
        self.talk().current_choice() != ColorChoice::Never
    }

    fn tell(self, line: &str) {
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(self.talk().lock(), "{line}");
    }

    fn talk(self) -> anstream::AutoStream<io::Stderr> {
        anstream::AutoStream::new(io::stderr(), self.colour)
    }
}

/// Answers a shell that completes a line. One that does not read on needs no answer.
pub fn answer_shell(answer: &str) -> ExitCode {
    let _ = io::stdout().write_all(answer.as_bytes());
    ExitCode::SUCCESS
}

/// Shows clap's own answer (help, version, or what was not understood) on the stream that is meant for it.
pub fn show_usage(answer: &clap::Error) -> io::Result<ExitCode> {
    match answer.print() {
        Err(error) if !answer.use_stderr() => Err(error),
        // A closed standard error leaves nobody to tell.
        _ => Ok(u8::try_from(answer.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)),
    }
}
