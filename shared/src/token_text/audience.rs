//! Format of an audience token: `infra_aud_` + ID (10 characters) + `.` + secret (24 characters).
//!
//! Services see audience tokens. The different prefix keeps programs and people from confusing them with session
//! tokens.

use std::fmt;

use super::TokenID;

/// The public part of an audience token. It names the token but grants no access.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AudienceTokenID(String);

impl TokenID for AudienceTokenID {
    const PREFIX: &'static str = "infra_aud_";

    fn new(id: String) -> Self {
        Self(id)
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
    use super::super::{AudienceToken, SessionToken};
    use crate::digest::sha256;

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
