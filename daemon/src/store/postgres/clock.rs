//! The clock of the database. Members whose clocks differ agree on times by it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use infra_shared::clock::{Clock, SystemClock};
use jiff::{SignedDuration, Timestamp};

use crate::store::{StoreError, time};

/// For a statement: the time of the database now, in milliseconds.
pub(super) const NOW: &str = "(extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::bigint";
/// A larger difference is worth a line in the log.
const NOTABLE: SignedDuration = SignedDuration::from_secs(30);
/// A time later than this after both clocks was not recorded by them: someone wrote it, or a clock was wrong. Unit tests have
/// times in the future.
const MOST_AHEAD: SignedDuration =
    if cfg!(test) { SignedDuration::from_hours(10 * 366 * 24) } else { SignedDuration::from_mins(5) };
/// How far the database may be behind the host. A clock further back would make sessions valid that have expired.
const MOST_BEHIND: SignedDuration = SignedDuration::from_hours(1);

/// How far the database's clock is ahead of the host's, as of the last answer. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Offset(Arc<AtomicI64>);

/// When a statement was sent, by the clock of the host.
pub(super) struct Asked(Timestamp);

struct DatabaseClock {
    host: Arc<dyn Clock>,
    offset: Offset,
}

impl Offset {
    /// The clock of the database, read from that of the host.
    pub(super) fn clock(&self, host: Arc<dyn Clock>) -> Arc<dyn Clock> {
        Arc::new(DatabaseClock { host, offset: self.clone() })
    }

    /// Call it before a statement that reads [`NOW`].
    pub(super) fn ask() -> Asked {
        Asked(SystemClock.now())
    }

    /// Applies the answer.
    pub(super) fn answered(&self, asked: &Asked, database: i64) -> Result<(), StoreError> {
        self.apply([asked.0, SystemClock.now()], time::from_database(database)?);
        Ok(())
    }

    /// `database` was read between the times `host`. Keeps an offset that explains it, because the time in between is not known
    /// exactly: the clock would jump with each answer.
    fn apply(&self, host: [Timestamp; 2], database: Timestamp) {
        let [least, most] = [host[1], host[0]].map(|host| database.duration_since(host));
        let before = self.get();
        if (least..=most).contains(&before) {
            return;
        }
        let now = ((least + most) / 2).max(-MOST_BEHIND);
        self.0.store(i64::try_from(now.as_millis()).unwrap_or_default(), Ordering::Release);
        if now.abs() >= NOTABLE && before.abs() < NOTABLE {
            tracing::warn!(
                difference_in_seconds = -now.as_secs(),
                "the clock of this host is wrong, or that of the database: using that of the database"
            );
        }
    }

    /// The latest time, in milliseconds, that a member can have recorded. The later of both clocks counts, so that a clock that
    /// was set back makes no recorded time look wrong.
    pub(super) fn latest_possible(&self) -> i64 {
        let ahead = self.get().max(SignedDuration::ZERO).saturating_add(MOST_AHEAD);
        time::to_database(SystemClock.now().saturating_add(ahead).unwrap_or(Timestamp::MAX))
    }

    fn get(&self) -> SignedDuration {
        SignedDuration::from_millis(self.0.load(Ordering::Acquire))
    }
}

impl Clock for DatabaseClock {
    fn now(&self) -> Timestamp {
        let host = self.host.now();
        host.checked_add(self.offset.get()).unwrap_or(host)
    }
}

#[cfg(test)]
mod tests {
    use infra_harness::clock::ManualClock;

    use super::*;

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).expect("a time")
    }

    #[test]
    fn clock_shows_the_time_of_the_database() {
        let (host, offset) = (ManualClock::at(at(1_000_000)), Offset::default());
        let clock = offset.clock(Arc::new(host.clone()));
        assert_eq!(clock.now(), at(1_000_000), "nothing was asked");
        for (answer, expected) in [(1_300_000, 1_299_950), (700_000, 699_950)] {
            offset.apply([at(1_000_000), at(1_000_100)], at(answer));
            assert_eq!(clock.now(), at(expected));
        }
        host.advance(SignedDuration::from_secs(60));
        assert_eq!(clock.now(), at(759_950), "it continues without answers");
    }

    #[test]
    fn clock_does_not_jump_within_the_time_of_an_answer() {
        let (host, offset) = (ManualClock::at(at(1_000_000)), Offset::default());
        let clock = offset.clock(Arc::new(host));
        for answer in [1_000_000, 1_000_100, 1_000_040] {
            offset.apply([at(1_000_000), at(1_000_100)], at(answer));
            assert_eq!(clock.now(), at(1_000_000), "{answer}");
        }
        offset.apply([at(1_000_000), at(1_000_010)], at(1_000_040));
        assert_eq!(clock.now(), at(1_000_035));
    }
}
