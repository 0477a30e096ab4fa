//! Format of a session token: `infra_` + ID (10 characters) + `.` + secret (24 characters).
//!
//! Both parts are drawn from `0-9A-Za-z`; the secret has 142.9 bits of entropy. The daemon stores the ID and the
//! SHA-256 of the whole text, so a stolen store contains no token.

mod audience;
mod signed;

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::digest::sha256;
use crate::random;

use kind::TokenID;

pub use audience::AudienceTokenID;
pub use signed::{ServiceToken, SignedToken, is_signed_token};

const ID_CHARACTERS: usize = 10;
const SECRET_CHARACTERS: usize = 24;

/// Domain separation for the logout proof.
const LOGOUT_CONTEXT: &[u8] = b"infra-logout-v1";

/// A well-formed token. It may not be valid.
#[derive(Debug, Clone)]
pub struct Token<ID> {
    text: SecretString,
    id: ID,
}

pub type SessionToken = Token<SessionID>;
/// A token for one service. It may be for another service than the one that received it.
pub type AudienceToken = Token<AudienceTokenID>;

mod kind {
    /// The public part of a token, which tells its kind. Private, so that only this module creates one unchecked.
    pub trait TokenID {
        /// The text before the ID.
        const PREFIX: &'static str;

        fn new(id: String) -> Self;
    }
}

/// The public part of a session token. It names a session but grants no access.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SessionID(String);

/// Proof that allows signing out, and nothing else: SHA-256(context ‖ SHA-256(token)).
///
/// A client keeps it if the daemon is unreachable at logout. A thief learns neither the token nor the hash that the
/// daemon stores.
#[derive(Clone, PartialEq, Eq)]
pub struct LogoutProof([u8; 32]);

fn is_alphanumeric(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl<ID: TokenID> Token<ID> {
    /// Generates a token from the operating system's random generator.
    #[must_use]
    pub fn mint() -> Self {
        let id = random::alphanumeric(ID_CHARACTERS);
        let text = format!("{}{id}.{}", ID::PREFIX, random::alphanumeric(SECRET_CHARACTERS)).into();
        Self { text, id: ID::new(id) }
    }

    /// Parses a token. Returns `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::id_in(text).map(|id| Self { text: text.into(), id: ID::new(id.to_owned()) })
    }

    /// Returns the ID in the text of a token, without copying it. Returns `None` if the text is malformed.
    #[must_use]
    pub fn id_in(text: &str) -> Option<&str> {
        let (id, secret) = text.strip_prefix(ID::PREFIX)?.split_once('.')?;
        let is_token = is_alphanumeric(id, ID_CHARACTERS) && is_alphanumeric(secret, SECRET_CHARACTERS);
        is_token.then_some(id)
    }

    #[must_use]
    pub fn id(&self) -> &ID {
        &self.id
    }

    /// The whole text, for an `Authorization: Bearer` header, standard output or the sessions file.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The SHA-256 of the whole text, which the daemon stores.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(&[self.expose().as_bytes()])
    }
}

impl SessionToken {
    #[must_use]
    pub fn logout_proof(&self) -> LogoutProof {
        LogoutProof::of_hash(&self.sha256())
    }
}

impl TokenID for SessionID {
    const PREFIX: &'static str = "infra_";

    fn new(id: String) -> Self {
        Self(id)
    }
}

impl SessionID {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        is_alphanumeric(text, ID_CHARACTERS).then(|| Self(text.to_owned()))
    }

    /// Reads an argument: an ID, or a pasted session token, which may be cut off. Rejects typing errors, which would
    /// look like the ID of an ended session.
    pub fn from_argument(text: &str) -> Result<Self, &'static str> {
        let id = text.strip_prefix(Self::PREFIX).map_or(text, |rest| rest.split('.').next().unwrap_or(rest));
        Self::parse(id).ok_or("an ID has 10 letters and digits, such as `f3Kd9sQ1Zx`")
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for SessionID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SessionID {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("a session's id has 10 letters and digits"))
    }
}

impl LogoutProof {
    /// Derives the proof from the SHA-256 of a token.
    #[must_use]
    pub fn of_hash(token_hash: &[u8; 32]) -> Self {
        Self(Sha256::new().chain_update(LOGOUT_CONTEXT).chain_update(token_hash).finalize().into())
    }

    /// Parses the base64url form used in JSON.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The base64url form used in JSON.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for LogoutProof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LogoutProof([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn minted_token_is_parsed_again() {
        let token = SessionToken::mint();
        let read = SessionToken::parse(token.expose()).expect("the form of a token");
        assert_eq!(token.expose().len(), 41);
        assert_eq!(read.id(), token.id());
        assert_eq!(read.sha256(), token.sha256());
    }

    #[test]
    fn minted_tokens_are_distinct() {
        let minted: HashSet<String> = (0..10_000).map(|_| SessionToken::mint().expose().to_owned()).collect();
        assert_eq!(minted.len(), 10_000);
    }

    #[test]
    fn malformed_token_is_rejected() {
        let (id, secret) = ("a".repeat(10), "b".repeat(24));
        for text in [
            String::new(),
            format!("infra_{id}"),
            format!("infra_{id}.{secret}x"),
            format!("infra_{id}x.{secret}"),
            format!("Infra_{id}.{secret}"),
            format!(" infra_{id}.{secret}"),
            format!("infra_{id}.{secret}\n"),
            format!("infra_{id}.{}é", "b".repeat(22)),
        ] {
            assert!(SessionToken::parse(&text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn token_is_redacted_in_debug() {
        let token = SessionToken::mint();
        let (_, secret) = token.expose().split_once('.').expect("two parts");
        assert!(!format!("{token:?}").contains(secret));
        assert!(!format!("{:?}", token.logout_proof()).contains(&token.logout_proof().to_text()));
    }

    #[test]
    fn logout_proof_differs_from_token_and_stored_hash() {
        let token = SessionToken::mint();
        assert_ne!(token.logout_proof().as_bytes(), &token.sha256());
        assert_eq!(LogoutProof::parse(&token.logout_proof().to_text()), Some(token.logout_proof()));
        assert_eq!(LogoutProof::of_hash(&token.sha256()), token.logout_proof());
    }

    #[test]
    fn hash_and_proof_cover_the_whole_text() {
        let token = SessionToken::parse("infra_3De8gPGcmq.abcdefghijklmnopqrstuvwx").expect("a token");
        let hash: [u8; 32] = Sha256::digest(b"infra_3De8gPGcmq.abcdefghijklmnopqrstuvwx").into();
        assert_eq!(token.sha256(), hash);
        let mut proven = LOGOUT_CONTEXT.to_vec();
        proven.extend(hash);
        assert_eq!(token.logout_proof().as_bytes().as_slice(), Sha256::digest(&proven).as_slice());
        assert_eq!(token.id().as_str(), "3De8gPGcmq");
        assert_eq!(format!("{} {:?}", token.id(), token.id()), "3De8gPGcmq 3De8gPGcmq");
        assert_eq!(format!("{:?}", token.logout_proof()), "LogoutProof([redacted])");
    }
}
