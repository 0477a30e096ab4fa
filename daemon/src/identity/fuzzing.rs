//! Fuzz targets for `tests/fuzz`: arbitrary bytes from a provider, and the invariants that must hold.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::printable::is_printable;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::outbound::OutboundResponse;

type Target = (&'static str, fn(&[u8]));

pub(crate) const FUZZ_TARGETS: &[Target] = &[
    ("id_token", id_token),
    ("signing_keys", signing_keys),
    ("discovery", discovery),
    ("token_response", token_response),
    ("user_info", user_info),
];

const ISSUER: &str = "https://issuer.test";
const NOW: i64 = 1_000_000;

/// Fuzzes a token as is. If the first byte is 1, our own key signs header and claims (split by a NUL), so that the
/// checks after the signature are reached too.
fn id_token(input: &[u8]) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("any seed is a key");
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let set = serde_json::json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "ours", "x": encode(pair.public_key().as_ref())}
    ]});
    let keys = signing_keys::read(set.as_object().expect("an object")).expect("a key");
    let token = match input {
        [1, rest @ ..] => {
            let mut parts = rest.splitn(2, |byte| *byte == 0);
            let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = encode(pair.sign(signed.as_bytes()).as_ref());
            format!("{signed}.{signature}")
        }
        other => String::from_utf8_lossy(other).into_owned(),
    };
    let (nonce, access_token) = (SecretString::from("nonce"), SecretString::from("access token"));
    let client = Client {
        id: "client",
        additional_audiences: &[],
        nonce: &nonce,
        flow: Flow::Login,
        access_token: &access_token,
    };
    let expected = Expectations {
        issuer: ISSUER,
        recipient: Recipient::Client(client),
        algorithms: &[SigningAlgorithm::EdDSA, SigningAlgorithm::RS256],
        now: Timestamp::from_second(NOW).expect("a time"),
    };
    let verify = |token: &str, expected: &Expectations<'_>| {
        id_token::verify(&token.to_owned().into(), expected, &keys)
    };
    let Ok(verified) = verify(&token, &expected) else { return };

    assert!(input.first() == Some(&1), "an unsigned token: {token}");
    assert_eq!(verified.claims["iss"], ISSUER);
    assert_eq!(verified.claims["nonce"], "nonce");
    assert!(verified.claims["exp"].as_f64().is_some_and(|expiry| expiry + 60.0 > 1_000_000.0));
    assert!(
        (1..=255).contains(&verified.subject.len())
            && verified.subject.bytes().all(|byte| !byte.is_ascii_control())
    );
    // The token must fail for any other login, client, issuer or time, and after any change.
    let other = SecretString::from("other");
    for expected in [
        Expectations { recipient: Recipient::Client(Client { nonce: &other, ..client }), ..expected },
        Expectations { recipient: Recipient::Client(Client { id: "another", ..client }), ..expected },
        Expectations { issuer: "https://other.test", ..expected },
        Expectations { algorithms: &[SigningAlgorithm::RS256], ..expected },
        Expectations { now: Timestamp::from_second(NOW + 700).expect("a time"), ..expected },
    ] {
        assert!(verify(&token, &expected).is_err(), "{token}");
    }
    let dot = token.rfind('.').unwrap_or_default();
    let changed = token.char_indices().map(|(at, byte)| match byte {
        'A' if at + 1 == dot => 'Q',
        'B'..='z' if at + 1 == dot => 'A',
        other => other,
    });
    let changed: String = changed.collect();
    assert!(changed == token || verify(&changed, &expected).is_err(), "{token}");
    assert!(
        verify(&format!("{token}.A"), &expected).is_err() && verify(&format!(" {token}"), &expected).is_err()
    );
}

