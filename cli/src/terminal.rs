//! What the person at the terminal sees: data on standard output, talk on standard error.

mod wrap;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::LazyLock;
use std::time::Duration;

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressBar};
use terminal_size::{Height, Width};

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
    /// Whether a terminal shows what is told: standard error is one.
    pub read_by_human: bool,
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
        let read_by_human = io::stderr().is_terminal();
        Self {
            interactive: io::stdin().is_terminal() && read_by_human,
            read_by_human,
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

    /// As [`data`](Self::data), in lines that fit where a terminal shows them.
    pub fn report(self, text: &str) -> Result<(), Failure> {
        let size =
            if io::stdout().is_terminal() { terminal_size::terminal_size_of(io::stdout()) } else { None };
        self.data(&fitted(text, size))
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
        self.labelled("warning:", WARNING, line);
    }

    /// Tells of an error on standard error.
    pub fn error(self, line: &str) {
        self.labelled("error:", ERROR, line);
    }

    /// Tells something on standard error even with `-q`.
    pub fn tell(self, line: &str) {
        write(&self.fitted(line));
    }

    fn labelled(self, label: &str, style: Style, line: &str) {
        let text = self.fitted(&format!("{label} {line}"));
        let rest = text.strip_prefix(label).unwrap_or_default();
        write(&format!("{style}{label}{style:#}{rest}"));
    }

    fn fitted(self, text: &str) -> String {
        fitted(text, if self.read_by_human { terminal_size::terminal_size_of(io::stderr()) } else { None })
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

fn write(line: &str) {
    // A line in the midst of what is being drawn would be overwritten. A closed standard error leaves nobody to tell.
    let _ = PROGRESS.suspend(|| writeln!(anstream::stderr().lock(), "{line}"));
}

/// In lines that fit a terminal of this size; as it is where there is none.
fn fitted(text: &str, size: Option<(Width, Height)>) -> String {
    match size {
        Some((Width(columns), _)) if columns > 0 => wrap::wrapped(text, columns.into()),
        _ => text.to_owned(),
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
