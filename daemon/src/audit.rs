//! The audit log: sign-ins, rejections, revocations, and operations on keys and certificates.
//!
//! Each line is a JSON object with the SHA-256 of the line before, so that changed, removed or inserted lines are
//! detected. It never contains tokens, codes, keys or control characters.

mod chain;
mod event;
mod file;
mod journal;
mod path_check;
mod verification;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use infra_shared::clock::Clock;
use jiff::Timestamp;

use chain::Chain;
use file::AuditFile;
use journal::Journal;

use crate::platform::Account;

pub use event::{DeniedUser, Event};
pub use path_check::{UnsafePath, find_fault};
pub use verification::{KeptHead, Position, Verified, VerifyError, verify};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSettings {
    File {
        path: PathBuf,
        /// A larger file is rotated.
        max_bytes: u64,
        /// How many rotated files are kept.
        keep: u32,
    },
    Journal,
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("cannot open the audit log {path}: {source}")]
    File { path: String, source: std::io::Error },
    #[error("cannot use the audit log {path}: {source}")]
    Place { path: String, source: UnsafePath },
    #[error("cannot write the audit log to the journal: {0}")]
    Journal(std::io::Error),
}

impl AuditError {
    /// What to try.
    pub fn hint(&self) -> String {
        match self {
            Self::Place { source, .. } => source.hint.clone(),
            Self::File { path, source } => {
                let directory = Path::new(path).parent().unwrap_or(Path::new("/")).display();
                match source.kind() {
                    ErrorKind::NotFound => format!(
                        "correct `audit.file`, or create the directory: `install -d -o {} -m 0700 {directory}`",
                        Account::of_this_process().name
                    ),
                    ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                        format!("free space on the file system of {directory}: `df {directory}`")
                    }
                    ErrorKind::ReadOnlyFilesystem => format!(
                        "`systemctl edit infrad`, then add under `[Service]`: `ReadWritePaths={directory}`; or set \
                         `audit.file` to a file in another directory"
                    ),
                    _ => format!("let the user {} write to {path}, or set `audit.file` to another file", Account::of_this_process().name),
                }
            }
            Self::Journal(_) => {
                "start systemd-journald (it listens on /run/systemd/journal/socket), or log to a file: `audit: \
                 {file: …}`".to_owned()
            }
        }
    }
}

/// Writes audit events. Clones write to the same log.
#[derive(Clone)]
pub struct Audit(Option<Arc<Log>>);

struct Log {
    sink: Mutex<Sink>,
    clock: Arc<dyn Clock>,
    rejected_tokens: [AtomicU64; 4],
    suppressed: [AtomicU64; 6],
    validations_in_grace: AtomicU64,
    /// Lines that unauthenticated clients may still cause before the next [`Audit::record_counts`].
    unauthenticated_lines_left: AtomicU64,
    /// The same for exchanges with unverified tokens, which cost a client nothing.
    exchange_lines_left: AtomicU64,
    failures: AtomicU64,
}

struct Sink {
    chain: Chain,
    destination: Destination,
    gap: Option<Gap>,
}

/// Events that could not be written since the last one that was.
struct Gap {
    count: u64,
    since: Timestamp,
}

enum Destination {
    File(AuditFile),
    Journal(Journal),
}

/// Rate limit per minute for events that unauthenticated clients can trigger. The rest is counted, so that they
/// cannot push older lines out of the log.
const MAX_UNAUTHENTICATED_LINES: u64 = 600;
const MAX_EXCHANGE_LINES: u64 = 60;

/// Events that are counted instead of logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuppressedEvent {
    StartRateLimited = 0,
    FinishRateLimited = 1,
    Started = 2,
    Rejected = 3,
    WorkloadRateLimited = 4,
    WorkloadRejected = 5,
}

/// Why a token was rejected. There may be very many, so they are counted and logged once a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectedToken {
    Unknown = 0,
    Expired = 1,
    Revoked = 2,
    AudienceMismatch = 3,
}

impl Audit {
    /// Discards all events.
    pub fn none() -> Self {
        Self(None)
    }

    /// Opens the log and continues its chain.
    pub fn open(settings: &AuditSettings, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let (chain, destination) = match settings {
            AuditSettings::File { path, max_bytes, keep } => {
                expect_fit(path)?;
                let failed = |source| AuditError::File { path: path.display().to_string(), source };
                let (file, chain) = AuditFile::open(path, *max_bytes, *keep).map_err(failed)?;
                (chain, Destination::File(file))
            }
            AuditSettings::Journal => {
                (Chain::default(), Destination::Journal(Journal::open().map_err(AuditError::Journal)?))
            }
        };
        let sink = Mutex::new(Sink { chain, destination, gap: None });
        Ok(Self(Some(Arc::new(Log {
            sink,
            clock,
            rejected_tokens: Default::default(),
            suppressed: Default::default(),
            validations_in_grace: AtomicU64::new(0),
            unauthenticated_lines_left: AtomicU64::new(MAX_UNAUTHENTICATED_LINES),
            exchange_lines_left: AtomicU64::new(MAX_EXCHANGE_LINES),
            failures: AtomicU64::new(0),
        }))))
    }

    /// Checks that [`Self::open`] would succeed. Creates and changes nothing.
    pub fn check(settings: &AuditSettings) -> Result<(), AuditError> {
        match settings {
            AuditSettings::File { path, .. } => {
                expect_fit(path)?;
                let failed = |source| AuditError::File { path: path.display().to_string(), source };
                AuditFile::check(path).map_err(failed)
            }
            AuditSettings::Journal => Journal::open().map(drop).map_err(AuditError::Journal),
        }
    }

