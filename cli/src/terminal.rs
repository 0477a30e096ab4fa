//! Output to the user: results on standard output, messages on standard error.

mod wrap;

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use anstream::ColorChoice;
use anstyle::{AnsiColor, Style};
use dialoguer::console::is_dumb;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use infra_shared::printable::printable_json;
use serde::Serialize;
use terminal_size::{Height, Width};

use crate::failure::{Exit, Failure};
use crate::settings;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

const TICK: Duration = Duration::from_millis(120);
const FRAMES: &[&str] = &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "];
const ASCII_FRAMES: &[&str] = &["-", "\\", "|", "/", " "];

/// The spinners on the terminal.
static PROGRESS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A spinner with the time left. On a terminal without cursor control, plain lines.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    terminal: Option<Terminal>,
}

impl Progress {
    /// Shows the current step.
    pub fn show(&self, what: &'static str) {
        let Some(terminal) = self.terminal.filter(|_| !self.bar.is_finished()) else { return };
        if self.bar.is_hidden() {
            terminal.info(what);
            return;
        }
        if self.bar.message().is_empty() {
            PROGRESS.add(self.bar.clone()).enable_steady_tick(TICK);
        }
        self.bar.set_message(what);
    }

    /// Removes it from the terminal permanently.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Style of a spinner for a wait until `deadline`.
fn spinner(deadline: Instant) -> ProgressStyle {
    let left = move |_: &ProgressState, writer: &mut dyn fmt::Write| {
        let seconds = deadline.saturating_duration_since(Instant::now()).as_secs();
        // A write error leaves out the time.
        let _ = write!(writer, "{}:{:02}", seconds / 60, seconds % 60);
    };
    ProgressStyle::with_template("{spinner} {left} left: {msg}")
        .expect("a valid template")
        .with_key("left", left)
        .tick_strings(if settings::is_utf8() { FRAMES } else { ASCII_FRAMES })
}

/// The terminal of one run, with settings from options and environment.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Whether the user can answer prompts: standard input and standard error are terminals.
    pub interactive: bool,
    /// Whether standard error is a terminal.
    pub is_terminal_output: bool,
    /// `-q`: show only warnings and errors.
    pub quiet: bool,
    /// How often `-v` was given.
    pub verbose: u8,
}

