//! Revokes again what a failover or a restore brought back.
//!
//! A failover to a standby that lacks the last commits, or a restore, makes revoked sessions valid again. Each member
//! remembers what it revoked in the last ten minutes, and revokes that again once it finds a change missing. If the missing
//! changes may be older than its memory, it revokes all sessions.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::Postgres;
use super::changes::ORIGIN;
use super::revocation::RevokedPage;
use super::statements::parameters;
use crate::platform::since_boot;
use crate::store::freshness::{Change, Loss};
use crate::store::token_cache::TokenCache;
use crate::store::{EndReason, LossCause, RevokedAgain, RevokedSession, SessionSelector, StoreError};

/// How long revocations are remembered. A standby that is further behind counts as an old copy.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Sessions remembered one by one, a few megabytes. Beyond that, all sessions are revoked again.
const MOST: usize = 50_000;
/// The pause between two samples of the newest change.
const SAMPLED_EVERY: Duration = Duration::from_mins(1);

/// What this member revoked. Times are since the host started.
#[derive(Default)]
pub(super) struct RecentRevocations(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    sessions: HashMap<SessionID, Remembered>,
    /// All sessions were revoked, or more than fit.
    all: Option<Remembered>,
    /// The newest change of a revocation, until a poll finds it.
    unconfirmed: Option<Change>,
    /// The newest number at some polls of the last ten minutes, oldest first.
    samples: VecDeque<(Duration, i64)>,
    /// The newest number that was known ten minutes ago. `None` while the member runs for a shorter time.
    settled: Option<i64>,
    /// What has to be revoked again, until that succeeds.
    due: Option<Due>,
}

#[derive(Clone, Copy)]
struct Remembered {
    reason: EndReason,
    at: Duration,
}

/// What a poll found, apart from changes.
pub(super) struct Found<'a> {
    pub(super) newest: i64,
    /// Whether a dump was restored into the database.
    pub(super) is_restored: bool,
    /// The revocation that was unconfirmed before the poll, and the mark of its number.
    pub(super) unconfirmed: Option<&'a Change>,
    pub(super) mark_of_unconfirmed: Option<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Single sessions that are remembered, although nothing may be missing.
    IfMissing,
    /// All that is remembered.
    Remembered,
    /// All sessions: an old copy was restored. The counter rises above this number.
    All { above: i64 },
}

/// Revocations to repeat.
#[derive(Debug, PartialEq, Eq)]
struct Repetition {
    selector: SessionSelector,
    reason: EndReason,
}

impl RecentRevocations {
    /// Remembers a committed page of a revocation.
    pub(super) fn add(&self, page: &RevokedPage, reason: EndReason) {
        let Some(change) = &page.change else { return };
        let ids = page.revoked.iter().map(|session| &session.id);
        self.lock().add(since_boot(), page.is_of_all, reason, ids, change);
    }

    /// The newest change of a revocation, if no poll has found it. Read it before a poll begins.
    pub(super) fn unconfirmed(&self) -> Option<Change> {
        self.lock().unconfirmed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn add<'a>(
        &mut self,
        now: Duration,
        is_of_all: bool,
        reason: EndReason,
        ids: impl Iterator<Item = &'a SessionID>,
        change: &Change,
    ) {
        // Pages of other callers may have been faster.
        if self.unconfirmed.as_ref().is_none_or(|newest| newest.number < change.number) {
            self.unconfirmed = Some(change.clone());
        }
        let remembered = Remembered { reason, at: now };
        if is_of_all {
            self.all = Some(remembered);
            return;
        }
        for id in ids {
            self.sessions.insert(id.clone(), remembered);
        }
        if self.sessions.len() > MOST {
            self.sessions = HashMap::new();
            self.all = Some(remembered);
        }
    }

    /// Learns from a poll at `now`, whose known change is missing or not. Returns what has to be revoked again.
    fn learn(&mut self, now: Duration, known: i64, loss: Loss, found: &Found<'_>) -> Option<Due> {
        let loss_of_own =
            found.unconfirmed.map_or(Loss::None, |own| own.loss(found.newest, found.mark_of_unconfirmed));
        if self.unconfirmed.as_ref() == found.unconfirmed {
            self.unconfirmed = None;
        }
        let loss = loss.max(loss_of_own);
        let is_old_copy = self.settled.is_some_and(|settled| found.newest < settled);
        let due = match loss {
            _ if found.is_restored || is_old_copy => Some(Due::All { above: known }),
            Loss::Certain => Some(Due::Remembered),
            Loss::Possible => Some(Due::IfMissing),
            Loss::None => None,
        };
        if due.is_some() {
            // Numbers from before mean nothing now.
            (self.samples, self.settled) = (VecDeque::new(), None);
        } else if self.due.is_none() {
            // Only now: a member that was cut off still remembers what it revoked before.
            self.sample(now, found.newest);
        }
        self.due = self.due.max(due);
        self.due
    }

