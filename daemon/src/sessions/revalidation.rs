//! Revalidates live sessions with their providers, if configured. A refusal revokes the session; an outage does not.
//!
//! Each session is due once per interval at a random moment, which spreads the sessions of a morning. Concurrency is
//! limited per provider and separate from code exchanges.
//!
//! A replaced refresh token is stored before the response takes effect. If a response is lost, or the daemon is killed
//! before it stores the token, the old token may already be spent. The daemon retries soon, while providers still
//! tolerate reuse. If the provider rejects the token, the session is revoked, because its user can no longer be confirmed.

use std::time::Duration;

use infra_shared::api::User;
use infra_shared::random;
use jiff::{SignedDuration, Timestamp};

use super::provider_jobs::JobOutcome;
use super::{Sessions, add, stored_credential};
use crate::identity::{
    BACKGROUND_TIMEOUT, ClaimsUpdate, EmailClaim, GroupsClaim, Provider, RefreshCredential, RefreshError,
    RefreshedClaims, UnverifiedTokens,
};
use crate::store::{EndReason, NewRefreshToken, NextAttempt, RefreshTokenRow, StoreError, StoredSession};

/// How long to retry quickly after a lost response. Okta accepts a spent token for at least 30 s.
const REUSE_WINDOW: SignedDuration = SignedDuration::from_secs(25);
const QUICK_RETRY: SignedDuration = SignedDuration::from_secs(2);
/// Attempts to store a new refresh token.
const MAX_ATTEMPTS: u32 = 5;
const PAUSE_BETWEEN_ATTEMPTS: Duration = Duration::from_secs(1);
/// All waits of one revalidation: for the refresh and for the claims, and between the attempts of two writes.
const WAITS: Duration = BACKGROUND_TIMEOUT
    .saturating_mul(2)
    .saturating_add(PAUSE_BETWEEN_ATTEMPTS.saturating_mul(2 * (MAX_ATTEMPTS - 1)));
/// Longer than any revalidation takes: all waits, and as much time again for the writes. The next start ends the leases
/// of a daemon that was killed.
pub(super) const LEASE: SignedDuration = SignedDuration::from_secs(2 * WAITS.as_secs().cast_signed());
/// Delay after the first failure. Each further failure triples it.
pub(super) const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// Delay until another member may revalidate a session that this one does not admit.
const LEFT_TO_OTHERS: SignedDuration = SignedDuration::from_mins(1);

impl Sessions {
    /// The refresh token to store with a new session. Returns `None` if revalidation is off or the provider issued no
    /// refresh token.
    pub(super) fn new_refresh_token(
        &self,
        provider: &Provider,
        credential: Option<&RefreshCredential>,
        now: Timestamp,
    ) -> Option<NewRefreshToken> {
        let every = self.limits.revalidate_every?;
        let name = &provider.settings().name;
        let Some(credential) = credential else {
            tracing::warn!(
                provider = name,
                "the provider issued no refresh token, so this session cannot be revalidated: `infrad check --live` \
                 shows if the provider issues refresh tokens"
            );
            return None;
        };
        Some(NewRefreshToken {
            provider: name.clone(),
            sealer: self.sealer.clone(),
            credential: stored_credential::serialize(credential),
            due_at: next_due(now, every),
        })
    }

    pub(super) async fn revalidate(
        &self,
        mut row: RefreshTokenRow,
        every: SignedDuration,
    ) -> Result<JobOutcome, StoreError> {
        let id = &row.session_id;
        let Some(stored) = self.store.find_session(id).await?.filter(|stored| stored.ended.is_none()) else {
            return Ok(JobOutcome::NotSent);
        };
        // An idle session expires without a request to the provider.
        if self.has_expired(&stored, self.now()) {
            self.end_session(id, EndReason::Expired).await?;
            return Ok(JobOutcome::NotSent);
        }
        // The sessions of a provider that is no longer configured were ended at start.
        let Some(provider) = self.find_provider(&row.provider) else { return Ok(JobOutcome::NotSent) };
        // A member with another configuration admits the user, and revalidates the session.
        if !self.is_admitted(&stored) {
            let due_at = add(self.clock.now(), LEFT_TO_OTHERS);
            let (failures, uncertain_since) = (row.failures, row.uncertain_since);
            let next = NextAttempt { due_at, failures, uncertain_since };
            self.store.release_refresh_token(id, next).await?;
            return Ok(JobOutcome::NotSent);
        }
        let mut credential =
            stored_credential::parse(&row.credential).ok_or(StoreError::UnexpectedRow("a refresh token"))?;
        let sent_at = self.clock.now();
        let response = match provider.refresh(&credential).await {
            Ok(response) => response,
            Err(error) => return self.handle_refresh_error(&row, every, sent_at, error).await,
        };
        if let Some(refresh_token) = &response.refresh_token {
            credential.refresh_token = refresh_token.clone();
            if !self.save(&row, &credential).await? {
                return Ok(JobOutcome::Responded);
            }
            row.version += 1;
        }
        self.apply_response(&row, stored, provider, credential, &response, every).await?;
        Ok(JobOutcome::Responded)
    }