    /// Writes a line. Failures are logged and counted, so that a full disk does not stop users from signing out.
    pub fn record(&self, event: &Event<'_>) {
        let Some(log) = &self.0 else { return };
        let now = log.clock.now();
        let mut sink = log.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sink.close_gap(now).and_then(|()| sink.write(now, event)) {
            log.failures.fetch_add(1, Ordering::Relaxed);
            sink.miss(now, &error);
        }
    }

    /// Writes a line that an unauthenticated client triggered, or counts it if the rate limit is used up.
    pub fn record_or_count(&self, event: &Event<'_>, what: SuppressedEvent) {
        let Some(log) = &self.0 else { return };
        self.record_while(&log.unauthenticated_lines_left, event, what);
    }

    /// The same for an exchange with an unverified token.
    pub fn record_unverified_or_count(&self, event: &Event<'_>, what: SuppressedEvent) {
        if let Some(log) = &self.0 {
            self.record_while(&log.exchange_lines_left, event, what);
        }
    }

    fn record_while(&self, lines_left: &AtomicU64, event: &Event<'_>, what: SuppressedEvent) {
        let may_write = |left: u64| left.checked_sub(1);
        match lines_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_write) {
            Ok(_) => self.record(event),
            Err(_) => self.count(what),
        }
    }

    /// Counts an event without writing a line.
    pub fn count(&self, what: SuppressedEvent) {
        if let Some(count) = self.0.as_ref().and_then(|log| log.suppressed.get(what as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn count_rejected_token(&self, why: RejectedToken) {
        if let Some(count) = self.0.as_ref().and_then(|log| log.rejected_tokens.get(why as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a validation from memory while the database is away.
    pub fn count_validation_in_grace(&self) {
        if let Some(log) = &self.0 {
            log.validations_in_grace.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Logs the number of rejected tokens, suppressed login lines and validations in grace since the last call, if any.
    pub fn record_counts(&self) {
        let Some(log) = &self.0 else { return };
        let [unknown, expired, revoked, audience_mismatch] = [0, 1, 2, 3].map(|why: usize| {
            log.rejected_tokens.get(why).map_or(0, |count| count.swap(0, Ordering::Relaxed))
        });
        if unknown + expired + revoked + audience_mismatch > 0 {
            self.record(&Event::TokensRejected { unknown, expired, revoked, audience_mismatch });
        }
        let count = log.validations_in_grace.swap(0, Ordering::Relaxed);
        if count > 0 {
            self.record(&Event::ValidationsInGrace { count });
        }
        log.unauthenticated_lines_left.store(MAX_UNAUTHENTICATED_LINES, Ordering::Relaxed);
        log.exchange_lines_left.store(MAX_EXCHANGE_LINES, Ordering::Relaxed);
        let [
            start_rate_limited,
            finish_rate_limited,
            started,
            rejected,
            exchanges_limited,
            exchanges_rejected,
        ] = [0, 1, 2, 3, 4, 5]
            .map(|what: usize| log.suppressed.get(what).map_or(0, |count| count.swap(0, Ordering::Relaxed)));
        if start_rate_limited + finish_rate_limited + started + rejected > 0 {
            self.record(&Event::LoginsSuppressed {
                start_rate_limited,
                finish_rate_limited,
                started,
                rejected,
            });
        }
        if exchanges_limited + exchanges_rejected > 0 {
            self.record(&Event::WorkloadTokensSuppressed {
                rate_limited: exchanges_limited,
                rejected: exchanges_rejected,
            });
        }
        // The end of a gap shows even if no event follows. A failure leaves the gap open.
        let _ = log.sink.lock().unwrap_or_else(PoisonError::into_inner).close_gap(log.clock.now());
    }

    /// Returns how many lines could not be written.
    pub fn failures(&self) -> u64 {
        self.0.as_ref().map_or(0, |log| log.failures.load(Ordering::Relaxed))
    }

    /// Reopens the file after another program moved it, or reconnects to a restarted journal.
    pub fn reopen(&self) {
        let Some(log) = &self.0 else { return };
        let mut sink = log.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let reopened = match &mut sink.destination {
            Destination::File(file) => file.reopen(),
            Destination::Journal(journal) => Journal::open().map(|opened| *journal = opened),
        };
        if let Err(error) = reopened {
            tracing::error!(%error, "cannot reopen the audit log: still writing to the file that is already open");
        }
    }
}

fn expect_fit(path: &Path) -> Result<(), AuditError> {
    let fault = find_fault(path, &Account::of_this_process());
    fault.map_or(Ok(()), |source| Err(AuditError::Place { path: path.display().to_string(), source }))
}

impl Sink {
    /// Counts an event that could not be written. Logs only the first of a gap.
    fn miss(&mut self, now: Timestamp, error: &std::io::Error) {
        let gap = self.gap.get_or_insert_with(|| {
            tracing::error!(%error, "cannot write to the audit log");
            Gap { count: 0, since: now }
        });
        gap.count += 1;
    }

    /// Writes how many events are missing, once the log can be written again.
    fn close_gap(&mut self, now: Timestamp) -> std::io::Result<()> {
        let Some(Gap { count, since }) = self.gap else { return Ok(()) };
        self.write(now, &Event::EventsMissing { count, since })?;
        self.gap = None;
        tracing::warn!(count, %since, "writing to the audit log again; the events since then are missing");
        Ok(())
    }

    fn write(&mut self, now: Timestamp, event: &Event<'_>) -> std::io::Result<()> {
        if let Destination::File(file) = &mut self.destination
            && let Some(chain) = file.repair()?
        {
            self.chain = chain;
        }
        let line = self.chain.line(now, event);
        match &mut self.destination {
            Destination::File(file) => file.append(&line)?,
            Destination::Journal(journal) => journal.send(&line)?,
        }
        self.chain.advance(&line);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
