//! Corrects values that no seal covers, before they are copied.
//!
//! Someone who can write to the tables can put anything there. A copy with such a value would fail, or the store in it would not
//! start.

use jiff::Timestamp;

use super::{Batch, ConsumedTicketRecord, RefreshTokenRecord, RolloverRecord, SessionRecord, SettingsRecord};
use crate::store::EndReason;

/// Far more changes than a session has.
const MAX_REVISION: i32 = 1_000_000_000;
const MAX_FAILURES: i32 = 1_000_000;
/// Leaves room to count on.
const MAX_COUNT: i64 = 9_000_000_000_000_000_000;
/// A SHA-256 in hexadecimal has 64.
const LONGEST_ANNOUNCED: usize = 128;

/// The end of the range of times, in the form of the database.
fn latest() -> i64 {
    Timestamp::MAX.as_second() * 1000
}

/// Counts records with a corrected value.
struct Corrections {
    is_corrected: bool,
}

impl Batch {
    /// Brings every value into its range. Returns the number of records that had another one. `not_after` is the last time
    /// that the store can have seen.
    pub(super) fn correct(&mut self, not_after: i64) -> u64 {
        match self {
            Self::Sessions(sessions) => count(sessions, session),
            // Everything in them is sealed.
            Self::AudienceTokens(_) => 0,
            Self::ConsumedTickets(tickets) => count(tickets, ticket),
            Self::Settings(settings) => {
                count(std::slice::from_mut(&mut **settings), |it, settings| it.settings(settings, not_after))
            }
        }
    }
}

fn count<T>(records: &mut [T], correct: impl Fn(&mut Corrections, &mut T)) -> u64 {
    let mut corrected = 0;
    for record in records {
        let mut corrections = Corrections { is_corrected: false };
        correct(&mut corrections, record);
        corrected += u64::from(corrections.is_corrected);
    }
    corrected
}

fn session(corrections: &mut Corrections, session: &mut SessionRecord) {
    // The seal covers the begin and the end of its life.
    let (created_at, expires_at) = (session.created_at, session.expires_at);
    corrections.clamp(&mut session.last_used_at, created_at, expires_at.max(created_at));
    corrections.clamp(&mut session.revision, 0, MAX_REVISION);
    // With a part of an end, it has ended.
    let is_ended = session.ended_at.is_some() || session.end_reason.is_some();
    if is_ended {
        let reason = session.end_reason.as_deref().is_some_and(|reason| EndReason::parse(reason).is_ok());
        if !reason {
            corrections.set(&mut session.end_reason, Some(EndReason::Operator.as_str().to_owned()));
        }
        let ended_at = session.ended_at.unwrap_or(session.last_used_at);
        corrections.set(&mut session.ended_at, Some(ended_at.max(created_at).min(latest())));
    }
    if let Some(token) = &mut session.refresh_token {
        refresh_token(corrections, token);
    }
}

fn refresh_token(corrections: &mut Corrections, token: &mut RefreshTokenRecord) {
    corrections.clamp(&mut token.version, 0, MAX_COUNT);
    corrections.clamp(&mut token.failures, 0, MAX_FAILURES);
    for time in [&mut token.revoke_after, &mut token.leased_until] {
        corrections.time(time);
    }
    for time in [&mut token.due_at, &mut token.lost_since].into_iter().flatten() {
        corrections.time(time);
    }
}

fn ticket(corrections: &mut Corrections, ticket: &mut ConsumedTicketRecord) {
    corrections.time(&mut ticket.expires_at);
}

impl Corrections {
    fn settings(&mut self, settings: &mut SettingsRecord, not_after: i64) {
        for (_, begun_at) in &mut settings.orders {
            self.time(begun_at);
        }
        for (_, obtained_at) in &mut settings.successes {
            self.time(obtained_at);
        }
        self.time(&mut settings.pause_until);
        self.clamp(&mut settings.latest_time, 0, not_after.clamp(0, latest()));
        self.clamp(&mut settings.counter, 0, MAX_COUNT);
        self.rollover(&mut settings.rollover);
    }

    fn rollover(&mut self, rollover: &mut RolloverRecord) {
        self.clamp(&mut rollover.sequence, 0, MAX_COUNT);
        if let Some(takeover_at) = &mut rollover.takeover_at {
            self.time(takeover_at);
        }
        if rollover.announced.len() > LONGEST_ANNOUNCED {
            self.set(&mut rollover.announced, String::new());
        }
    }

    fn time(&mut self, value: &mut i64) {
        self.clamp(value, 0, latest());
    }

    fn clamp<T: Ord + Copy>(&mut self, value: &mut T, least: T, most: T) {
        self.set(value, (*value).clamp(least, most));
    }

