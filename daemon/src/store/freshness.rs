//! Decides whether cached knowledge counts.
//!
//! The engine that holds the lock of its file makes every change itself, so what it knows is always current. A member
//! on a shared database learns from polls what others changed. Its knowledge counts until one second after the start
//! of its last successful poll, so a member that is cut off stops trusting its memory without being told. While the
//! database is away, the operator may let it count for longer, for some answers: the grace.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use infra_shared::token_text::SessionID;

/// How long knowledge counts, from the start of the poll that confirmed it.
pub(super) const MAX_AGE: Duration = Duration::from_secs(1);

/// How long a session counts after it was read from a shared database. A change may be hidden from polls by someone who can
/// write to its tables.
const MAX_READING_AGE: Duration = Duration::from_mins(5);

/// The time since a fixed moment, by a clock that also runs while the host is suspended. Never zero.
pub(super) type Elapsed = Box<dyn Fn() -> Duration + Send + Sync>;

/// What decides whether the token cache may answer.
pub(super) struct Freshness(Option<Polls>);

struct Polls {
    elapsed: Elapsed,
    /// How much longer knowledge counts in grace. Zero until it is set.
    grace: OnceLock<Duration>,
    /// When the last successful poll began, in nanoseconds; 0 before the first one.
    begun: AtomicU64,
    /// Whether the last poll failed because the database was away.
    is_away: AtomicBool,
    /// Whether an answer in grace was reported since the last successful poll.
    is_grace_reported: AtomicBool,
    /// The newest change that was applied. Locked while a poll is applied.
    known: Mutex<Option<Change>>,
}

/// A numbered change. Numbers have no gaps, and follow the order of commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) number: i64,
    /// A random text stored with the number. If a failover lost commits, later changes repeat their numbers, but not
    /// their marks. `None` before the first change.
    pub(super) mark: Option<String>,
}

/// The answer to a poll, from one snapshot of the database.
#[derive(Debug, Clone)]
pub(super) struct Poll {
    /// The number of the known change, after which it looked.
    pub(super) after: i64,
    /// The mark that this change has now. `None` if it is missing.
    pub(super) mark_of_known: Option<String>,
    pub(super) newest: Change,
    /// How many later changes are stored.
    pub(super) later: i64,
    /// Whether one of them changed all sessions.
    pub(super) is_all: bool,
    /// The sessions of the others.
    pub(super) sessions: Vec<SessionID>,
}

/// What must leave the cache after a poll.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stale {
    Sessions(Vec<SessionID>),
    /// The poll cannot tell, because changes are missing, or all sessions changed.
    Everything,
}

/// Whether a change that was known is missing in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Loss {
    None,
    /// It may have been purged instead, because no poll succeeded for ten minutes.
    Possible,
    /// After a failover that lost commits, or a restore.
    Certain,
}

impl Change {
    /// Compares the change with the database, where `newest` is the last number, and `mark` is the mark of this number.
    pub(super) fn loss(&self, newest: i64, mark: Option<&str>) -> Loss {
        match (self.mark.as_deref(), mark) {
            _ if newest < self.number => Loss::Certain,
            (known, found) if known == found => Loss::None,
            (_, None) => Loss::Possible,
            _ => Loss::Certain,
        }
    }
}

impl Freshness {
    /// For an engine that makes every change itself.
    pub(super) fn exclusive() -> Self {
        Self(None)
    }

    /// For an engine that learns of changes from polls. Nothing counts before the first one.
    pub(super) fn polled(elapsed: Elapsed) -> Self {
        Self(Some(Polls {
            elapsed,
            grace: OnceLock::new(),
            begun: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
            is_grace_reported: AtomicBool::new(false),
            known: Mutex::default(),
        }))
    }

    /// Sets the grace, once.
    pub(super) fn set_grace(&self, grace: Duration) {
        if let Some(polls) = &self.0 {
            let _ = polls.grace.set(grace);
        }
    }

