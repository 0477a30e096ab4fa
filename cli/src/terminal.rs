//! What the person at the terminal sees: data on standard output, talk on standard error.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar};

use crate::arguments::{Colour, Global};
use crate::failure::{Exit, Failure};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

const TICK: Duration = Duration::from_millis(120);

/// What is being drawn on the terminal.
static PROGRESS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A spinner, where a human looks.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Says what goes on now.
    pub fn show(&self, what: &'static str) {
        if self.0.message().is_empty() && !self.0.is_hidden() {
            PROGRESS.add(self.0.clone()).enable_steady_tick(TICK);
        }
        self.0.set_message(what);
    }
}

impl Progress {
    /// Takes it from the terminal, for good.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The terminal of one run, with what the options and the environment say of it.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Whether a human can be asked: standard input and standard error are terminals.
    pub interactive: bool,
    /// `-q`: only warnings and errors are told.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
}

impl Terminal {
    pub fn new(options: &Global) -> Self {
        let choice = match options.color {
            Colour::Auto => ColorChoice::Auto,
            Colour::Always => ColorChoice::Always,
            Colour::Never => ColorChoice::Never,
        };
        choice.write_global();
        Self {
            interactive: io::stdin().is_terminal() && io::stderr().is_terminal(),
            quiet: options.quiet,
            verbose: options.verbose,
        }
    }

    /// Writes what was asked for to standard output, as it is.
    pub fn data(self, text: &str) -> Result<(), Failure> {
        let mut output = io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| Failure::new(Exit::Failed, "standard output cannot be written").because(&error))
    }

    /// Tells something on standard error, unless `-q`.
    pub fn say(self, line: &str) {
        if !self.quiet {
            self.tell(line);
        }
    }

    /// Tells something on standard error that only `-v` asks for.
    pub fn explain(self, line: &str) {
        if self.verbose > 0 {
            self.tell(line);
        }
    }

    /// Warns on standard error, even with `-q`.
    pub fn warn(self, line: &str) {
        self.tell(&format!("{WARNING}warning:{WARNING:#} {line}"));
    }

    /// Tells of an error on standard error.
    pub fn error(self, line: &str) {
        self.tell(&format!("{ERROR}error:{ERROR:#} {line}"));
    }

    /// Tells something on standard error even with `-q`.
    pub fn tell(self, line: &str) {
        // A line in the midst of what is being drawn would be overwritten. A closed standard error leaves nobody to tell.
        let _ = PROGRESS.suspend(|| writeln!(anstream::stderr().lock(), "{line}"));
    }

    /// A place to show that something goes on, until the value is dropped.
    pub fn progress(self) -> Progress {
        let bar =
            if self.interactive && !self.quiet { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        Progress(bar)
    }

    /// Asks the human at the terminal for a line.
    pub fn ask(self, question: &str) -> Result<String, Failure> {
        dialoguer::Input::<String>::new()
            .with_prompt(question)
            .interact_text()
            .map_err(|error| interrupted(&error))
    }

    /// Asks the human at the terminal to choose; the position of what was chosen.
    pub fn choose(self, question: &str, choices: &[String]) -> Result<usize, Failure> {
        dialoguer::Select::new()
            .with_prompt(question)
            .items(choices)
            .default(0)
            .interact()
            .map_err(|error| interrupted(&error))
    }
}

fn interrupted(error: &dialoguer::Error) -> Failure {
    Failure::new(Exit::Interrupted, "nothing was chosen").because(error)
}

/// Shows clap's own answer (help, version, or what was not understood) on the stream that is meant for it.
pub fn show_usage(answer: &clap::Error) -> ExitCode {
    // A closed stream leaves nobody to tell.
    let _ = answer.print();
    u8::try_from(answer.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}
