//! Authorization responses (RFC 6749 §4.1.2, RFC 9207) that belong to this login and carry no code. Responses for other
//! logins never end the wait: `tests/cli/refusals.rs`, `tests/cli/storm.rs`, `tests/vectors/callback`.

use std::net::TcpStream;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::pending_login::{AuthorizationResponse, PendingLogin};
use infra_harness::program::User;
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_harness::wait;
use serde_json::json;

type Change = fn(AuthorizationResponse) -> AuthorizationResponse;

#[test]
fn response_without_code_leaves_no_session() {
    let denied: Change = |response| response.without("code").with("error", "access_denied");
    let away: Change = |response| response.without("code").with("error", "temporarily_unavailable");
    let unknown: Change = |response| {
        response.without("code").with("error", "\u{1b}[31mcanary").with("error_description", "canary")
    };
    let other_issuer: Change = |response| response.with("iss", "https://other.example");
    let no_issuer: Change = |response| response.without("iss");
    for (id, change, code) in [
        ("AR-07 denied", denied, 6),
        ("AR-08 away", away, 4),
        ("AR-09 an unknown error", unknown, 6),
        ("AR-10 another issuer", other_issuer, 6),
        ("AR-11 no issuer though it promised one", no_issuer, 6),
    ] {
        let (provider, alice) = (Provider::start(), User::new());
        let daemon = Daemon::start(&provider);
        let pending = PendingLogin::begin(login::call(&alice, &daemon));
        let honest = pending.sign_in(&provider);
        let (_, page) = pending.respond(&change(honest.clone()));
        let ran = pending.wait();
        assert_eq!(ran.code, Some(code), "{id}\n{ran}");
        assert!(ran.stdout.is_empty(), "{id}\n{ran}");
        for text in [&page, &ran.stderr] {
            assert!(!text.contains("canary") && !text.contains(&honest.parameter("code")), "{id}: {text}");
        }
        assert_eq!(provider.calls(Endpoint::Token), 0, "{id}: a code was exchanged");
        assert!(!alice.file("sessions.json").unwrap_or_default().contains("infra_"), "{id}");
        login::succeed(&alice, &daemon, &provider);
    }
}

#[test]
fn response_may_omit_iss_unless_provider_advertises_it() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    provider.misbehave(Misbehaviour::default().json(Endpoint::Discovery, |metadata| {
        metadata["authorization_response_iss_parameter_supported"] = json!(false);
    }));
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let response = pending.sign_in(&provider).without("iss");
    assert_eq!(pending.respond(&response).0, 200);
    pending.wait().expect(0);
}

#[test]
fn listener_closes_when_login_ends() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let response = pending.sign_in(&provider);
    let port: u16 =
        response.redirect_uri.split([':', '/']).nth(4).and_then(|port| port.parse().ok()).expect("a port");
    assert_eq!(pending.respond(&response).0, 200);
    pending.wait().expect(0);
    let closed = wait::until(Duration::from_secs(1), || {
        TcpStream::connect(("127.0.0.1", port)).is_err().then_some(())
    });
    assert!(closed.is_some(), "the listener is still open at port {port}");
}
