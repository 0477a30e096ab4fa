//! The log on standard error: text for people, or one JSON object a line for machines. A slow or missing reader never
//! blocks the daemon.

mod one_line;
mod queue;

use std::io;
use std::sync::OnceLock;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::terminal::Terminal;
use one_line::OneLine;
use queue::Queue;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    pub format: LogFormat,
    pub level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Changes to the log level from the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verbosity {
    pub verbose: u8,
    pub quiet: bool,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LogLevel::Info }
    }
}

pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    verbosity: Verbosity,
}

impl Log {
    /// Applies a new level from the configuration, combined with the command line.
    pub fn change_level(&self, configured: LogLevel) {
        // Fails only if the log no longer exists.
        let _ = self.filter.reload(filter(level(configured, self.verbosity)));
    }
}

/// The queue of this process's log, once started.
static QUEUE: OnceLock<Queue> = OnceLock::new();
/// How long to wait for the queue to drain when the process exits.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Starts the log of this process. A second call has no effect.
pub fn start(settings: LogSettings, verbosity: Verbosity, terminal: Terminal) -> io::Result<Log> {
    let queue = Queue::start(io::stderr(), report_dropped)?;
    let (subscriber, filter) = subscriber(settings, verbosity, terminal.colours_stderr(), queue.clone());
    // Both fail only if a log was started before, which then stays active.
    if subscriber.try_init().is_ok() {
        let _ = QUEUE.set(queue);
    }
    Ok(Log { filter, verbosity })
}

/// Writes the remaining lines before the process exits, within one second.
pub fn finish() {
    if let Some(queue) = QUEUE.get() {
        queue.flush(LAST_LINES);
    }
}

/// Lines dropped since the start because their reader was too slow.
pub fn dropped_lines() -> u64 {
    QUEUE.get().map_or(0, Queue::dropped)
}

fn report_dropped(dropped: u64) {
    tracing::error!(dropped, "dropped log lines: the reader of standard error was too slow");
}

fn subscriber<W>(
    settings: LogSettings,
    verbosity: Verbosity,
    colour: bool,
    writer: W,
) -> (impl SubscriberInitExt, reload::Handle<Targets, Registry>)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(OneLine::new(writer, settings.format, colour));
    let layer = match settings.format {
        LogFormat::Text => layer.with_ansi(colour).boxed(),
        LogFormat::Json => layer.with_ansi(false).json().flatten_event(true).boxed(),
    };
    let (filter, handle) = reload::Layer::new(filter(level(settings.level, verbosity)));
    (tracing_subscriber::registry().with(layer.with_filter(filter)), handle)
}

/// Combines the levels from the configuration and the command line.
fn level(configured: LogLevel, verbosity: Verbosity) -> LogLevel {
    match verbosity {
        Verbosity { quiet: true, .. } => LogLevel::Error,
        Verbosity { verbose: 0, .. } => configured,
        Verbosity { verbose: 1, .. } => configured.max(LogLevel::Debug),
        Verbosity { .. } => LogLevel::Trace,
    }
}

/// Our own code logs at `level`, libraries at most at `warn`: below it they log headers, bodies and handshake keys.
fn filter(level: LogLevel) -> Targets {
    let level = LevelFilter::from(level);
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("infra_daemon", level)
        .with_target("infra_shared", level)
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::Mutex;

    use tracing::Level;

    use super::*;

    /// Returns what is logged while `act` runs.
    fn logged(format: LogFormat, act: impl FnOnce(&Log)) -> String {
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let settings = LogSettings { format, level: LogLevel::Info };
        let (subscriber, filter) = subscriber(settings, Verbosity::default(), false, Mutex::new(writer));
        let guard = subscriber.set_default();
        act(&Log { filter, verbosity: Verbosity::default() });
        drop(guard);
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("the log");
        text
    }

    #[test]
    fn event_is_one_line_and_libraries_are_filtered() {
        let act = |_: &Log| {
            tracing::info!(provider = "okta", "provider is ready");
            tracing::debug!("too much");
            tracing::info!(target: "hyper::proto", "a header");
        };
        let text = logged(LogFormat::Text, act);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("provider is ready") && text.contains("okta"), "{text}");

        let json: serde_json::Value =
            serde_json::from_str(&logged(LogFormat::Json, act)).expect("one object");
        assert_eq!(json["message"], "provider is ready");
        assert_eq!(json["provider"], "okta");
        assert_eq!(json["level"], "INFO");
    }

    #[test]
    fn log_level_changes_at_runtime() {
        let text = logged(LogFormat::Text, |log| {
            tracing::debug!("not yet");
            log.change_level(LogLevel::Debug);
            tracing::debug!("now");
            log.change_level(LogLevel::Error);
            tracing::info!("no more");
        });
        assert!(text.lines().count() == 1 && text.contains("now"), "{text}");
    }

    #[test]
    fn event_is_one_bounded_line_for_any_content() {
        let act = |_: &Log| {
            tracing::info!(text = %"a\nb\u{1b}[2Jc\u{9b}d\r\u{2028}e", "first");
            tracing::info!(text = %"x".repeat(100_000), "second");
            tracing::info!(text = %"\n".repeat(100_000), "third");
        };
        let text = logged(LogFormat::Text, act);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().all(|line| line.len() <= 8192), "a line is too long");
        assert!(
            text.chars().all(|character| character == '\n' || !character.is_control()),
            "control characters"
        );
        assert!(text.contains("first") && text.contains("second") && text.contains("third"));

        let json = logged(LogFormat::Json, act);
        assert_eq!(json.lines().count(), 3);
        for line in json.lines() {
            assert!(line.len() <= 8192, "a line is too long");
            serde_json::from_str::<serde_json::Value>(line).expect("an object");
        }
        assert!(json.contains("first") && json.contains("an event was too long"));
    }

    #[test]
    fn command_line_raises_level_and_only_quiet_lowers_it() {
        let verbose = |verbose| Verbosity { verbose, quiet: false };
        assert_eq!(level(LogLevel::Info, verbose(0)), LogLevel::Info);
        assert_eq!(level(LogLevel::Info, verbose(1)), LogLevel::Debug);
        assert_eq!(level(LogLevel::Trace, verbose(1)), LogLevel::Trace);
        assert_eq!(level(LogLevel::Error, verbose(2)), LogLevel::Trace);
        assert_eq!(level(LogLevel::Trace, Verbosity { verbose: 0, quiet: true }), LogLevel::Error);
    }

    #[test]
    fn libraries_log_at_warn_at_most() {
        let filter = filter(LogLevel::Trace);
        assert!(filter.would_enable("infra_daemon::sessions", &Level::TRACE));
        for library in
            ["hyper::proto", "hyper_util::client", "rustls::client", "reqwest::connect", "h2", "tokio"]
        {
            assert!(filter.would_enable(library, &Level::WARN), "{library}");
            assert!(!filter.would_enable(library, &Level::INFO), "{library}");
        }
    }

    #[test]
    fn error_level_applies_to_libraries() {
        assert!(!filter(LogLevel::Error).would_enable("hyper", &Level::WARN));
    }
}
