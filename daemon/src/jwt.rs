//! Signed audience tokens (JWT, RFC 9068): the keys that sign them, and their verification.
//!
//! A service may validate such a token itself, with the published keys. The daemon validates it too, and then looks up its
//! session. Session tokens are never signed tokens.

mod claims;
mod key_set;
mod signing_key;
#[cfg(test)]
mod tests;
mod token_keys;

pub use claims::{NewToken, VerifiedToken};
pub use signing_key::Algorithm;
pub use token_keys::{TokenKeyState, TokenKeys};

/// How the daemon signs audience tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtSettings {
    /// The `iss` of every token: the first public URL.
    pub issuer: String,
    /// Of the keys that are created from now on.
    pub algorithm: Algorithm,
}
