//! Binds a login to the one daemon that the user dialled, so that nobody can relay it to another.
//!
//! The PKCE code verifier (RFC 7636 §4.1) carries, behind its random part, a hash of the origin and of the pin through
//! which the client reached the daemon. A daemon that is not the one dialled finds a binding that is not its own.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::origin::Origin;
use crate::pin::Pin;
use crate::random;

/// Random characters in a verifier: 43 of 62, 256 bits (RFC 7636 §7.1 asks for 256).
const RANDOM_CHARACTERS: usize = 43;

/// A PKCE code verifier that is bound to one daemon.
#[derive(Debug, Clone)]
pub struct BoundVerifier(SecretString);

impl BoundVerifier {
    /// Draws a verifier for a login at the daemon reached as `origin`, proven by `pin` where one is held.
    #[must_use]
    pub fn mint(origin: &Origin, pin: Option<&Pin>) -> Self {
        let random = random::alphanumeric(RANDOM_CHARACTERS);
        Self(format!("{random}.{}", binding(origin, pin)).into())
    }

    /// The verifier as a client sent it; `None` when it does not have the form of one.
    #[must_use]
    pub fn parse(text: SecretString) -> Option<Self> {
        let (random, binding) = text.expose_secret().split_once('.')?;
        let well_formed = random.len() == RANDOM_CHARACTERS
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && binding.len() == 43
            && binding.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        well_formed.then_some(Self(text))
    }

    /// The text that goes to the token endpoint as `code_verifier`.
    #[must_use]
    pub fn expose(&self) -> &SecretString {
        &self.0
    }

    /// The `S256` code challenge of this verifier (RFC 7636 §4.2).
    #[must_use]
    pub fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }

    /// Whether this verifier was minted for a login at `origin`, proven by `pin`.
    #[must_use]
    pub fn is_bound_to(&self, origin: &Origin, pin: Option<&Pin>) -> bool {
        let text = self.0.expose_secret();
        text.split_once('.')
            .is_some_and(|(_, bound)| bound.as_bytes().ct_eq(binding(origin, pin).as_bytes()).into())
    }
}

/// base64url(SHA-256(origin ‖ pin or nothing)). The origin has no control characters, so the zero byte ends it.
fn binding(origin: &Origin, pin: Option<&Pin>) -> String {
    let mut hash = Sha256::new();
    hash.update(origin.to_string());
    hash.update([0]);
    if let Some(pin) = pin {
        hash.update(pin.as_bytes());
    }
    BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().expect("an origin")
    }

    #[test]
    fn the_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = BoundVerifier("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn a_verifier_is_bound_to_its_own_daemon_only() {
        let (pin, other_pin) = (Pin::of_public_key(b"a"), Pin::of_public_key(b"b"));
        let verifier = BoundVerifier::mint(&origin("a.test"), Some(&pin));

        assert!(verifier.is_bound_to(&origin("a.test"), Some(&pin)));
        assert!(!verifier.is_bound_to(&origin("b.test"), Some(&pin)));
        assert!(!verifier.is_bound_to(&origin("a.test:8443"), Some(&pin)));
        assert!(!verifier.is_bound_to(&origin("a.test"), Some(&other_pin)));
        assert!(!verifier.is_bound_to(&origin("a.test"), None));
        assert!(!BoundVerifier::mint(&origin("a.test"), None).is_bound_to(&origin("a.test"), Some(&pin)));
    }

    #[test]
    fn a_minted_verifier_has_the_form_that_is_parsed() {
        let minted = BoundVerifier::mint(&origin("a.test"), None);
        let length = minted.expose().expose_secret().len();
        assert!((43..=128).contains(&length), "RFC 7636 §4.1 allows 43 to 128 characters, this is {length}");
        assert!(BoundVerifier::parse(minted.expose().clone()).is_some());
    }

    #[test]
    fn another_form_is_refused() {
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