    /// Remembers that `newest` was known at `now`, and forgets what is older than ten minutes.
    fn sample(&mut self, now: Duration, newest: i64) {
        if self.samples.back().is_some_and(|(at, _)| now.saturating_sub(*at) < SAMPLED_EVERY) {
            return;
        }
        self.samples.push_back((now, newest));
        let is_old = |at: Duration| now.saturating_sub(at) >= REMEMBERED;
        while let Some((_, number)) = self.samples.front().copied().filter(|(at, _)| is_old(*at)) {
            self.settled = Some(number);
            self.samples.pop_front();
        }
        self.sessions.retain(|_, remembered| !is_old(remembered.at));
        self.all = self.all.filter(|remembered| !is_old(remembered.at));
    }

    fn repetitions(&self, due: Due) -> Vec<Repetition> {
        let mut by_reason: HashMap<&str, (EndReason, Vec<SessionID>)> = HashMap::new();
        for (id, Remembered { reason, .. }) in &self.sessions {
            by_reason.entry(reason.as_str()).or_insert((*reason, Vec::new())).1.push(id.clone());
        }
        let one_by_one = by_reason
            .into_values()
            .map(|(reason, ids)| Repetition { selector: SessionSelector::Ids(ids), reason });
        // Only if something is missing: it also revokes sessions that were opened later.
        let all = self.all.filter(|_| due != Due::IfMissing);
        let all = all.map(|all| Repetition { selector: SessionSelector::ALL, reason: all.reason });
        // The reasons of single sessions first: later they have ended.
        one_by_one.chain(all).collect()
    }
}

impl Postgres {
    /// Learns from a poll, and revokes again what it found missing, until that succeeds. Returns what was revoked.
    pub(super) async fn repair(
        &self,
        cache: &TokenCache,
        known: i64,
        loss: Loss,
        found: &Found<'_>,
        now: Timestamp,
    ) -> Result<Option<RevokedAgain>, StoreError> {
        let Some(due) = self.recent.lock().learn(since_boot(), known, loss, found) else { return Ok(None) };
        let (cause, revoked) = match due {
            Due::All { above } => (LossCause::Restore, self.revoke_all_restored(above, now).await?),
            due => (LossCause::Failover, self.repeat_revocations(due, now).await?),
        };
        self.recent.lock().due = None;
        let ids: Vec<SessionID> = revoked.iter().map(|session| session.id.clone()).collect();
        cache.remove_sessions(&ids);
        let is_worth_a_report = due != Due::IfMissing || !revoked.is_empty();
        Ok(is_worth_a_report.then_some(RevokedAgain { cause, sessions: revoked.len() }))
    }

    /// Revokes all sessions if a dump was restored into the database since the members used it last. Returns their number.
    pub(in crate::store) async fn revoke_if_restored(
        &self,
        now: Timestamp,
    ) -> Result<Option<usize>, StoreError> {
        let select = format!("SELECT origin IS DISTINCT FROM {ORIGIN} FROM counter");
        let row = self.read_one(&select, &[]).await?.ok_or(StoreError::UnexpectedRow("no counter"))?;
        if !row.try_get::<_, bool>(0)? {
            return Ok(None);
        }
        Ok(Some(self.revoke_all_restored(0, now).await?.len()))
    }

    /// Raises the counter above every number that members have seen, so that they find no old copy later.
    async fn revoke_all_restored(
        &self,
        above: i64,
        now: Timestamp,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        let revoked = Box::pin(self.revoke(SessionSelector::ALL, now, EndReason::Restored)).await?;
        self.raise_guard_counter(above.max(0).unsigned_abs()).await?;
        self.write(&format!("UPDATE counter SET origin = {ORIGIN}"), parameters![]).await?;
        Ok(revoked)
    }

    async fn repeat_revocations(&self, due: Due, now: Timestamp) -> Result<Vec<RevokedSession>, StoreError> {
        let repetitions = self.recent.lock().repetitions(due);
        let mut revoked = Vec::new();
        for Repetition { selector, reason } in repetitions {
            revoked.extend(Box::pin(self.revoke(selector, now, reason)).await?);
        }
        Ok(revoked)
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::SessionToken;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn change(number: i64) -> Change {
        Change { number, mark: Some(format!("mark {number}")) }
    }

    fn found(newest: i64) -> Found<'static> {
        Found { newest, is_restored: false, unconfirmed: None, mark_of_unconfirmed: None }
    }

    fn ids(count: usize) -> Vec<SessionID> {
        (0..count).map(|_| SessionToken::mint().id().clone()).collect()
    }

    /// A member that revoked these sessions one by one at these minutes, and polled every minute up to `minutes`.
    fn recent(revoked: &[(u32, SessionID)], minutes: u32) -> Recent {
        let mut recent = Recent::default();
        for minute in 0..=minutes {
            let now = MINUTE * minute;
            for (_, id) in revoked.iter().filter(|(at, _)| *at == minute) {
                recent.add(now, false, EndReason::Logout, [id].into_iter(), &change(i64::from(minute)));
            }
            recent.unconfirmed = None;
            assert_eq!(recent.learn(now, i64::from(minute), Loss::None, &found(i64::from(minute))), None);
        }
        recent
    }

