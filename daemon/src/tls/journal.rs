//! What happened to a source of certificates, for operators.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// Failures, and what is awaited. A failure that repeats itself is logged once.
#[derive(Debug, Default)]
pub(super) struct Journal(Mutex<Entries>);

/// What there is to tell.
#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    pub(super) failures: u64,
    pub(super) last_error: Option<(Timestamp, String)>,
    pub(super) waiting_for: Option<String>,
}

impl Journal {
    pub(super) fn read(&self) -> Entries {
        self.entries().clone()
    }

    /// It worked: nothing is awaited, and nothing is wrong.
    pub(super) fn succeeded(&self) {
        let mut entries = self.entries();
        (entries.last_error, entries.waiting_for) = (None, None);
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
