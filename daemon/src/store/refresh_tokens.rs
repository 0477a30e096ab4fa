//! Refresh tokens: leased to one attempt at a time, updated by compare-and-set.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::engine::await_engine;
use super::{Store, StoreError};
use crate::keys::FieldSealer;

/// How long after a session ends the daemon keeps trying to revoke its refresh token at the provider.
const REVOCATION_PERIOD: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone)]
pub struct NewRefreshToken {
    pub provider: String,
    pub sealer: FieldSealer,
    /// The plaintext, sealed when it is stored.
    pub credential: Zeroizing<Vec<u8>>,
    pub due_at: Timestamp,
}

/// A refresh token leased to one attempt, for revalidation or for revocation at the provider.
pub struct RefreshTokenRow {
    pub session_id: SessionID,
    pub provider: String,
    pub credential: Zeroizing<Vec<u8>>,
    pub version: i64,
    pub failures: u32,
    /// Since when the token may have been consumed by a request without an answer. The value from before this lease.
    pub uncertain_since: Option<Timestamp>,
}

/// The new state of a refresh token when its lease ends.
#[derive(Debug, Clone, Copy)]
pub struct NextAttempt {
    pub due_at: Timestamp,
    pub failures: u32,
    pub uncertain_since: Option<Timestamp>,
}

/// A request for leases: which provider, when, and how many.
#[derive(Clone)]
pub struct LeaseRequest {
    pub provider: String,
    pub sealer: FieldSealer,
    pub now: Timestamp,
    /// How long the tokens cannot be leased again.
    pub lease_duration: SignedDuration,
    /// The longest pause between attempts. A due time further away was set before the clock stepped back.
    pub max_delay: SignedDuration,
    pub limit: u32,
}

/// The times that decide which tokens are due, and the end of their leases.
pub(super) struct LeaseTimes {
    pub(super) now: Timestamp,
    /// A due time further away was set before a clock stepped back, so the token is due.
    pub(super) furthest_due: Timestamp,
    /// A lease that ends later was taken before a clock stepped back, so it has ended.
    pub(super) furthest_lease: Timestamp,
    pub(super) until: Timestamp,
}

impl LeaseRequest {
    /// `clock_difference` is how much the clocks may differ that set these times.
    pub(super) fn times(&self, clock_difference: SignedDuration) -> LeaseTimes {
        let add = |duration| self.now.checked_add(duration).unwrap_or(Timestamp::MAX);
        LeaseTimes {
            now: self.now,
            furthest_due: add(self.max_delay.saturating_add(clock_difference)),
            furthest_lease: add(self.lease_duration.saturating_add(clock_difference)),
            until: add(self.lease_duration),
        }
    }
}

/// Sessions that ended before this time keep no refresh token.
pub(super) fn revoked_before(now: Timestamp) -> Timestamp {
    now.checked_sub(REVOCATION_PERIOD).unwrap_or(Timestamp::MIN)
}

impl std::fmt::Debug for NewRefreshToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewRefreshToken").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Store {
    /// Leases tokens of live sessions that are due. Until released, a leased token counts as possibly consumed.
    pub async fn lease_due_refresh_tokens(
        &self,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        await_engine!(self, engine => engine.lease_due_refresh_tokens(request))
    }

    /// Leases tokens of ended sessions for revocation at the provider.
    pub async fn lease_refresh_tokens_to_revoke(
        &self,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        await_engine!(self, engine => engine.lease_refresh_tokens_to_revoke(request))
    }

    /// Ends all leases for revalidation at `provider`. Call it at start, because a daemon that was killed could not end
    /// its own.
    pub async fn end_leases(&self, provider: &str, now: Timestamp) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.end_leases(provider, now))
    }

    /// Replaces the token if it is still at `version`; durable when it returns. Returns `false` if another attempt has
    /// changed it.
    pub async fn swap_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
        sealer: FieldSealer,
        credential: Zeroizing<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        await_engine!(self, engine => engine.swap_refresh_token(session_id, version, sealer, credential))
    }

    /// Ends the lease and schedules the next revalidation, unless the session has ended.
    pub async fn release_refresh_token(
        &self,
        session_id: &SessionID,
        next_attempt: NextAttempt,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.release_refresh_token(session_id, next_attempt))
    }

    pub async fn postpone_revocation(&self, session_id: &SessionID, at: Timestamp) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.postpone_revocation(session_id, at))
    }

    /// Deletes the token if it is still at `version`: it was revoked at the provider, or never can be.
    pub async fn forget_refresh_token(&self, session_id: &SessionID, version: i64) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.forget_refresh_token(session_id, version))
    }
}