    /// Since when a session must have been read to count now, as [`Self::reading_now`] gives it. `None` if no cached knowledge
    /// counts.
    pub(super) fn earliest_reading(&self) -> Option<u32> {
        let Some(polls) = &self.0 else { return Some(0) };
        let now = (polls.elapsed)();
        polls.age_at(now).filter(|age| *age < MAX_AGE)?;
        Some(seconds(now.saturating_sub(MAX_READING_AGE)))
    }

    /// When a session is read now. Always 0 for an engine that makes every change itself.
    pub(super) fn reading_now(&self) -> u32 {
        seconds(self.elapsed())
    }

    /// Whether cached knowledge counts in grace: it is no longer current because the database is away, and the grace is
    /// not over.
    pub(super) fn is_in_grace(&self) -> bool {
        self.0.as_ref().is_some_and(Polls::are_in_grace)
    }

    /// Returns the grace if this is its first use since the last successful poll.
    pub(super) fn begin_grace(&self) -> Option<Duration> {
        let polls = self.0.as_ref().filter(|polls| !polls.is_grace_reported.swap(true, Ordering::Relaxed))?;
        Some(polls.grace())
    }

    /// Records that a poll failed. Without `is_away`, the database can be reached, and it decides.
    pub(super) fn miss(&self, is_away: bool) {
        if let Some(polls) = &self.0 {
            polls.is_away.store(is_away, Ordering::SeqCst);
        }
    }

    /// The number of the newest change that is known, for the next poll. `None` before the first one.
    pub(super) fn known_change(&self) -> Option<i64> {
        let known = self.0.as_ref()?.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|change| change.number)
    }

    /// The time of the clock by which knowledge ages. Read it before a poll begins.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |polls| (polls.elapsed)())
    }

    /// Applies the answer to a poll that began at `begun`: calls `remove` with what is stale, and only then lets
    /// knowledge count for longer. Returns whether the known change is missing.
    pub(super) fn apply(&self, begun: Duration, poll: Poll, remove: impl FnOnce(Stale)) -> Loss {
        let Some(polls) = &self.0 else { return Loss::None };
        let mut known = polls.known.lock().unwrap_or_else(PoisonError::into_inner);
        remove(find_stale(known.as_ref(), &poll));
        let compared = known.take().filter(|known| known.number == poll.after);
        let loss = compared
            .map_or(Loss::None, |known| known.loss(poll.newest.number, poll.mark_of_known.as_deref()));
        *known = Some(poll.newest);
        let begun = u64::try_from(begun.as_nanos()).unwrap_or_default();
        polls.begun.fetch_max(begun, Ordering::SeqCst);
        polls.is_away.store(false, Ordering::SeqCst);
        polls.is_grace_reported.store(false, Ordering::Relaxed);
        loss
    }
}

impl Polls {
    /// The age of knowledge. `None` if there is none.
    fn age_at(&self, now: Duration) -> Option<Duration> {
        let begun = self.begun.load(Ordering::SeqCst);
        now.checked_sub(Duration::from_nanos(begun)).filter(|_| begun != 0)
    }

    fn are_in_grace(&self) -> bool {
        let is_within = |age| (MAX_AGE..MAX_AGE + self.grace()).contains(&age);
        self.is_away.load(Ordering::SeqCst) && self.age_at((self.elapsed)()).is_some_and(is_within)
    }

    fn grace(&self) -> Duration {
        self.grace.get().copied().unwrap_or_default()
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// A value that fell, a gap and another mark all mean that changes are missing: after a restore, after a failover that
/// lost commits, or because the last poll is so long ago that changes were purged.
fn find_stale(known: Option<&Change>, poll: &Poll) -> Stale {
    let is_complete = known.is_some_and(|known| {
        known.number == poll.after
            && known.mark == poll.mark_of_known
            && poll.newest.number.checked_sub(known.number) == Some(poll.later)
    });
    if is_complete && !poll.is_all { Stale::Sessions(poll.sessions.clone()) } else { Stale::Everything }
}

#[cfg(test)]
mod tests;
