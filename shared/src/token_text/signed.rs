//! The form of a signed token, a JWT in compact serialization (RFC 7515 §7.1), and an audience token in either format.

use secrecy::{ExposeSecret, SecretString};

use super::AudienceToken;

/// A signed audience token of the daemon, by its form. It may not be valid.
#[derive(Debug, Clone)]
pub struct SignedToken(SecretString);

/// An audience token in either format.
#[derive(Debug, Clone)]
pub enum ServiceToken {
    /// Only the daemon can validate it.
    Opaque(AudienceToken),
    /// A service can validate it with the daemon's public keys.
    Signed(SignedToken),
}

/// Whether the text has three encoded parts with dots between them.
#[must_use]
pub fn is_signed_token(text: &str) -> bool {
    let is_encoded = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_encoded);
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

impl SignedToken {
    /// In bytes. Every token of the daemon is shorter: it bounds each part.
    pub const MAX_BYTES: usize = 8 * 1024;

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= Self::MAX_BYTES && is_signed_token(text)).then(|| Self(text.into()))
    }

    /// The whole text, for an `Authorization: Bearer` header, standard output or the sessions file.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl ServiceToken {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let signed = || SignedToken::parse(text).map(Self::Signed);
        AudienceToken::parse(text).map(Self::Opaque).or_else(signed)
    }

    /// The whole text, as the service gets it.
    #[must_use]
    pub fn expose(&self) -> &str {
        match self {
            Self::Opaque(token) => token.expose(),
            Self::Signed(token) => token.expose(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SessionToken;
    use super::*;

    const SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJhIn0.c2ln-_";

    #[test]
    fn only_three_encoded_parts_are_a_signed_token() {
        assert!(is_signed_token(SIGNED));
        for text in ["", "a", "a.b", "a.b.", "a.b.c.d", "a.b.c\n", "root:x:0:0:.b.c", "a.b.c=", "\0.b.c"] {
            assert!(!is_signed_token(text), "{text:?}");
        }
    }

    #[test]
    fn signed_token_is_bounded_and_redacted_in_debug() {
        let with = |bytes: usize| format!("a.b.{}", "c".repeat(bytes - 4));
        assert!(SignedToken::parse(&with(SignedToken::MAX_BYTES)).is_some());
        assert!(SignedToken::parse(&with(SignedToken::MAX_BYTES + 1)).is_none());
        let token = ServiceToken::parse(SIGNED).expect("a signed token");
        assert!(!format!("{token:?}").contains("c2ln"), "{token:?}");
    }

    #[test]
    fn service_token_is_an_audience_token_of_either_format() {
        let opaque = AudienceToken::mint();
        for text in [opaque.expose(), SIGNED] {
            assert_eq!(ServiceToken::parse(text).expect("an audience token").expose(), text);
        }
        assert!(matches!(ServiceToken::parse(SIGNED), Some(ServiceToken::Signed(_))));
        assert!(ServiceToken::parse(SessionToken::mint().expose()).is_none(), "a session token");
    }
}
