//! The history of a certificate source, for operators.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::Source;
use crate::audit::{Audit, Event};

/// Records failures and pending work, and writes them to the audit log. A repeated failure is logged once.
pub(super) struct SourceHistory {
    source: Source,
    audit: Audit,
    entries: Mutex<Entries>,
}

/// The recorded state.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    pub(super) failures: u64,
    pub(super) last_error: Option<(Timestamp, String)>,
    pub(super) waiting_for: Option<String>,
}

impl SourceHistory {
    pub(super) fn new(source: Source, audit: Audit) -> Self {
        Self { source, audit, entries: Mutex::default() }
    }

    pub(super) fn read(&self) -> Entries {
        self.entries().clone()
    }

    /// Records a success and clears the last error and pending work.
    pub(super) fn succeeded(&self) {
        let mut entries = self.entries();
        (entries.last_error, entries.waiting_for) = (None, None);
        self.record("issued", None);
    }

    /// Writes an event to the audit log.
    pub(super) fn record(&self, outcome: &str, detail: Option<&str>) {
        self.audit.record(&Event::Certificate { source: self.source.name(), outcome, detail });
    }

    /// Clears the last error and pending work, because nothing is due.
    pub(super) fn clear(&self) {
        let mut entries = self.entries();
        (entries.last_error, entries.waiting_for) = (None, None);
    }

    /// Records a failure. Returns `true` if it differs from the last one.
    pub(super) fn failed(&self, now: Timestamp, cause: &str) -> bool {
        let mut entries = self.entries();
        entries.failures += 1;
        let is_new = entries.last_error.as_ref().is_none_or(|(_, before)| before != cause);
        entries.last_error = Some((now, cause.to_owned()));
        if is_new {
            self.record("failed", Some(cause));
        }
        is_new
    }

    /// Records what the source waits for. Returns `true` if it changed.
    pub(super) fn waits_for(&self, what: &str) -> bool {
        let mut entries = self.entries();
        let is_new = entries.waiting_for.as_deref() != Some(what);
        entries.waiting_for = Some(what.to_owned());
        is_new
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
