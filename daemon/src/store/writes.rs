//! How writing goes: a disk that is full lets everybody look, and nobody sign in or out.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;

/// Watches over the writer.
#[derive(Default)]
pub(super) struct Writes {
    done: AtomicU64,
    failed: AtomicU64,
    microseconds: AtomicU64,
    /// Why a transaction was not written; `None` once the probe was after that.
    failing: Mutex<Option<String>>,
}

/// Transactions since the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WriteCounts {
    pub done: u64,
    pub failed: u64,
    /// That all of them took together, from the moment when they had the writer.
    pub seconds: f64,
}

impl Writes {
    /// Counts what `write` does. An answer of the database's is a failure to write; a row that is not as expected is not.
    pub(super) fn over<T>(&self, write: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let written = write();
        let microseconds = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
        let failure = match &written {
            Err(StoreError::Database(error)) => Some(error.to_string()),
            _ => None,
        };
        let count = if failure.is_some() { &self.failed } else { &self.done };
        count.fetch_add(1, Ordering::Relaxed);
        if failure.is_some() {
            *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        }
        written
    }

    /// The probe was written: what failed before need not fail again.
    pub(super) fn succeeded(&self) {
        *self.failing.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Fails as a transaction did, until the probe is written.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_counts_until_the_probe_is_written() {
        let writes = Writes::default();
        writes.over(|| Ok(())).expect("written");
        let failure =
            rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None);
        writes.over(|| Err::<(), _>(failure.into())).expect_err("not written");
        assert!(matches!(writes.check(), Err(StoreError::NotWritten(cause)) if cause.contains("full")));
        writes.over(|| Err::<(), _>(StoreError::UnexpectedRow("a row"))).expect_err("not as expected");
        writes.over(|| Ok(())).expect("a transaction that wrote nothing");
        writes.check().expect_err("it is not known to be over");
        writes.succeeded();
        writes.check().expect("the probe was written");
        assert_eq!((writes.counts().done, writes.counts().failed), (3, 1));
    }
}
