//! The only trace of a session token in the store.

use std::fmt;

use infra_shared::token_text::{LogoutProof, SessionToken};
use subtle::ConstantTimeEq;

/// The SHA-256 of a whole session token. Compared in constant time.
#[derive(Clone)]
pub struct TokenHash(pub(super) [u8; 32]);

impl TokenHash {
    pub fn of(token: &SessionToken) -> Self {
        Self(token.sha256())
    }

    /// A hash that no token has, so that an id that is not known costs the same work as one that is.
    pub(super) fn of_nobody() -> Self {
        Self([0; 32])
    }

    /// Whether both are of the same token, in constant time.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    pub fn logout_proof(&self) -> LogoutProof {
        LogoutProof::of_hash(&self.0)
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash([redacted])")
    }
}
