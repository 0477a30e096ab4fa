//! Tests of what counts, on a clock that the test sets.

use std::sync::Arc;

use infra_shared::token_text::SessionToken;

use super::*;

impl Freshness {
    fn is_current(&self) -> bool {
        self.earliest_reading().is_some()
    }
}

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
