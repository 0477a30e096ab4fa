//! The hash of a token, its only trace in the store.

use std::fmt;

use infra_shared::digest::sha256;
use infra_shared::token_text::{AudienceToken, LogoutProof, SessionToken};
use subtle::ConstantTimeEq;

/// The SHA-256 of a whole token, compared in constant time.
#[derive(Clone)]
pub struct TokenHash(pub(super) [u8; 32]);

impl TokenHash {
    pub fn of(token: &SessionToken) -> Self {
        Self(token.sha256())
    }

    pub fn of_audience_token(token: &AudienceToken) -> Self {
        Self(token.sha256())
    }

    /// Hashes any text. A match proves that it is a token.
    pub(super) fn of_text(text: &str) -> Self {
        Self(sha256(&[text.as_bytes()]))
    }

    /// Compares two hashes in constant time.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_hash_matches_only_its_own_token() {
        let (token, other) = (SessionToken::mint(), SessionToken::mint());
        assert!(TokenHash::of(&token).equals(&TokenHash::of(&token)));
        assert!(!TokenHash::of(&token).equals(&TokenHash::of(&other)));
    }
}
