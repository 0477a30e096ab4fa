//! Signing keys that a provider rotates: between logins, during a login, and without a key ID.

use infra_harness::daemon::Daemon;
use infra_harness::login::{self, Started};
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_shared::api::ProblemCode;

#[test]
fn keys_rotated_between_logins_are_fetched_once() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    login::over_http(&daemon, &provider);
    assert_eq!(provider.calls(Endpoint::Keys), 1);
    provider.rotate_keys();
    login::over_http(&daemon, &provider);
    login::over_http(&daemon, &provider);
    assert_eq!(provider.calls(Endpoint::Keys), 2);
}

#[test]
fn keys_rotated_during_login_are_fetched() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    let started = Started::at(&daemon);
    let response = started.sign_in(&provider);
    provider.rotate_keys();
    assert_eq!(started.finish(&response).status, 201);
}

#[test]
fn keys_rotated_without_kid_are_fetched() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let unnamed = Misbehaviour::default().id_token(|draft| {
        draft.header.as_object_mut().expect("an object").remove("kid");
    });
    provider.misbehave(unnamed);
    login::over_http(&daemon, &provider);
    provider.rotate_keys();
    login::over_http(&daemon, &provider);
    assert_eq!(provider.calls(Endpoint::Keys), 2);
}

#[test]
fn unknown_kids_cause_one_key_fetch() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    provider.misbehave(
        Misbehaviour::default().id_token(|draft| draft.header["kid"] = serde_json::json!("nobody's")),
    );
    for _ in 0..10 {
        let started = Started::at(&daemon);
        let refused = started.finish(&started.sign_in(&provider));
        assert_eq!(refused.problem().code, ProblemCode::LoginRejected);
    }
    assert_eq!(provider.calls(Endpoint::Keys), 2, "ten tokens, one more look");
    provider.behave();
    login::over_http(&daemon, &provider);
}
