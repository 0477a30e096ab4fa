//! Asks providers again about sessions, where the configuration wants that: a *no* ends a session, an outage does not.
//!
//! Each is asked within the interval, at a moment that is drawn, so that the sessions of a morning do not come together;
//! few at a time, and never in the places where logins are exchanged. A refresh token that the provider replaced is stored
//! before its answer counts for anything. Where the daemon is killed between the two, the old token may be spent: it is tried
//! again soon after the next start, when providers still forgive that, and where this one does not, the session ends.
//! Nobody can then say whether its user may still be here.

use std::sync::Arc;

use infra_shared::api::User;
use infra_shared::random;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{Sessions, add};
use crate::identity::{HeldGrant, Provider, RefreshError, VerifiedIdentity};
use crate::store::{EndReason, NewRefreshToken, RefreshTokenRow, StoreError};

/// Asked at a time, over all providers.
const AT_A_TIME: u32 = 16;
/// Longer than everything that is asked may take; after a kill, the wait until it is tried again.
const LEASE: SignedDuration = SignedDuration::from_secs(25);
/// The first pause after a failure; each is three times as long as the one before.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);

/// The form in which a grant is sealed.
#[derive(Serialize)]
struct Contents<'a> {
    refresh_token: &'a str,
    nonce: &'a str,
    auth_time: Option<i64>,
    subject: &'a str,
}

/// The same, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnedContents {
    refresh_token: SecretString,
    nonce: SecretString,
    auth_time: Option<i64>,
    subject: String,
}

impl Sessions {
    /// What is kept of a login, to ask again; nothing where nobody wants that, and where the provider gave nothing.
    pub(super) fn to_be_kept(
        &self,
        provider: &Provider,
        held: Option<HeldGrant>,
        now: Timestamp,
    ) -> Option<NewRefreshToken> {
        let every = self.limits.revalidate_every?;
        let name = &provider.settings().name;
        let Some(held) = held else {
            tracing::warn!(
                provider = name,
                "the provider gave no refresh token: this session is not asked about again; `infrad check --live` says \
                 whether it gives any"
            );
            return None;
        };
        Some(NewRefreshToken {
            provider: name.clone(),
            sealer: self.sealer.clone(),
            held: contents(&held),
            due_at: next(now, every),
        })
    }

    /// Asks about every session that is due, a few at a time; answers how many it asked about.
    pub async fn revalidate_due(self: &Arc<Self>) -> Result<usize, StoreError> {
        let Some(every) = self.limits.revalidate_every else { return Ok(0) };
        let mut asked = 0;
        loop {
            let sealer = self.sealer.clone();
            let due = self.store.take_due_refresh_tokens(sealer, self.clock.now(), LEASE, AT_A_TIME).await?;
            if due.is_empty() {
                return Ok(asked);
            }
            asked += due.len();
            let mut asking = JoinSet::new();
            for row in due {
                let sessions = self.clone();
                asking.spawn(async move { sessions.revalidate(row, every).await });
            }
            while let Some(done) = asking.join_next().await {
                if let Ok(Err(error)) = done {
                    tracing::error!(%error, "the answer of a provider about a session cannot be stored");
                }
            }
        }
    }

    async fn revalidate(&self, row: RefreshTokenRow, every: SignedDuration) -> Result<(), StoreError> {
        let id = &row.session_id;
        let Some(stored) = self.store.find_session(id)?.filter(|stored| stored.ended.is_none()) else {
            return Ok(());
        };
        // Who is not there any more need not be asked about.
        if self.clock.now() >= self.idle_expires_at(stored.last_used_at, stored.expires_at) {
            self.end(id, EndReason::Expired).await?;
            return Ok(());
        }
        // A provider that left the configuration took its sessions along at the start.
        let Some(provider) = self.find_provider(&row.provider) else { return Ok(()) };
        let mut held = held(&row.held).ok_or(StoreError::UnexpectedRow("a refresh token"))?;
        let answered = match provider.refresh(&held).await {
            Ok(answered) => answered,
            Err(error) => return self.not_confirmed(&row, every, &error).await,
        };
        if let Some(refresh_token) = &answered.refresh_token {
            held.refresh_token = refresh_token.clone();
            let sealer = self.sealer.clone();
            if !self.store.swap_refresh_token(id, row.version, sealer, contents(&held)).await? {
                tracing::warn!(session = %id, "somebody else asked about this session at the same time");
                return Ok(());
            }
        }
        match provider.judge(&held, &answered).await {
            Ok(None) => {}
            Ok(Some(identity)) => {
                if !provider.settings().allow.admits(identity.groups(), identity.verified_email()) {
                    self.counts.revalidation(&row.provider, "not_admitted");
                    self.end(id, EndReason::NotAdmitted).await?;
                    return Ok(());
                }
                let email_verified = identity.verified_email().is_some();
                let user = as_told_now(&stored.user, &identity);
                if (&user, email_verified) != (&stored.user, stored.email_verified) {
                    tracing::info!(session = %id, "the provider says something else of this user now");
                    self.store.update_user(id, user, email_verified).await?;
                }
            }
            Err(error) => return self.not_confirmed(&row, every, &error).await,
        }
        self.counts.revalidation(&row.provider, "confirmed");
        self.store.release_refresh_token(id, next(self.clock.now(), every), true).await
    }