    #[test]
    fn revocations_of_last_ten_minutes_are_repeated() {
        let sessions = ids(3);
        let revoked: Vec<_> = [0, 5, 14].into_iter().zip(sessions.clone()).collect();
        let mut recent = recent(&revoked, 14);
        let due = recent.learn(MINUTE * 15, 14, Loss::Certain, &found(13));
        assert_eq!(due, Some(Due::Remembered));
        let mut repetitions = recent.repetitions(Due::Remembered);
        let Some(Repetition { selector: SessionSelector::Ids(repeated), reason: EndReason::Logout }) =
            repetitions.pop()
        else {
            unreachable!("they were revoked one by one")
        };
        let (mut expected, mut repeated) = (sessions[1..].to_vec(), repeated);
        expected.sort();
        repeated.sort();
        assert_eq!((repeated, repetitions.len()), (expected, 0));
    }

    #[test]
    fn old_copy_revokes_all_sessions() {
        let mut long = recent(&[], 14);
        assert_eq!(long.settled, Some(4));
        assert_eq!(long.learn(MINUTE * 15, 14, Loss::Certain, &found(3)), Some(Due::All { above: 14 }));
        let mut short = recent(&[], 9);
        assert_eq!(short.learn(MINUTE * 10, 9, Loss::Certain, &found(3)), Some(Due::Remembered));
        let mut restored = recent(&[], 1);
        let found = Found { is_restored: true, ..found(1) };
        assert_eq!(restored.learn(MINUTE * 2, 1, Loss::None, &found), Some(Due::All { above: 1 }));
    }

    #[test]
    fn failover_during_long_cut_is_no_old_copy() {
        let session = ids(1).remove(0);
        let mut recent = recent(&[(14, session)], 14);
        // An hour without a poll. The last change before it was lost.
        assert_eq!(recent.learn(MINUTE * 74, 14, Loss::Certain, &found(13)), Some(Due::Remembered));
        assert_eq!(recent.repetitions(Due::Remembered).len(), 1, "it is remembered until a poll");
    }

    #[test]
    fn revocation_that_no_poll_has_found_counts() {
        let sessions = ids(1);
        let mut recent = recent(&[], 3);
        recent.add(MINUTE * 4, false, EndReason::Logout, sessions.iter(), &change(4));
        let own = recent.unconfirmed.clone();
        let lost = Found { unconfirmed: own.as_ref(), ..found(3) };
        assert_eq!(recent.learn(MINUTE * 4, 3, Loss::None, &lost), Some(Due::Remembered));
        assert_eq!(recent.unconfirmed, None);
        recent.due = None;
        recent.add(MINUTE * 4, false, EndReason::Logout, sessions.iter(), &change(4));
        let there = Found { unconfirmed: own.as_ref(), mark_of_unconfirmed: Some("mark 4"), ..found(4) };
        assert_eq!(recent.learn(MINUTE * 4, 3, Loss::None, &there), None);
        assert_eq!(recent.unconfirmed, None);
    }

    #[test]
    fn revocation_after_poll_began_stays_unconfirmed() {
        let mut recent = recent(&[], 3);
        let before = recent.unconfirmed.clone();
        recent.add(MINUTE * 4, false, EndReason::Logout, ids(1).iter(), &change(4));
        let earlier = Found { unconfirmed: before.as_ref(), ..found(3) };
        assert_eq!(recent.learn(MINUTE * 4, 3, Loss::None, &earlier), None);
        assert_eq!(recent.unconfirmed, Some(change(4)));
    }

    #[test]
    fn repetition_is_due_until_it_succeeds() {
        let mut recent = recent(&[], 3);
        assert_eq!(recent.learn(MINUTE * 4, 3, Loss::Certain, &found(2)), Some(Due::Remembered));
        assert_eq!(recent.learn(MINUTE * 5, 2, Loss::None, &found(2)), Some(Due::Remembered));
        assert_eq!(recent.learn(MINUTE * 6, 2, Loss::Possible, &found(2)), Some(Due::Remembered));
    }

    #[test]
    fn memory_of_revocations_is_bounded() {
        let mut recent = Recent::default();
        let sessions = ids(MOST);
        recent.add(MINUTE, false, EndReason::Revoked, sessions.iter(), &change(1));
        assert!(recent.all.is_none() && recent.sessions.len() == MOST);
        recent.add(MINUTE * 2, false, EndReason::Operator, sessions.iter(), &change(2));
        assert!(recent.all.is_none(), "the same sessions");
        recent.add(MINUTE * 3, false, EndReason::Logout, ids(1).iter(), &change(3));
        assert_eq!((recent.sessions.capacity(), recent.all.is_some()), (0, true));
        let all = Repetition { selector: SessionSelector::ALL, reason: EndReason::Logout };
        assert_eq!(recent.repetitions(Due::Remembered), [all]);
        assert!(recent.repetitions(Due::IfMissing).is_empty(), "nothing may be missing");
        recent.sample(MINUTE * 13, 3);
        assert!(recent.repetitions(Due::Remembered).is_empty(), "ten minutes are over");
    }
}
