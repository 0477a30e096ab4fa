//! A provider that answers too slowly, at too great length, or malformed. The daemon rejects it within the limits, and
//! the next honest login works.

use std::time::Duration;

use infra_harness::api::Answered;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Delivery};
use infra_harness::login::{self, Started};
use infra_harness::pending_login::AuthorizationResponse;
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Misbehaviour, Provider};
use serde_json::json;

/// The endpoints that the daemon calls during an exchange.
const ENDPOINTS: [Endpoint; 3] = [Endpoint::Token, Endpoint::Keys, Endpoint::UserInfo];

type Edit = fn(&mut Answer);

#[test]
fn missing_answers_time_out() {
    let never: Edit = |answer| answer.delivery = Delivery::Never;
    assert_refused_at_each_endpoint(never);
}

#[test]
fn dripping_answers_time_out() {
    let drip: Edit = |answer| answer.delivery = Delivery::Dripping { every: Duration::from_millis(200) };
    assert_refused_at_each_endpoint(drip);
}

#[test]
fn several_slow_answers_share_one_timeout() {
    let (provider, daemon) = started();
    let slow: Edit = |answer| answer.delivery = Delivery::After(Duration::from_secs(4));
    let misbehaviour =
        ENDPOINTS.into_iter().fold(Misbehaviour::default(), |all, endpoint| all.answer(endpoint, slow));
    let (login, response) = signed_in(&provider, &daemon);
    provider.misbehave(misbehaviour.id_token(|draft| draft.set_claim("email", json!(null))));
    // Each answer alone comes in time.
    let answered = login.finish(&response);
    assert_eq!(answered.status, 502, "{answered:?}");
    assert_next_login_works(&provider, &daemon);
}

#[test]
fn endless_answers_are_cut_off() {
    let endless: Edit = |answer| answer.delivery = Delivery::Endless;
    assert_refused_at_each_endpoint(endless);
}

#[test]
fn malformed_answers_are_refused() {
    let edits: [Edit; 8] = [
        |answer| answer.status = 500,
        |answer| answer.status = 204,
        |answer| *answer = Answer::redirect("https://127.0.0.1:9/elsewhere"),
        |answer| answer.set_header("content-type", "text/html"),
        |answer| answer.body = b"null".to_vec(),
        |answer| answer.body.truncate(answer.body.len() / 2),
        |answer| answer.body = [b"[".repeat(50_000), b"]".repeat(50_000)].concat(),
        |answer| {
            // An object with every member twice.
            let members = answer.body.get(1..answer.body.len() - 1).unwrap_or_default().to_vec();
            answer.body = [b"{", members.as_slice(), b",", members.as_slice(), b"}"].concat();
        },
    ];
    edits.into_iter().for_each(assert_refused_at_each_endpoint);
}

#[test]
fn invalid_metadata_starts_no_login() {
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 8] = [
        |metadata| metadata["issuer"] = json!("https://other.example"),
        |metadata| metadata["issuer"] = json!(null),
        |metadata| metadata["authorization_endpoint"] = json!("http://127.0.0.1:9/authorize"),
        |metadata| metadata["authorization_endpoint"] = json!("javascript:alert(1)"),
        |metadata| metadata["token_endpoint"] = json!(7),
        |metadata| metadata["code_challenge_methods_supported"] = json!(["plain"]),
        |metadata| metadata["response_types_supported"] = json!(["token"]),
        |metadata| metadata["jwks_uri"] = json!("file:///etc/passwd"),
    ];
    for change in changes {
        let provider = Provider::start();
        let daemon = Daemon::start(&provider);
        provider.misbehave(Misbehaviour::default().json(Endpoint::Discovery, change));
        assert_eq!(start(&daemon).status, 502);
        assert_next_login_works(&provider, &daemon);
    }
}

#[test]
fn unreadable_metadata_starts_no_login() {
    let edits: [Edit; 5] = [
        |answer| answer.delivery = Delivery::Never,
        |answer| answer.delivery = Delivery::Endless,
        |answer| answer.status = 404,
        |answer| *answer = Answer::redirect("https://127.0.0.1:9/elsewhere"),
        |answer| answer.body = b"{".to_vec(),
    ];
    for edit in edits {
        let provider = Provider::start();
        let daemon = Daemon::start(&provider);
        provider.misbehave(Misbehaviour::default().answer(Endpoint::Discovery, edit));
        assert_eq!(start(&daemon).status, 502);
        assert_next_login_works(&provider, &daemon);
    }
}

/// Tests the endpoints concurrently, because most of the time is spent waiting.
fn assert_refused_at_each_endpoint(edit: Edit) {
    std::thread::scope(|scope| {
        for endpoint in ENDPOINTS {
            scope.spawn(move || assert_refused(endpoint, edit));
        }
    });
}

/// Asserts that a login with this misbehaviour is refused before the client gives up, and that the next login works.
fn assert_refused(endpoint: Endpoint, edit: Edit) {
    let (provider, daemon) = started();
    let (login, response) = signed_in(&provider, &daemon);
    // Without an e-mail in the ID token, the daemon calls the userinfo endpoint.
    let misbehaviour = Misbehaviour::default().id_token(|draft| draft.set_claim("email", json!(null)));
    provider.misbehave(misbehaviour.answer(endpoint, edit));
    let answered = login.finish(&response);
    let status = answered.status;
    assert!(status == 502 || status == 403, "{endpoint:?}: {answered:?}\n{}", daemon.log());
    assert!(provider.calls(endpoint) > 0, "{endpoint:?} was never asked\n{}", daemon.log());
    assert!(!daemon.complete_log().contains(CLIENT_SECRET), "the client secret is in the log");
    assert_next_login_works(&provider, &daemon);
}

fn started() -> (Provider, Daemon) {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    (provider, daemon)
}

fn signed_in(provider: &Provider, daemon: &Daemon) -> (Started, AuthorizationResponse) {
    let login = Started::at(daemon);
    let response = login.sign_in(provider);
    (login, response)
}

fn start(daemon: &Daemon) -> Answered {
    let port = *daemon.redirect_ports().first().expect("a port for redirects");
    let body = json!({
        "provider": "okta",
        "redirectURI": format!("http://127.0.0.1:{port}/callback"),
        "state": "s".repeat(43),
        "codeChallenge": "c".repeat(43),
    });
    daemon.api().post("/v1/logins", &body)
}

fn assert_next_login_works(provider: &Provider, daemon: &Daemon) {
    provider.behave();
    let token = login::over_http(daemon, provider);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200);
}