    fn set<T: PartialEq>(&mut self, value: &mut T, corrected: T) {
        self.is_corrected |= *value != corrected;
        *value = corrected;
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::store::transfer::Secret;

    fn valid() -> SessionRecord {
        SessionRecord {
            id: "0123456789".to_owned(),
            token_hash: [1; 32],
            issuer: "https://okta.test".to_owned(),
            subject: "00u1".to_owned(),
            provider: "okta".to_owned(),
            name: None,
            email: None,
            email_verified: false,
            groups: Vec::new(),
            device: None,
            login_method: "browser".to_owned(),
            address: None,
            delegation: None,
            created_at: 10,
            expires_at: 100,
            last_used_at: 20,
            ended_at: None,
            end_reason: None,
            revision: 3,
            refresh_token: Some(RefreshTokenRecord {
                provider: "okta".to_owned(),
                credential: Secret(Zeroizing::new(Vec::new())),
                version: 1,
                due_at: Some(30),
                revoke_after: 100,
                leased_until: 0,
                failures: 0,
                lost_since: None,
            }),
        }
    }

    fn corrected(change: impl Fn(&mut SessionRecord)) -> (u64, SessionRecord) {
        let mut session = valid();
        change(&mut session);
        let mut batch = Batch::Sessions(vec![session]);
        let count = batch.correct(0);
        let Batch::Sessions(mut sessions) = batch else { unreachable!("the same kind") };
        (count, sessions.pop().expect("one session"))
    }

    #[test]
    fn valid_records_stay_as_they_are() {
        assert_eq!(corrected(|_| ()).0, 0);
        let ended = |session: &mut SessionRecord| {
            (session.ended_at, session.end_reason) = (Some(200), Some("expired".to_owned()));
        };
        assert_eq!(corrected(ended).0, 0);
        assert_eq!(Batch::Settings(Box::default()).correct(0), 0);
    }

    #[test]
    fn values_of_session_are_brought_into_range() {
        for extreme in [i64::MIN, i64::MAX] {
            let (count, session) = corrected(|session| {
                session.last_used_at = extreme;
                session.ended_at = Some(extreme);
                session.end_reason = Some("zzz".to_owned());
                session.revision = if extreme < 0 { i32::MIN } else { i32::MAX };
                if let Some(token) = &mut session.refresh_token {
                    (token.version, token.due_at, token.lost_since) = (extreme, Some(extreme), Some(extreme));
                    (token.revoke_after, token.leased_until) = (extreme, extreme);
                    token.failures = session.revision;
                }
            });
            assert_eq!(count, 1, "one record");
            assert!((10..=100).contains(&session.last_used_at));
            assert!((0..=MAX_REVISION).contains(&session.revision));
            assert_eq!(session.end_reason.as_deref(), Some("operator"));
            let token = session.refresh_token.expect("a token");
            let times = [session.ended_at, token.due_at, token.lost_since].map(|time| time.expect("a time"));
            for time in times.into_iter().chain([token.revoke_after, token.leased_until]) {
                assert!(Timestamp::from_millisecond(time).is_ok() && time >= 0, "{time}");
            }
            assert!((0..=MAX_COUNT).contains(&token.version) && (0..=MAX_FAILURES).contains(&token.failures));
        }
    }

    #[test]
    fn part_of_an_end_is_an_end() {
        let (count, session) = corrected(|session| session.ended_at = Some(50));
        assert_eq!((count, session.end_reason.as_deref()), (1, Some("operator")));
        let (count, session) = corrected(|session| session.end_reason = Some("logout".to_owned()));
        assert_eq!((count, session.ended_at), (1, Some(20)));
    }

    #[test]
    fn values_of_settings_are_brought_into_range() {
        for extreme in [i64::MIN, i64::MAX] {
            let mut batch = Batch::Settings(Box::new(SettingsRecord {
                orders: vec![(extreme, extreme)],
                successes: vec![("https://a.test".to_owned(), extreme)],
                pause_until: extreme,
                latest_time: extreme,
                counter: extreme,
                rollover: RolloverRecord {
                    sequence: extreme,
                    announced: "a".repeat(1_000_000),
                    takeover_at: Some(extreme),
                },
                ..SettingsRecord::default()
            }));
            assert_eq!(batch.correct(500), 1);
            let Batch::Settings(settings) = batch else { unreachable!("the same kind") };
            assert!((0..=500).contains(&settings.latest_time));
            assert!((0..=MAX_COUNT).contains(&settings.counter));
            assert!((0..=MAX_COUNT).contains(&settings.rollover.sequence));
            assert_eq!(settings.rollover.announced, "");
            let times = [settings.orders[0].1, settings.successes[0].1, settings.pause_until];
            for time in times.into_iter().chain(settings.rollover.takeover_at) {
                assert!((0..=latest()).contains(&time), "{time}");
            }
        }
    }
}
