//! Binds a login to the daemon and provider that the user chose, so that an attacker cannot relay it to another daemon
//! or provider.
//!
//! The PKCE code verifier (RFC 7636 §4.1) consists of a random part and a hash of the [`LoginBinding`]. If another
//! daemon receives it, or the ticket is for another provider, the hash does not match (RFC 9700 §4.4: mix-up).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::digest::sha256;
use crate::origin::Origin;
use crate::pin::Pin;
use crate::random;

/// Random characters in a verifier: 43 out of an alphabet of 62, 256 bits (RFC 7636 §7.1 recommends 256).
const RANDOM_CHARACTERS: usize = 43;

/// Domain separation: distinguishes this hash from all others and from earlier versions.
const LABEL: &str = "infra-login-v2";

/// What a login is bound to: the daemon as dialled and authenticated, and one of its identity providers.
#[derive(Debug, Clone, Copy)]
pub struct LoginBinding<'a> {
    pub origin: &'a Origin,
    /// Pin that authenticated the daemon, if any.
    pub pin: Option<&'a Pin>,
    /// The provider's name at the daemon and its issuer, byte for byte.
    pub provider: &'a str,
    pub issuer: &'a str,
}

/// A PKCE code verifier bound to one daemon and one provider.
#[derive(Debug, Clone)]
pub struct BoundVerifier(SecretString);

impl LoginBinding<'_> {
    /// base64url(SHA-256) of label, origin, pin (may be empty), provider and issuer. Each part is prefixed with its
    /// length, so different bindings never have the same input.
    fn hash(&self) -> String {
        let origin = self.origin.to_string();
        let pin = self.pin.map_or(&[][..], |pin| pin.as_bytes());
        let mut hash = Sha256::new();
        for part in
            [LABEL.as_bytes(), origin.as_bytes(), pin, self.provider.as_bytes(), self.issuer.as_bytes()]
        {
            hash.update(u64::try_from(part.len()).expect("a length fits 64 bits").to_be_bytes());
            hash.update(part);
        }
        BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
    }
}

impl BoundVerifier {
    /// Generates a verifier for one login.
    #[must_use]
    pub fn mint(binding: &LoginBinding<'_>) -> Self {
        let random = random::alphanumeric(RANDOM_CHARACTERS);
        Self(format!("{random}.{}", binding.hash()).into())
    }

    /// Parses a verifier from a client. Returns `None` if it is malformed.
    #[must_use]
    pub fn parse(text: SecretString) -> Option<Self> {
        let (random, binding) = text.expose_secret().split_once('.')?;
        let well_formed = random.len() == RANDOM_CHARACTERS
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && binding.len() == 43
            && binding.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        well_formed.then_some(Self(text))
    }

    /// The text for the token endpoint's `code_verifier`.
    #[must_use]
    pub fn expose(&self) -> &SecretString {
        &self.0
    }

    /// The `S256` code challenge of this verifier (RFC 7636 §4.2).
    #[must_use]
    pub fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(sha256(&[self.0.expose_secret().as_bytes()]))
    }

    /// Whether this verifier was minted with this binding.
    #[must_use]
    pub fn is_bound_to(&self, binding: &LoginBinding<'_>) -> bool {
        let text = self.0.expose_secret();
        text.split_once('.')
            .is_some_and(|(_, bound)| bound.as_bytes().ct_eq(binding.hash().as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn challenge_matches_rfc_7636_appendix_b() {
        let verifier = BoundVerifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn verifier_is_bound_to_its_daemon_and_provider() {
        let (pin, other_pin) = (Pin::of_public_key(b"a"), Pin::of_public_key(b"b"));
        let (here, elsewhere, port) = (origin("a.test"), origin("b.test"), origin("a.test:8443"));
        let bound =
            LoginBinding { origin: &here, pin: Some(&pin), provider: "okta", issuer: "https://login.test" };
        let verifier = BoundVerifier::mint(&bound);

        assert!(verifier.is_bound_to(&bound));
        for other in [
            LoginBinding { origin: &elsewhere, ..bound },
            LoginBinding { origin: &port, ..bound },
            LoginBinding { pin: Some(&other_pin), ..bound },
            LoginBinding { pin: None, ..bound },
            LoginBinding { provider: "dex", ..bound },
            LoginBinding { issuer: "https://login.test/", ..bound },
            LoginBinding { provider: "oktahttps://login.test", issuer: "", ..bound },
            LoginBinding { provider: "okt", issuer: "ahttps://login.test", ..bound },
        ] {
            assert!(!verifier.is_bound_to(&other), "{other:?}");
            assert!(!BoundVerifier::mint(&other).is_bound_to(&bound), "{other:?}");
        }
    }

    /// The form that `docs/api.md` describes for other clients. The expected value was computed with `sha256sum`.
    #[test]
    fn binding_matches_documented_form() {
        let origin = origin("infra.example.com");
        let bound =
            LoginBinding { origin: &origin, pin: None, provider: "okta", issuer: "https://example.okta.com" };
        assert_eq!(bound.hash(), "aJDjFf5zHW7j-XKm75myS6YNZIqOZDQUBUc1P3awgOo");
    }

    #[test]
    fn minted_verifier_is_parsed_again() {
        let origin = origin("a.test");
        let minted =
            BoundVerifier::mint(&LoginBinding { origin: &origin, pin: None, provider: "okta", issuer: "i" });
        let length = minted.expose().expose_secret().len();
        assert!((43..=128).contains(&length), "RFC 7636 §4.1 allows 43 to 128 characters, this is {length}");
        assert!(BoundVerifier::parse(minted.expose().clone()).is_some());
    }

    #[test]
    fn malformed_verifier_is_rejected() {
        let binding = "a".repeat(43);
        for text in [
            String::new(),
            "a".repeat(43),
            format!("{}.{binding}", "a".repeat(42)),
            format!("{}.{binding}", "-".repeat(43)),
            format!("{}.{binding}x", "a".repeat(43)),
            format!("{}.{}", "a".repeat(43), "+".repeat(43)),
        ] {
            assert!(BoundVerifier::parse(text.clone().into()).is_none(), "{text}");
        }
    }
}
