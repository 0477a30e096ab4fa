//! Caches what a provider publishes. The owner locks the cache during a fetch, so that concurrent callers share one
//! fetch and its result, success or failure, and a stalled provider does not build a queue.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::IdentityError;

/// How long a value may be used while the provider does not answer.
const MAX_STALE: SignedDuration = SignedDuration::from_hours(24);

pub(super) struct FetchCache<T> {
    last: Option<Last<T>>,
    /// Cause and time of the last fetch, if it failed.
    failure: Option<(IdentityError, Instant)>,
}

/// The last fetched value.
pub(super) struct Last<T> {
    pub(super) value: Arc<T>,
    pub(super) received_at: Instant,
    fetched_at: Timestamp,
    fresh_for: SignedDuration,
}

impl<T> Default for FetchCache<T> {
    fn default() -> Self {
        Self { last: None, failure: None }
    }
}

impl<T> FetchCache<T> {
    /// Returns the value if it is fresh. After a fetch that failed since `asked_at`, while the caller waited for the
    /// lock, returns its result. Otherwise the caller must fetch.
    pub(super) fn find(&self, asked_at: Instant, now: Timestamp) -> Option<Result<Arc<T>, IdentityError>> {
        let is_fresh = |last: &&Last<T>| is_within(last.fetched_at, now, last.fresh_for);
        if let Some(last) = self.last.as_ref().filter(is_fresh) {
            return Some(Ok(last.value.clone()));
        }
        let (error, _) = self.failure.as_ref().filter(|(_, failed_at)| *failed_at >= asked_at)?;
        Some(self.stale(now).ok_or_else(|| error.clone()))
    }

    /// Stores the result of a fetch: a value and how long it is fresh, or why there is none.
    pub(super) fn store(
        &mut self,
        fetched: Result<(T, SignedDuration), IdentityError>,
        now: Timestamp,
    ) -> Result<Arc<T>, IdentityError> {
        let received_at = Instant::now();
        match fetched {
            Ok((value, fresh_for)) => {
                let value = Arc::new(value);
                self.last = Some(Last { value: value.clone(), received_at, fetched_at: now, fresh_for });
                self.failure = None;
                Ok(value)
            }
            Err(error) => {
                self.failure = Some((error.clone(), received_at));
                Err(error)
            }
        }
    }

    /// The value of the last day, for use while the provider does not answer.
    pub(super) fn stale(&self, now: Timestamp) -> Option<Arc<T>> {
        let is_usable = |last: &&Last<T>| is_within(last.fetched_at, now, MAX_STALE);
        self.last.as_ref().filter(is_usable).map(|last| last.value.clone())
    }

    /// The last value, of any age.
    pub(super) fn last(&self) -> Option<&Last<T>> {
        self.last.as_ref()
    }

    /// Why the last fetch failed; `None` if it succeeded.
    pub(super) fn failure(&self) -> Option<&IdentityError> {
        self.failure.as_ref().map(|(error, _)| error)
    }
}

/// Whether `now` is less than `age` after `then`. After the clock stepped back, everything counts as old.
pub(super) fn is_within(then: Timestamp, now: Timestamp, age: SignedDuration) -> bool {
    (SignedDuration::ZERO..age).contains(&now.duration_since(then))
}