    /// Stores the new credential, with retries, because losing it would end the session. Returns `false` if another attempt
    /// has changed it.
    async fn save(&self, row: &RefreshTokenRow, credential: &RefreshCredential) -> Result<bool, StoreError> {
        let mut attempts = 1;
        loop {
            let (sealer, contents) = (self.sealer.clone(), stored_credential::serialize(credential));
            match self.store.swap_refresh_token(&row.session_id, row.version, sealer, contents).await {
                Err(error) if attempts < MAX_ATTEMPTS => {
                    tracing::warn!(session = %row.session_id, %error, "cannot store a refresh token yet");
                }
                Ok(false) => {
                    tracing::warn!(session = %row.session_id, "another attempt revalidated this session concurrently");
                    return Ok(false);
                }
                saved => return saved,
            }
            attempts += 1;
            tokio::time::sleep(PAUSE_BETWEEN_ATTEMPTS).await;
        }
    }

    /// Applies what the response proves about the user, if the policy still admits them, and schedules the next
    /// revalidation.
    async fn apply_response(
        &self,
        row: &RefreshTokenRow,
        stored: StoredSession,
        provider: &Provider,
        mut credential: RefreshCredential,
        response: &UnverifiedTokens,
        every: SignedDuration,
    ) -> Result<(), StoreError> {
        let (id, name) = (&row.session_id, &row.provider);
        let claims = provider.verify_claims(&credential, response).await;
        let outcome =
            if let Ok(RefreshedClaims::Partial(_)) = &claims { "userinfo_failed" } else { "confirmed" };
        match claims {
            Ok(RefreshedClaims::Verified(update) | RefreshedClaims::Partial(update)) => {
                if update.sources != credential.sources {
                    credential.sources = update.sources;
                    if !self.save(row, &credential).await? {
                        return Ok(());
                    }
                }
                let groups = update.groups.to_string();
                let (user, email_verified) = merge_claims(&stored, update);
                let verified_email = user.email.as_deref().filter(|_| email_verified);
                if !provider.settings().allow.admits(&user.groups, verified_email) {
                    self.counts.revalidation(name, "denied_by_policy");
                    tracing::info!(
                        session = %id,
                        provider = name,
                        subject = user.subject,
                        email = user.email,
                        groups = %groups,
                        "`allow` no longer admits this user: revoked the session"
                    );
                    self.end_session(id, EndReason::DeniedByPolicy).await?;
                    return Ok(());
                }
                if (&user, email_verified) != (&stored.user, stored.email_verified) {
                    tracing::info!(session = %id, "the provider changed the claims of this user");
                    self.store.update_user(id, user, email_verified).await?;
                }
                self.counts.revalidation(name, outcome);
            }
            Ok(RefreshedClaims::Unverified(reason)) => {
                tracing::warn!(
                    session = %id,
                    provider = name,
                    reason,
                    "the provider confirmed the session but did not prove the user's claims: keeping the old claims"
                );
                self.counts.revalidation(name, "unverified");
            }
            Err(error) => {
                tracing::info!(
                    session = %id,
                    provider = name,
                    reason = %error,
                    "the provider returned claims of another subject: revoked the session"
                );
                self.counts.revalidation(name, "rejected");
                self.end_session(id, EndReason::ProviderRejected).await?;
                return Ok(());
            }
        }
        let due_at = next_due(self.clock.now(), every);
        self.store.release_refresh_token(id, NextAttempt { due_at, failures: 0, uncertain_since: None }).await
    }