impl Terminal {
    pub fn new(colour: clap::ColorChoice, quiet: bool, verbose: u8) -> Self {
        let choice = match colour {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
        choice.write_global();
        let is_terminal_output = io::stderr().is_terminal();
        Self {
            interactive: io::stdin().is_terminal() && is_terminal_output,
            is_terminal_output,
            quiet,
            verbose,
        }
    }

    /// Writes results to standard output unchanged.
    pub fn data(self, text: &str) -> Result<(), Failure> {
        let mut output = io::stdout().lock();
        output
            .write_all(text.as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| Failure::output(&error))
    }

    /// Writes one JSON object in one line to standard output. Control characters of remote text are escaped in a
    /// lossless way.
    pub fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).expect("a report is plain JSON");
        self.data(&format!("{}\n", printable_json(&text)))
    }

    /// As [`data`](Self::data), wrapped to the width of a terminal.
    pub fn report(self, text: &str) -> Result<(), Failure> {
        let size =
            if io::stdout().is_terminal() { terminal_size::terminal_size_of(io::stdout()) } else { None };
        self.data(&fitted(text, size))
    }

    /// Writes a message to standard error, unless `-q` is set.
    pub fn info(self, line: &str) {
        if !self.quiet {
            self.print(line);
        }
    }

    /// Writes a message to standard error if `-v` is set.
    pub fn verbose(self, line: &str) {
        if self.verbose > 0 {
            self.print(line);
        }
    }

    /// Writes a warning to standard error, even with `-q`.
    pub fn warn(self, line: &str) {
        self.labelled("warning:", WARNING, line);
    }

    /// Prints why a command failed, and returns its exit code.
    pub fn fail(self, failure: &Failure) -> Exit {
        // The reader closed standard output on purpose.
        if failure.exit() != Exit::PipeClosed {
            self.error(&failure.text());
        }
        failure.exit()
    }

    /// Writes an error to standard error.
    pub fn error(self, line: &str) {
        self.labelled("error:", ERROR, line);
    }

    /// Writes a message to standard error, even with `-q`.
    pub fn print(self, line: &str) {
        write(&self.fitted(line));
    }

    fn labelled(self, label: &str, style: Style, line: &str) {
        let text = self.fitted(&format!("{label} {line}"));
        let rest = text.strip_prefix(label).unwrap_or_default();
        write(&format!("{style}{label}{style:#}{rest}"));
    }

    fn fitted(self, text: &str) -> String {
        fitted(
            text,
            if self.is_terminal_output { terminal_size::terminal_size_of(io::stderr()) } else { None },
        )
    }

    /// A progress display until `deadline` or drop.
    pub fn progress(self, deadline: Instant) -> Progress {
        if self.interactive && !self.quiet {
            // Hidden automatically if `TERM` is unset or `dumb`.
            Progress { bar: ProgressBar::new_spinner().with_style(spinner(deadline)), terminal: Some(self) }
        } else {
            Progress { bar: ProgressBar::hidden(), terminal: None }
        }
    }

    /// Prompts the user for a line.
    pub fn ask(self, question: &str) -> Result<String, Failure> {
        if is_dumb() {
            return ask_plainly(question);
        }
        dialoguer::Input::<String>::new()
            .with_prompt(question)
            .interact_text()
            .map_err(|error| interrupted(&error))
    }

    /// Prompts the user to choose. Returns the index.
    pub fn choose(self, question: &str, choices: &[String]) -> Result<usize, Failure> {
        if is_dumb() {
            for (position, choice) in choices.iter().enumerate() {
                self.print(&format!("  {}  {choice}", position + 1));
            }
            let answer = ask_plainly(&format!("{question} (1-{})", choices.len()))?;
            let chosen = answer.parse().ok().filter(|number| (1..=choices.len()).contains(number));
            return chosen
                .map(|number| number - 1)
                .ok_or_else(|| Failure::new(Exit::Usage, "that is not one of these numbers"));
        }
        dialoguer::Select::new()
            .with_prompt(question)
            .items(choices)
            .default(0)
            .interact()
            .map_err(|error| interrupted(&error))
    }
}

/// Prompts on a terminal without cursor control.
fn ask_plainly(question: &str) -> Result<String, Failure> {
    let failure = || Failure::new(Exit::Interrupted, "nothing was entered");
    // If standard error is closed, the user sees no prompt and the input is empty.
    let _ = write!(anstream::stderr().lock(), "{question}: ");
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) => Err(failure()),
        Ok(_) => Ok(line.trim().to_owned()),
        Err(error) => Err(failure().because(&error)),
    }
}

thread_local! {
    /// Messages of a thread that are shown later.
    static DEFERRED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs `work` and returns its messages to standard error, for [`write_deferred`].
pub fn deferred<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    DEFERRED.set(Some(Vec::new()));
    let result = work();
    (result, DEFERRED.take().unwrap_or_default())
}

pub fn write_deferred(lines: &[String]) {
    for line in lines {
        write(line);
    }
}

fn write(line: &str) {
    let is_held_back =
        DEFERRED.with_borrow_mut(|lines| lines.as_mut().map(|lines| lines.push(line.to_owned())).is_some());
    if is_held_back {
        return;
    }
    // Suspend the spinner, which would overwrite the line. If standard error is closed, the message is lost.
    let _ = PROGRESS.suspend(|| writeln!(anstream::stderr().lock(), "{line}"));
}

/// Wraps to a terminal of this size. Unchanged without one.
fn fitted(text: &str, size: Option<(Width, Height)>) -> String {
    match size {
        Some((Width(columns), _)) if columns > 0 => wrap::wrapped(text, columns.into()),
        _ => text.to_owned(),
    }
}

fn interrupted(error: &dialoguer::Error) -> Failure {
    Failure::new(Exit::Interrupted, "nothing was chosen").because(error)
}
