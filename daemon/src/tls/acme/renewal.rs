//! When to replace a certificate: as the authority suggests (RFC 9773), else after two thirds of its lifetime.

use std::time::Duration;

use infra_shared::random;
use instant_acme::Account;
use jiff::{SignedDuration, Timestamp};

use crate::tls::chain::CheckedChain;

/// Limits on the authority's polling interval (RFC 9773 §4.3).
const SOONEST: SignedDuration = SignedDuration::from_mins(1);
const LATEST: SignedDuration = SignedDuration::from_hours(24);
/// The interval after an error (RFC 9773 §4.3.3).
const OTHERWISE: SignedDuration = SignedDuration::from_hours(6);

/// The renewal state of one certificate.
#[derive(Debug, Default)]
pub(super) struct RenewalTimes {
    /// `None` means at once.
    next_fetch_at: Option<Timestamp>,
    window: Option<(Timestamp, Timestamp)>,
    /// A random time in the window.
    chosen: Option<Timestamp>,
}

pub(super) struct Suggestion {
    window: (Timestamp, Timestamp),
    fetch_again_in: Duration,
}

/// Fetches the authority's suggestion for `chain`. An error describes why there is none.
pub(super) async fn fetch_suggestion(account: &Account, chain: &CheckedChain) -> Result<Suggestion, String> {
    let certificate = chain.identifier().ok_or("the certificate does not name its issuer's key")?;
    let (information, fetch_again_in) =
        account.renewal_info(&certificate).await.map_err(|error| error.to_string())?;
    let window = information.suggested_window;
    let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
    match (Timestamp::from_second(start), Timestamp::from_second(end)) {
        (Ok(start), Ok(end)) if start < end => Ok(Suggestion { window: (start, end), fetch_again_in }),
        _ => Err("the suggested window ends before it starts".to_owned()),
    }
}

impl RenewalTimes {
    pub(super) fn is_fetch_due(&self, now: Timestamp) -> bool {
        // A clock that was set back does not delay the request.
        self.next_fetch_at
            .is_none_or(|next_fetch_at| now >= next_fetch_at || next_fetch_at.duration_since(now) > LATEST)
    }

    /// Whether the authority supports renewal information.
    pub(super) fn is_supported(&self) -> bool {
        self.window.is_some()
    }

    pub(super) fn note(&mut self, suggestion: Result<Suggestion, String>, now: Timestamp) {
        let fetch_again_in = match suggestion {
            Ok(Suggestion { window, fetch_again_in }) => {
                if self.window.replace(window) != Some(window) {
                    self.chosen = Some(choose(window));
                }
                SignedDuration::try_from(fetch_again_in).unwrap_or(LATEST).clamp(SOONEST, LATEST)
            }
            Err(cause) => {
                tracing::debug!(cause, "the ACME server suggests no renewal time");
                OTHERWISE
            }
        };
        self.next_fetch_at = now.checked_add(fetch_again_in).ok();
    }

    /// At five sixths of the lifetime at the latest, so that there is time to recover from failures.
    pub(super) fn due_at(&self, chain: &CheckedChain) -> Timestamp {
        self.chosen.map_or(chain.due_at(), |chosen| chosen.min(chain.urgent_at()))
    }
}

/// RFC 9773 §4.2: uniformly random, to spread the load.
fn choose((start, end): (Timestamp, Timestamp)) -> Timestamp {
    let seconds = end.as_second().saturating_sub(start.as_second()).unsigned_abs().max(1);
    let offset = u64::from_be_bytes(random::bytes::<8>()) % seconds;
    let moment = start.as_second().saturating_add(i64::try_from(offset).unwrap_or_default());
    Timestamp::from_second(moment).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn suggestion(start: i64, end: i64, fetch_again_in: u64) -> Suggestion {
        Suggestion { window: (at(start), at(end)), fetch_again_in: Duration::from_secs(fetch_again_in) }
    }

    #[test]
    fn renewal_time_is_chosen_once_per_window() {
        let mut times = RenewalTimes::default();
        times.note(Ok(suggestion(1_000, 2_000, 600)), at(0));
        let chosen = times.chosen.expect("a moment");
        assert!((at(1_000)..at(2_000)).contains(&chosen), "{chosen}");
        times.note(Ok(suggestion(1_000, 2_000, 600)), at(600));
        assert_eq!(times.chosen, Some(chosen), "the window is the same");
        times.note(Ok(suggestion(100, 200, 600)), at(1_200));
        assert!(times.chosen.is_some_and(|chosen| chosen < at(200)), "the authority is in a hurry");
        times.note(Err("away".to_owned()), at(1_800));
        assert!(times.chosen.is_some_and(|chosen| chosen < at(200)), "what it said before stands");
    }

    #[test]
    fn renewal_polling_interval_is_clamped() {
        let mut times = RenewalTimes::default();
        assert!(times.is_fetch_due(at(0)));
        for (said, kept) in [(600, 600), (1, 60), (u64::MAX, 24 * 3_600)] {
            times.note(Ok(suggestion(1_000, 2_000, said)), at(0));
            assert!(!times.is_fetch_due(at(kept - 1)), "{said}");
            assert!(times.is_fetch_due(at(kept)), "{said}");
        }
        times.note(Err("away".to_owned()), at(0));
        assert!(times.is_fetch_due(at(6 * 3_600)));
        assert!(!times.is_fetch_due(at(6 * 3_600 - 1)));
    }
}
