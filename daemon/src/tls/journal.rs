//! What happened to a source of certificates, for operators.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::Source;
use crate::audit::{Audit, Event};

/// Failures, and what is awaited, told in the audit log too. A failure that repeats itself is told once.
pub(super) struct Journal {
    source: Source,
    audit: Audit,
    entries: Mutex<Entries>,
}

/// What there is to tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    pub(super) failures: u64,
    pub(super) last_error: Option<(Timestamp, String)>,
    pub(super) waiting_for: Option<String>,
}

impl Journal {
    pub(super) fn new(source: Source, audit: Audit) -> Self {
        Self { source, audit, entries: Mutex::default() }
    }

    pub(super) fn read(&self) -> Entries {
        self.entries().clone()
    }

    /// It worked: nothing is awaited, and nothing is wrong.
    pub(super) fn succeeded(&self) {
        let mut entries = self.entries();
        (entries.last_error, entries.waiting_for) = (None, None);
        self.tell("obtained", None);
    }

    /// Tells the audit log of what was done.
    pub(super) fn tell(&self, outcome: &str, detail: Option<&str>) {
        self.audit.record(&Event::Certificate { source: self.source.name(), outcome, detail });
    }

    /// Nothing is due: nothing is awaited, and what failed before does not matter any more.
    pub(super) fn is_quiet(&self) {
        let mut entries = self.entries();
        (entries.last_error, entries.waiting_for) = (None, None);
    }

    /// Notes a failure; `true` where it is another one than before.
    pub(super) fn failed(&self, now: Timestamp, cause: &str) -> bool {
        let mut entries = self.entries();
        entries.failures += 1;
        let is_new = entries.last_error.as_ref().is_none_or(|(_, before)| before != cause);
        entries.last_error = Some((now, cause.to_owned()));
        if is_new {
            self.tell("failed", Some(cause));
        }
        is_new
    }

    /// Notes what is awaited; `true` where it is something else than before.
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
