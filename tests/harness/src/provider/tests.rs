//! Tests of the test provider itself: honest by default, and hostile on request.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;
use crate::browser::client;
use crate::https::{parameter, parameters};

const REDIRECT_URI: &str = "http://127.0.0.1:8301/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn dial(provider: &Provider) -> Client {
    client(&[provider.authority_file()]).expect("the provider's authority")
}

/// Returns the query of the authorization response.
fn authorize(provider: &Provider) -> Vec<(String, String)> {
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER.as_bytes()));
    let query = [
        ("client_id", CLIENT_ID),
        ("redirect_uri", REDIRECT_URI),
        ("response_type", "code"),
        ("scope", "openid email"),
        ("state", "s"),
        ("nonce", "n"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    let url =
        url::Url::parse_with_params(&format!("{}/v1/authorize", provider.issuer()), query).expect("a URL");
    let response = dial(provider).get(url).send().expect("an answer");
    let location = response.headers().get("location").expect("a redirect").to_str().expect("text").to_owned();
    assert!(location.starts_with(REDIRECT_URI), "{location}");
    parameters(location.split_once('?').expect("a query").1.as_bytes())
}

fn exchange(provider: &Provider, code: &str, verifier: &str, secret: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", verifier),
    ];
    let request = dial(provider).post(format!("{}/v1/token", provider.issuer())).form(&form);
    let response = request.basic_auth(CLIENT_ID, Some(secret)).send().expect("an answer");
    (response.status().as_u16(), response.json().expect("JSON"))
}

fn claims(id_token: &Value) -> Value {
    let payload = id_token.as_str().and_then(|token| token.split('.').nth(1)).expect("three parts");
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}

#[test]
fn honest_login_returns_id_token_with_its_nonce() {
    let provider =
        Provider::start_with(Settings { issuer_path: "/oauth2/default".to_owned(), ..Settings::default() });
    let response = authorize(&provider);
    let code = parameter(&response, "code").expect("a code");
    assert_eq!(parameter(&response, "state").as_deref(), Some("s"));
    assert_eq!(parameter(&response, "iss").as_deref(), Some(provider.issuer()));

    let (status, tokens) = exchange(&provider, &code, VERIFIER, CLIENT_SECRET);

    assert_eq!(status, 200, "{tokens}");
    let claims = claims(&tokens["id_token"]);
    assert_eq!((&claims["nonce"], &claims["sub"]), (&json!("n"), &json!("sub-alice")));
    assert_eq!(claims["iss"], json!(provider.issuer()));
    let userinfo = dial(&provider).get(format!("{}/v1/userinfo", provider.issuer()));
    let person: Value = userinfo
        .bearer_auth(tokens["access_token"].as_str().expect("a token"))
        .send()
        .and_then(reqwest::blocking::Response::json)
        .expect("JSON");
    assert_eq!(person["sub"], claims["sub"]);
    assert_eq!((provider.calls(Endpoint::Token), provider.calls(Endpoint::UserInfo)), (1, 1));
}

#[test]
fn code_is_accepted_once_with_verifier_and_secret() {
    let provider = Provider::start();
    let code = || parameter(&authorize(&provider), "code").expect("a code");

    let (wrong_secret, with_another_verifier, again) = (code(), code(), code());
    assert_eq!(exchange(&provider, &wrong_secret, VERIFIER, "guess").0, 401);
    assert_eq!(exchange(&provider, &with_another_verifier, &VERIFIER.to_lowercase(), CLIENT_SECRET).0, 400);
    assert_eq!(exchange(&provider, &again, VERIFIER, CLIENT_SECRET).0, 200);
    assert_eq!(exchange(&provider, &again, VERIFIER, CLIENT_SECRET).0, 400);
}

#[test]
fn cancelled_sign_in_returns_error_response() {
    let provider = Provider::start();
    provider.person(Person::Cancels);
    assert_eq!(parameter(&authorize(&provider), "error").as_deref(), Some("access_denied"));
}

#[test]
fn misbehaviour_changes_responses_and_id_tokens_until_reset() {
    let provider = Provider::start();
    let nonce = || {
        let code = parameter(&authorize(&provider), "code").expect("a code");
        claims(&exchange(&provider, &code, VERIFIER, CLIENT_SECRET).1["id_token"])["nonce"].clone()
    };

    provider.misbehave(
        Misbehaviour::default()
            .claim("nonce", json!("other"))
            .json(Endpoint::Discovery, |metadata| metadata["issuer"] = json!("https://other")),
    );
    let discovery = format!("{}/.well-known/openid-configuration", provider.issuer());
    let metadata: Value =
        dial(&provider).get(&discovery).send().and_then(reqwest::blocking::Response::json).expect("JSON");
    assert_eq!((nonce(), &metadata["issuer"]), (json!("other"), &json!("https://other")));

    provider.behave();
    assert_eq!(nonce(), json!("n"));
}

#[test]
fn endless_response_never_ends_and_dripping_one_is_slow() {
    use crate::https::Delivery;
    use std::io::Read;
    let provider = Provider::start();
    let discovery = format!("{}/.well-known/openid-configuration", provider.issuer());

    provider.misbehave(
        Misbehaviour::default().answer(Endpoint::Discovery, |answer| answer.delivery = Delivery::Endless),
    );
    let mut read = Vec::new();
    let response = dial(&provider).get(&discovery).send().expect("an answer");
    response.take(1_000_000).read_to_end(&mut read).expect("a million bytes");
    assert_eq!(read.len(), 1_000_000);

    provider.misbehave(Misbehaviour::default().answer(Endpoint::Discovery, |answer| {
        answer.body = b"{}".to_vec();
        answer.delivery = Delivery::Dripping { every: std::time::Duration::from_millis(5) };
    }));
    let body =
        dial(&provider).get(&discovery).send().and_then(reqwest::blocking::Response::text).expect("a body");
    assert_eq!(body, "{}");
}
