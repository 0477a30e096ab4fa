//! Tracks the writer's health. On a full disk, reads still work, while sign-in and sign-out fail.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;

/// Counts transactions and remembers the last failure.
#[derive(Default)]
pub(super) struct Writes {
    done: AtomicU64,
    failed: AtomicU64,
    microseconds: AtomicU64,
    /// Why the last write failed; `None` once a probe has succeeded.
    failing: Mutex<Option<String>>,
}

/// Transactions since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteCounts {
    pub done: u64,
    pub failed: u64,
    /// Total time spent in transactions, in seconds. Waiting for the writer is not included.
    pub seconds: f64,
}

impl Writes {
    /// Runs and counts `write`.
    pub(super) fn observe<T>(&self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let written = write();
        self.record(begun, &written);
        written
    }

    /// Counts a write. Database errors count as failures; an unexpected row does not. A database that is away fails the
    /// next read too, so only errors of the database itself and missing answers are remembered: a database that waits for
    /// a lost standby still answers reads.
    pub(super) fn record<T>(&self, begun: Instant, written: &Result<T, StoreError>) {
        let microseconds = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
        let failure = failure(written);
        let is_away = written.as_ref().is_err_and(StoreError::is_transient);
        let count = if failure.is_some() || is_away { &self.failed } else { &self.done };
        count.fetch_add(1, Ordering::Relaxed);
        if failure.is_some() {
            *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
    }

    /// Remembers that a write failed, without counting it.
    pub(super) fn remember<T>(&self, written: &Result<T, StoreError>) {
        if let Some(failure) = failure(written) {
            *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
        }
    }

    /// Clears the failure after a successful probe.
    pub(super) fn succeeded(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails if the last write failed and no probe has succeeded since.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.failing.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(cause) => Err(StoreError::NotWritten(cause.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn counts(&self) -> WriteCounts {
        WriteCounts {
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            seconds: Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

/// What a write tells of the writes after it.
fn failure<T>(written: &Result<T, StoreError>) -> Option<String> {
    match written {
        Err(StoreError::Database(error)) => Some(error.to_string()),
        Err(error @ (StoreError::NoAnswer { .. } | StoreError::Forbidden(_))) => Some(error.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{AccessProblem, DatabaseError};

    #[test]
    fn write_failure_lasts_until_probe_succeeds() {
        let writes = Writes::default();
        writes.observe(|| Ok(())).expect("written");
        let failure = DatabaseError::new("database or disk is full", true);
        writes.observe(|| Err::<(), _>(failure.into())).expect_err("not written");
        assert!(matches!(writes.check(), Err(StoreError::NotWritten(cause)) if cause.contains("full")));
        writes.observe(|| Err::<(), _>(StoreError::UnexpectedRow("a row"))).expect_err("not as expected");
        writes.observe(|| Ok(())).expect("a transaction that wrote nothing");
        writes.check().expect_err("it is not known to be over");
        let away = StoreError::Unavailable {
            cause: "connection refused".to_owned(),
            problem: AccessProblem::Unreachable,
        };
        writes.observe(|| Err::<(), _>(away)).expect_err("not reached");
        writes.succeeded();
        writes.check().expect("the probe was written");
        assert_eq!((writes.counts().done, writes.counts().failed), (3, 2));

        // A database that waits for a standby it lost answers reads.
        writes.remember(&Err::<(), _>(StoreError::NoAnswer { seconds: 15 }));
        assert!(matches!(writes.check(), Err(StoreError::NotWritten(cause)) if cause.contains("in 15 s")));
    }
}