    /// The provider did not say that this user may go on: either it said no, or nobody knows.
    async fn not_confirmed(
        &self,
        row: &RefreshTokenRow,
        every: SignedDuration,
        error: &RefreshError,
    ) -> Result<(), StoreError> {
        let (id, provider) = (&row.session_id, &row.provider);
        match error {
            RefreshError::No(reason) => {
                tracing::info!(session = %id, provider, reason, "the provider does not let this session go on");
                self.counts.revalidation(provider, "refused");
                self.end(id, EndReason::ProviderRefused).await?;
                Ok(())
            }
            RefreshError::Unknown(reason) => {
                // Once for each session; the metrics count every one.
                if row.failures == 0 {
                    tracing::warn!(session = %id, provider, reason, "the provider could not be asked again");
                }
                self.counts.revalidation(provider, "unavailable");
                let due_at = add(self.clock.now(), pause(row.failures, every));
                self.store.release_refresh_token(id, due_at, false).await
            }
        }
    }
}

/// When to ask next: before the interval is over, and not all at once.
fn next(now: Timestamp, every: SignedDuration) -> Timestamp {
    let [drawn] = random::bytes::<1>();
    // From 50 % to 90 % of the interval: what is left is for those before it, and for one more try.
    let milliseconds = every.as_millis() * (500 + 400 * i128::from(drawn) / 255) / 1000;
    add(now, SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX)))
}

fn pause(failures: u32, every: SignedDuration) -> SignedDuration {
    let longest = LONGEST_PAUSE.min(every / 4).max(FIRST_PAUSE);
    let grown = 3_i32.checked_pow(failures).and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    grown.unwrap_or(longest).min(longest)
}

/// The user with what the provider says now; the identity is the same.
fn as_told_now(user: &User, identity: &VerifiedIdentity) -> User {
    User {
        name: identity.name().map(ToOwned::to_owned),
        email: identity.email().map(ToOwned::to_owned),
        groups: identity.groups().to_vec(),
        ..user.clone()
    }
}

fn contents(held: &HeldGrant) -> Zeroizing<Vec<u8>> {
    let contents = Contents {
        refresh_token: held.refresh_token.expose_secret(),
        nonce: held.nonce.expose_secret(),
        auth_time: held.auth_time,
        subject: &held.subject,
    };
    Zeroizing::new(serde_json::to_vec(&contents).expect("a grant is plain JSON"))
}

/// What [`contents`] made.
pub(super) fn held(contents: &[u8]) -> Option<HeldGrant> {
    let contents: OwnedContents = serde_json::from_slice(contents).ok()?;
    Some(HeldGrant {
        refresh_token: contents.refresh_token,
        nonce: contents.nonce,
        auth_time: contents.auth_time,
        subject: contents.subject,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_asked_within_the_interval_and_at_moments_that_differ() {
        let (now, every) = (Timestamp::UNIX_EPOCH, SignedDuration::from_mins(60));
        let moments: Vec<i64> = (0..1000).map(|_| next(now, every).as_second()).collect();
        assert!(moments.iter().all(|moment| (1800..=3240).contains(moment)), "{moments:?}");
        let mut different = moments;
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 100);
    }

    #[test]
    fn pauses_grow_up_to_a_part_of_the_interval() {
        let pauses = |every: i64| {
            [0, 1, 2, 3, 9, 40].map(|failures| pause(failures, SignedDuration::from_secs(every)).as_secs())
        };
        assert_eq!(pauses(3600), [5, 15, 45, 135, 900, 900]);
        assert_eq!(pauses(60), [5, 15, 15, 15, 15, 15]);
        assert_eq!(pauses(10), [5, 5, 5, 5, 5, 5]);
    }

    #[test]
    fn what_is_sealed_is_read_back() {
        let grant = HeldGrant {
            refresh_token: "a\"b\\c\u{e9}".into(),
            nonce: "n".into(),
            auth_time: Some(7),
            subject: "00u1".to_owned(),
        };
        let read = held(&contents(&grant)).expect("a grant");
        assert_eq!(read.refresh_token.expose_secret(), grant.refresh_token.expose_secret());
        assert_eq!((read.auth_time, read.subject), (Some(7), "00u1".to_owned()));
        assert!(held(b"{}").is_none() && held(b"\xff").is_none());
    }
}
