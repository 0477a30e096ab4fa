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

    /// Whether cached knowledge counts now.
    pub(super) fn is_current(&self) -> bool {
        self.0.as_ref().is_none_or(|polls| polls.age().is_some_and(|age| age < MAX_AGE))
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
    fn age(&self) -> Option<Duration> {
        let begun = self.begun.load(Ordering::SeqCst);
        (self.elapsed)().checked_sub(Duration::from_nanos(begun)).filter(|_| begun != 0)
    }

    fn are_in_grace(&self) -> bool {
        let is_within = |age| (MAX_AGE..MAX_AGE + self.grace()).contains(&age);
        self.is_away.load(Ordering::SeqCst) && self.age().is_some_and(is_within)
    }

    fn grace(&self) -> Duration {
        self.grace.get().copied().unwrap_or_default()
    }
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
mod tests {
    use std::sync::Arc;

    use infra_shared::token_text::SessionToken;

    use super::*;

    fn change(number: i64, mark: &str) -> Change {
        Change { number, mark: Some(mark.to_owned()) }
    }

    /// The answer of a database whose changes are numbered up to `newest`, all under the mark `m`.
    fn poll(after: i64, newest: i64, sessions: Vec<SessionID>) -> Poll {
        Poll {
            after,
            mark_of_known: Some("m".to_owned()),
            newest: change(newest, "m"),
            later: newest - after,
            is_all: false,
            sessions,
        }
    }

    /// Knowledge on a clock that the test sets, in milliseconds.
    fn polled() -> (Freshness, Arc<AtomicU64>) {
        let clock = Arc::new(AtomicU64::new(10_000));
        let read = clock.clone();
        let elapsed = move || Duration::from_millis(read.load(Ordering::SeqCst));
        (Freshness::polled(Box::new(elapsed)), clock)
    }

    #[test]
    fn knowledge_of_exclusive_engine_is_always_current() {
        assert!(Freshness::exclusive().is_current());
    }

    #[test]
    fn knowledge_counts_for_a_second_after_poll_began() {
        let (freshness, clock) = polled();
        assert!(!freshness.is_current(), "nothing was polled");
        // The answer took 400 ms.
        clock.store(10_400, Ordering::SeqCst);
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ());
        assert!(freshness.is_current());
        assert_eq!(freshness.known_change(), Some(7));
        for (now, is_current) in [(10_999, true), (11_000, false), (600_000, false), (9_999, false)] {
            clock.store(now, Ordering::SeqCst);
            assert_eq!(freshness.is_current(), is_current, "{now}");
        }
    }

    #[test]
    fn knowledge_counts_in_grace_only_while_database_is_away() {
        let (freshness, clock) = polled();
        freshness.set_grace(Duration::from_secs(5));
        freshness.miss(true);
        assert!(!freshness.is_in_grace(), "nothing was polled");
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ());
        let in_grace = |now| {
            clock.store(now, Ordering::SeqCst);
            assert!(!(freshness.is_in_grace() && freshness.is_current()));
            freshness.is_in_grace()
        };
        assert!(!in_grace(12_000), "no poll has failed");
        freshness.miss(false);
        assert!(!in_grace(12_000), "the database can be reached");
        freshness.miss(true);
        for (now, is_in_grace) in [(10_999, false), (11_000, true), (15_999, true), (16_000, false)] {
            assert_eq!(in_grace(now), is_in_grace, "{now}");
        }
        assert_eq!(freshness.begin_grace(), Some(Duration::from_secs(5)));
        assert_eq!(freshness.begin_grace(), None, "it was reported");
        freshness.apply(Duration::from_secs(20), poll(7, 7, Vec::new()), |_| ());
        assert!(!in_grace(22_000), "the database is back");
        assert!(freshness.begin_grace().is_some(), "another outage");
    }

    #[test]
    fn knowledge_has_no_grace_by_default() {
        let (freshness, clock) = polled();
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ());
        freshness.miss(true);
        for now in [10_999, 11_000, 11_001] {
            clock.store(now, Ordering::SeqCst);
            assert!(!freshness.is_in_grace(), "{now}");
        }
        assert!(!Freshness::exclusive().is_in_grace());
    }

    #[test]
    fn lost_change_is_told_from_purged_one() {
        let known = change(7, "m");
        for (newest, mark, loss) in [
            (7, Some("m"), Loss::None),
            (9, Some("m"), Loss::None),
            (6, None, Loss::Certain),
            (7, Some("other"), Loss::Certain),
            (9, Some("other"), Loss::Certain),
            (9, None, Loss::Possible),
        ] {
            assert_eq!(known.loss(newest, mark), loss, "{newest} {mark:?}");
        }
        assert_eq!(Change { number: 0, mark: None }.loss(0, None), Loss::None);
        let (freshness, _clock) = polled();
        assert_eq!(freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ()), Loss::None);
        let fell = Poll { mark_of_known: None, ..poll(7, 6, Vec::new()) };
        assert_eq!(freshness.apply(Duration::from_secs(11), fell, |_| ()), Loss::Certain);
        assert_eq!(freshness.apply(Duration::from_secs(12), poll(6, 6, Vec::new()), |_| ()), Loss::None);
    }

    #[test]
    fn late_answer_does_not_shorten_knowledge() {
        let (freshness, clock) = polled();
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ());
        freshness.apply(Duration::from_secs(9), poll(7, 7, Vec::new()), |_| ());
        clock.store(10_500, Ordering::SeqCst);
        assert!(freshness.is_current());
    }

    #[test]
    fn answer_that_took_a_second_makes_nothing_current() {
        let (freshness, clock) = polled();
        clock.store(11_000, Ordering::SeqCst);
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |_| ());
        assert!(!freshness.is_current());
    }

    #[test]
    fn knowledge_counts_only_once_stale_sessions_are_removed() {
        let (freshness, _clock) = polled();
        freshness.apply(Duration::from_secs(10), poll(0, 7, Vec::new()), |stale| {
            assert_eq!(stale, Stale::Everything, "nothing was known before");
            assert!(!freshness.is_current());
        });
        assert!(freshness.is_current());
    }

    #[test]
    fn later_changes_make_their_sessions_stale() {
        let id = SessionToken::mint().id().clone();
        let known = change(7, "m");
        assert_eq!(find_stale(Some(&known), &poll(7, 7, Vec::new())), Stale::Sessions(Vec::new()));
        assert_eq!(find_stale(Some(&known), &poll(7, 9, vec![id.clone()])), Stale::Sessions(vec![id]));
    }

    #[test]
    fn missing_changes_make_everything_stale() {
        let known = change(7, "m");
        let complete = poll(7, 9, Vec::new());
        let faults = [
            ("a value that fell", Poll { newest: change(6, "m"), later: 0, ..complete.clone() }),
            (
                "a value that fell by a restore",
                Poll { newest: change(6, "m"), later: -1, mark_of_known: None, ..complete.clone() },
            ),
            ("a gap", Poll { later: 1, ..complete.clone() }),
            ("all later changes purged", Poll { later: 0, ..complete.clone() }),
            ("a repeated number", Poll { mark_of_known: Some("other".to_owned()), ..complete.clone() }),
            ("the known change purged", Poll { mark_of_known: None, ..complete.clone() }),
            ("a poll after another change", Poll { after: 6, ..complete.clone() }),
            ("a change of all sessions", Poll { is_all: true, ..complete.clone() }),
        ];
        for (what, poll) in faults {
            assert_eq!(find_stale(Some(&known), &poll), Stale::Everything, "{what}");
        }
        assert_eq!(find_stale(None, &complete), Stale::Everything);
    }

    #[test]
    fn first_change_is_found_by_member_that_knew_none() {
        let (freshness, _clock) = polled();
        let none = Change { number: 0, mark: None };
        let empty = Poll { mark_of_known: None, newest: none, ..poll(0, 0, Vec::new()) };
        freshness.apply(Duration::from_secs(10), empty, |_| ());
        let id = SessionToken::mint().id().clone();
        let first = Poll { mark_of_known: None, ..poll(0, 1, vec![id.clone()]) };
        freshness.apply(Duration::from_secs(10), first, |stale| {
            assert_eq!(stale, Stale::Sessions(vec![id]));
        });
    }
}