fn signing_keys(input: &[u8]) {
    let Some(document) = json::object(input) else { return };
    let Ok(keys) = signing_keys::read(&document) else { return };
    assert!((1..=32).contains(&keys.len()));
    let again = signing_keys::read(&document).expect("the same again");
    assert_eq!(keys.len(), again.len());
    let printed = serde_json::to_vec(&document).expect("JSON");
    assert_eq!(json::object(&printed).as_ref(), Some(&document), "printed and read again it is another");
}

fn discovery(input: &[u8]) {
    let Some(document) = json::object(input) else { return };
    let Ok(metadata) = metadata::read(&document, &settings()) else { return };
    assert_eq!(document["issuer"], ISSUER);
    let endpoints = [&metadata.authorization_endpoint, &metadata.token_endpoint, &metadata.jwks_uri];
    for url in endpoints.into_iter().chain(&metadata.userinfo_endpoint) {
        assert_eq!(url.scheme(), "https", "{url}");
        assert!(url.host().is_some() && url.username().is_empty() && url.fragment().is_none(), "{url}");
    }
    let (nonce, request) = (SecretString::from("nonce"), "http://127.0.0.1:8301/callback");
    let url = authorization_url::build(
        &metadata,
        &settings(),
        &AuthorizationRequest {
            redirect_uri: request,
            state: "state",
            nonce: &nonce,
            code_challenge: "challenge",
        },
    )
    .expect("a URL");
    for (name, value) in
        [("state", "state"), ("nonce", "nonce"), ("redirect_uri", request), ("code_challenge_method", "S256")]
    {
        let mut values = url.query_pairs().filter(|(parameter, _)| parameter == name);
        assert_eq!(values.next().expect("ours").1, value, "{url}");
        assert!(values.next().is_none(), "{name} twice: {url}");
    }
}

/// Fuzzes a token response. The first byte chooses the status.
fn token_response(input: &[u8]) {
    let (first, body) = input.split_first().unwrap_or((&0, &[]));
    let status = [200, 400, 401, 500].get(usize::from(first % 4)).copied().unwrap_or(200);
    match oauth_client::parse(&response(status, body)) {
        Ok(tokens) => {
            assert_eq!(status, 200);
            assert!(tokens.id_token.is_none_or(|token| !token.expose_secret().is_empty()));
            assert!(!tokens.access_token.expose_secret().is_empty());
        }
        Err(error) => is_our_own_text(&oauth_client::identity_error(error, &settings()).to_string()),
    }
}

/// Fuzzes userinfo claims and what is accepted from them.
fn user_info(input: &[u8]) {
    let read = user_info::read(&response(200, input), "alice");
    let claims = match read {
        Ok(claims) => claims,
        Err(error) => return is_our_own_text(&error.to_string()),
    };
    assert_eq!(claims["sub"], "alice");
    let identity = match claims::identity(
        "alice",
        claims::ClaimSets { id_token: None, user_info: Some(&claims) },
        &settings(),
    ) {
        Ok(identity) => identity,
        Err(error) => return is_our_own_text(&error.to_string()),
    };
    assert!(identity.groups().len() <= 256);
    let texts = identity.groups().iter().map(String::as_str).chain(identity.name()).chain(identity.email());
    for text in texts {
        assert!((1..=256).contains(&text.len()) && text.chars().all(is_printable), "{text:?}");
    }
}

/// Errors are logged, so none may repeat the provider's text.
fn is_our_own_text(error: &str) {
    assert!(error.len() < 300 && error.chars().all(is_printable), "{error:?}");
}

fn response(status: u16, body: &[u8]) -> OutboundResponse {
    let content_type = Some("application/json".to_owned());
    OutboundResponse { status, content_type, headers: HeaderMap::new(), body: body.to_vec() }
}

fn settings() -> ProviderSettings {
    ProviderSettings {
        issuer: ISSUER.to_owned(),
        client_id: "client".to_owned(),
        scopes: vec!["openid".to_owned()],
        ..ProviderSettings::unreachable()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpora_and_mutations_hold_invariants() {
        infra_harness::fuzz::replay(super::FUZZ_TARGETS);
    }
}
