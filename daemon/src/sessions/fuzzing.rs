//! Fuzz targets for input that unauthenticated clients send: tickets, tokens and bodies. Used by `tests/fuzz`.

use infra_shared::api::{
    AudienceTokenRequest, DelegationRequest, FinishLoginRequest, Logout, StartLoginRequest,
};
use infra_shared::login_binding::BoundVerifier;
use infra_shared::token_text::{AudienceToken, LogoutProof, ServiceToken, SessionID, SessionToken};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ticket::Ticket;
use crate::keys::TicketKey;

type Target = (&'static str, fn(&[u8]));

pub(crate) const FUZZ_TARGETS: &[Target] =
    &[("ticket", ticket), ("session_token", session_token), ("api_bodies", api_bodies)];

/// Forged tickets never open. Arbitrary sealed contents either fail to parse or survive a round trip.
fn ticket(input: &[u8]) {
    let key = TicketKey::fixed(&[7; 32]);
    let text = SecretString::from(String::from_utf8_lossy(input).into_owned());
    assert!(Ticket::open(&text, &key).is_err(), "a forged ticket");

    let Ok(opened) = Ticket::open(&key.seal(input), &key) else { return };
    let again = Ticket::open(&opened.seal(&key), &key).expect("our own");
    assert_eq!((opened.id, opened.expires_at), (again.id, again.expires_at));
    assert_eq!((&opened.provider, &opened.redirect_uri), (&again.provider, &again.redirect_uri));
    assert_eq!(
        (&opened.code_challenge, opened.nonce.expose_secret()),
        (&again.code_challenge, again.nonce.expose_secret())
    );
}

/// Every credential of a session or login that parses is displayed exactly as it was written.
fn session_token(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Some(token) = SessionToken::parse(text) {
        assert_eq!((token.expose(), text.len()), (text, 41));
        assert!(text.contains(token.id().as_str()) && !format!("{token:?}").contains(&text[17..]));
    }
    if let Some(token) = AudienceToken::parse(text) {
        assert_eq!((token.expose(), text.len()), (text, 45));
        assert!(SessionToken::parse(text).is_none() && !format!("{token:?}").contains(&text[21..]));
    }
    if let Some(token) = ServiceToken::parse(text) {
        assert_eq!(token.expose(), text);
        assert!(SessionToken::parse(text).is_none() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    if let Some(id) = SessionID::parse(text) {
        assert_eq!((id.as_str(), text.len()), (text, 10));
    }
    if let Some(proof) = LogoutProof::parse(text) {
        assert_eq!(proof.to_text(), text);
    }
    if let Some(verifier) = BoundVerifier::parse(text.into()) {
        assert_eq!(verifier.expose().expose_secret(), text);
        assert_eq!(verifier.challenge().len(), 43);
    }
}

fn api_bodies(input: &[u8]) {
    says_the_same_again::<StartLoginRequest>(input);
    says_the_same_again::<FinishLoginRequest>(input);
    says_the_same_again::<Logout>(input);
    says_the_same_again::<AudienceTokenRequest>(input);
    says_the_same_again::<DelegationRequest>(input);
}

fn says_the_same_again<T: Serialize + DeserializeOwned>(input: &[u8]) {
    let Ok(body) = serde_json::from_slice::<T>(input) else { return };
    let printed = serde_json::to_vec(&body).expect("JSON");
    let again: T = serde_json::from_slice(&printed).expect("what was printed is read");
    assert_eq!(serde_json::to_vec(&again).expect("JSON"), printed);
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpora_and_mutations_hold_invariants() {
        infra_harness::fuzz::replay(super::FUZZ_TARGETS);
    }
}
