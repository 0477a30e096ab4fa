//! Caches what a provider publishes. The owner locks the cache during a fetch, so that concurrent callers share one
//! fetch and its result, success or failure, and a stalled provider does not build a queue.

use std::sync::Arc;
use std::time::Duration;

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

/// The time from which a failed fetch counts for a caller of now, if it counts for this long.
pub(super) fn asked_before(pause: Duration) -> Instant {
    let now = Instant::now();
    now.checked_sub(pause).unwrap_or(now)
}

/// Whether `now` is less than `age` after `then`. After the clock stepped back, everything counts as old.
pub(super) fn is_within(then: Timestamp, now: Timestamp, age: SignedDuration) -> bool {
    (SignedDuration::ZERO..age).contains(&now.duration_since(then))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::unusable::Unusable;

    const DAY: i64 = 24 * 60 * 60;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn failed_fetch_is_shared_only_with_callers_that_waited() {
        let (asked_at, later) = (Instant::now(), Instant::now() + Duration::from_mins(1));
        let mut cache = FetchCache::<u8>::default();
        assert!(cache.find(asked_at, at(0)).is_none());
        let error = IdentityError::Unusable(Unusable::new("a reason", "a hint"));
        assert!(cache.store(Err(error), at(0)).is_err());
        // An unusable provider stays unusable for the others.
        assert!(matches!(cache.find(asked_at, at(0)), Some(Err(IdentityError::Unusable(_)))));
        assert!(cache.find(later, at(0)).is_none());
    }

    #[test]
    fn value_is_used_while_fresh_and_stale_for_a_day() {
        let asked_at = Instant::now();
        let mut cache = FetchCache::default();
        cache.store(Ok((7, SignedDuration::from_secs(60))), at(0)).expect("a value");
        assert!(cache.find(asked_at, at(59)).is_some_and(|found| *found.expect("a value") == 7));
        assert!(cache.find(asked_at, at(60)).is_none() && cache.find(asked_at, at(-1)).is_none());
        let error = IdentityError::Unavailable("a reason".to_owned());
        assert!(cache.store(Err(error), at(60)).is_err());
        assert!(cache.find(asked_at, at(60)).is_some_and(|found| *found.expect("the last value") == 7));
        assert!(cache.stale(at(DAY - 1)).is_some() && cache.stale(at(DAY)).is_none());
    }
}
