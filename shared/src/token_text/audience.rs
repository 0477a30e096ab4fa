//! Format of an audience token: `infra_aud_` + ID (10 characters) + `.` + secret (24 characters).
//!
//! Services see audience tokens. The different prefix keeps programs and people from confusing them with session
//! tokens.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use crate::digest::sha256;

const PREFIX: &str = "infra_aud_";

/// A well-formed audience token. It may not be valid, or may be for another service.
#[derive(Debug, Clone)]
pub struct AudienceToken {
    text: SecretString,
    id: AudienceTokenID,
}

/// The public part of an audience token. It names the token but grants no access.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AudienceTokenID(String);

impl AudienceToken {
    /// Generates a token from the operating system's random generator.
    #[must_use]
    pub fn mint() -> Self {
        let (id, text) = super::mint(PREFIX);
        Self { text, id: AudienceTokenID(id) }
    }

    /// Parses a token. Returns `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = AudienceTokenID(super::id_in(text, PREFIX)?.to_owned());
        Some(Self { text: text.into(), id })
    }

    #[must_use]
    pub fn id(&self) -> &AudienceTokenID {
        &self.id
    }

    /// The whole text, for an `Authorization: Bearer` header or standard output.
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

impl AudienceTokenID {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AudienceTokenID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for AudienceTokenID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SessionToken;
    use super::*;

    #[test]
    fn minted_audience_token_is_parsed_again() {
        let token = AudienceToken::mint();
        let read = AudienceToken::parse(token.expose()).expect("the form of a token");
        assert_eq!((token.expose().len(), read.id()), (45, token.id()));
        let hash = sha256(&[token.expose().as_bytes()]);
        assert_eq!(read.sha256(), hash);
        assert_ne!(AudienceToken::mint().sha256(), hash);
    }

    #[test]
    fn session_and_audience_tokens_are_distinguished() {
        assert!(AudienceToken::parse(SessionToken::mint().expose()).is_none());
        assert!(SessionToken::parse(AudienceToken::mint().expose()).is_none());
    }

    #[test]
    fn malformed_audience_token_is_rejected() {
        let (id, secret) = ("a".repeat(10), "b".repeat(24));
        for text in [
            String::new(),
            format!("infra_aud_{id}"),
            format!("infra_aud_{id}.{secret}x"),
            format!("infra_aud_{id}x.{secret}"),
            format!("infra_AUD_{id}.{secret}"),
            format!("infra_aud_{id}.{secret} "),
            format!("infra_aud_{id}.{}-", "b".repeat(23)),
        ] {
            assert!(AudienceToken::parse(&text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn audience_token_is_redacted_in_debug() {
        let token = AudienceToken::mint();
        let (_, secret) = token.expose().split_once('.').expect("two parts");
        assert!(!format!("{token:?}").contains(secret));
        assert_eq!(format!("{} {:?}", token.id(), token.id()), format!("{0} {0}", token.id().as_str()));
    }
}