    /// Handles a response that does not confirm the user: a refusal, or an unknown result.
    async fn handle_refresh_error(
        &self,
        row: &RefreshTokenRow,
        every: SignedDuration,
        sent_at: Timestamp,
        error: RefreshError,
    ) -> Result<JobOutcome, StoreError> {
        let (id, provider) = (&row.session_id, &row.provider);
        let uncertain_since = match &error {
            RefreshError::InvalidGrant if row.uncertain_since.is_some() => {
                tracing::warn!(
                    session = %id,
                    provider,
                    "a response of the provider was lost, and it rejects the refresh token that was sent: revoked \
                     the session, because the provider can no longer confirm its user"
                );
                self.counts.revalidation(provider, "response_lost");
                self.end_session(id, EndReason::ResponseLost).await?;
                return Ok(JobOutcome::Responded);
            }
            RefreshError::InvalidGrant | RefreshError::Denied(_) => {
                tracing::info!(
                    session = %id,
                    provider,
                    reason = %error,
                    "the provider rejected the refresh of this session: revoked the session"
                );
                self.counts.revalidation(provider, "rejected");
                self.end_session(id, EndReason::ProviderRejected).await?;
                return Ok(JobOutcome::Responded);
            }
            RefreshError::Unknown(_) => row.uncertain_since,
            RefreshError::ResponseLost(_) => Some(row.uncertain_since.unwrap_or(sent_at)),
        };
        // Logged once per session. The metrics count every failure.
        if row.failures == 0 && row.uncertain_since.is_none() {
            tracing::warn!(session = %id, provider, reason = %error, "cannot revalidate this session yet");
        }
        self.counts.revalidation(provider, "unavailable");
        let now = self.clock.now();
        let is_reusable = |since: Timestamp| {
            (SignedDuration::ZERO..=REUSE_WINDOW).contains(&add(now, QUICK_RETRY).duration_since(since))
        };
        let (due_at, failures) = if uncertain_since.is_some_and(is_reusable) {
            (add(now, QUICK_RETRY), row.failures)
        } else {
            (add(now, backoff(row.failures, every)), row.failures.saturating_add(1))
        };
        self.store.release_refresh_token(id, NextAttempt { due_at, failures, uncertain_since }).await?;
        Ok(JobOutcome::NoResponse)
    }
}

/// Due time of the next revalidation: random within the interval.
fn next_due(now: Timestamp, every: SignedDuration) -> Timestamp {
    let [drawn] = random::bytes::<1>();
    // At 50 % to 90 % of the interval. The rest is for queued sessions and one retry.
    let milliseconds = every.as_millis() * (500 + 400 * i128::from(drawn) / 255) / 1000;
    add(now, SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX)))
}

fn backoff(failures: u32, every: SignedDuration) -> SignedDuration {
    let longest = LONGEST_PAUSE.min(every / 4).max(FIRST_PAUSE);
    let grown = 3_i32.checked_pow(failures).and_then(|factor| FIRST_PAUSE.checked_mul(factor));
    grown.unwrap_or(longest).min(longest)
}

/// Merges the provider's current claims into the user, and returns whether the e-mail is verified. Claims that it omits
/// stay unchanged.
fn merge_claims(stored: &StoredSession, update: ClaimsUpdate) -> (User, bool) {
    let mut user = stored.user.clone();
    let mut email_verified = stored.email_verified;
    if let Some(name) = update.name {
        user.name = name;
    }
    if let Some(EmailClaim { address, is_verified }) = update.email {
        let is_the_same = address == user.email;
        email_verified = address.is_some() && is_verified.unwrap_or(is_the_same && email_verified);
        user.email = address;
    }
    if let GroupsClaim::Listed { names, .. } = update.groups {
        user.groups = names;
    }
    (user, email_verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revalidation_is_due_at_random_times_in_the_interval() {
        let (now, every) = (Timestamp::UNIX_EPOCH, SignedDuration::from_mins(60));
        let moments: Vec<i64> = (0..1000).map(|_| next_due(now, every).as_second()).collect();
        assert!(moments.iter().all(|moment| (1800..=3240).contains(moment)), "{moments:?}");
        let mut different = moments;
        different.sort_unstable();
        different.dedup();
        assert!(different.len() > 100);
    }

    #[test]
    fn lease_outlasts_every_wait_of_a_revalidation() {
        let (refresh, claims) = (BACKGROUND_TIMEOUT, BACKGROUND_TIMEOUT);
        let save = PAUSE_BETWEEN_ATTEMPTS * (MAX_ATTEMPTS - 1);
        let writes = Duration::from_secs(10);
        assert!(LEASE.unsigned_abs() >= refresh + save + claims + save + writes, "{LEASE:?}");
    }

    #[test]
    fn retry_delay_grows_up_to_a_quarter_of_the_interval() {
        let pauses = |every: i64| {
            [0, 1, 2, 3, 9, 40].map(|failures| backoff(failures, SignedDuration::from_secs(every)).as_secs())
        };
        assert_eq!(pauses(3600), [5, 15, 45, 135, 900, 900]);
        assert_eq!(pauses(60), [5, 15, 15, 15, 15, 15]);
        assert_eq!(pauses(10), [5, 5, 5, 5, 5, 5]);
    }
}
