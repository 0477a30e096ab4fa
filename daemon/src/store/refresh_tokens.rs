//! Refresh tokens: leased to one attempt at a time, updated by compare-and-set.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

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

/// Sessions that ended before this time keep no refresh token.
pub(super) fn revoked_before(now: Timestamp) -> Timestamp {
    now.checked_sub(REVOCATION_PERIOD).unwrap_or(Timestamp::MIN)
}

impl std::fmt::Debug for NewRefreshToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewRefreshToken").field("provider", &self.provider).finish_non_exhaustive()
    }
}
