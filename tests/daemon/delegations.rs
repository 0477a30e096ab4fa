//! Delegated sessions over HTTPS: their services, their end, and what survives a restart.

use infra_harness::api::{Answered, Api};
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_harness::services::{self, introspect, request_token, token, verify};
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

const WIKI: &str = "https://wiki.example.test";
const INACTIVE: &str = r#"{"active":false}"#;

fn daemon(provider: &Provider) -> Daemon {
    services::daemon(
        provider,
        &[
            &format!("{{name: wiki, audience: {WIKI}, credentials: [CREDENTIAL], allow: everyone}}"),
            "{name: payroll, credentials: [CREDENTIAL], allow: [{provider: okta, groups: [finance]}]}",
            "{name: old, credentials: [CREDENTIAL], allow: everyone, acceptSessionToken: true}",
            "{name: other, credentials: [CREDENTIAL], allow: everyone, acceptSessionToken: true}",
        ],
    )
}

fn delegate(api: &Api, session: &str, audiences: &[&str]) -> Answered {
    let body = json!({"audiences": audiences, "lifetimeSeconds": 3600, "label": "agent"});
    Answered::of(api.request("POST", "/v1/delegations").bearer_auth(session).json(&body))
}

/// The token of a delegated session.
fn delegated(api: &Api, session: &str, audiences: &[&str]) -> String {
    let opened = delegate(api, session, audiences);
    assert_eq!(opened.status, 201, "{opened:?}");
    assert_eq!(opened.header("cache-control"), Some("no-store"));
    opened.json().get("token").and_then(Value::as_str).expect("a token").to_owned()
}

fn id(token: &str) -> String {
    SessionToken::parse(token).expect("a session token").id().to_string()
}

#[test]
fn delegated_session_is_limited_to_its_services() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = login::over_http(&daemon, &provider);
    let agent = delegated(&api, &session, &["wiki", "old"]);
    let shown = api.get_as("/v1/session", &agent).json();
    let delegation = json!({"parent": id(&session), "audiences": [WIKI, "old"], "label": "agent"});
    assert_eq!(shown["session"]["delegation"], delegation, "{shown}");
    assert!(api.get_as("/v1/session", &session).json()["session"].get("delegation").is_none());

    let of_agent = token(&api, &agent, "wiki");
    let actor = json!({"sub": "delegate:agent", "sid": id(&agent)});
    assert_eq!(introspect(&api, "wiki", &of_agent).json()["act"], actor);
    assert!(introspect(&api, "wiki", &token(&api, &session, "wiki")).json().get("act").is_none());
    let verified = verify(&api, "wiki", &of_agent);
    assert_eq!((verified.status, verified.header("x-infra-actor")), (200, Some("delegate%3Aagent")));
    for audience in ["other", "payroll"] {
        let refused = request_token(&api, &agent, audience);
        assert_eq!(refused.status, 403, "{audience}: {refused:?}");
    }
    assert_eq!(request_token(&api, &agent, "other").problem().code, ProblemCode::Delegated);
    // Services that accept session tokens: only the one in the list.
    assert_eq!(introspect(&api, "old", &agent).json()["active"], true);
    assert_eq!(introspect(&api, "other", &agent).body, INACTIVE);
    assert_eq!(verify(&api, "other", &agent).status, 401);
    assert_eq!(introspect(&api, "other", &session).json()["active"], true);
}

#[test]
fn delegation_needs_services_that_admit_the_user() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = login::over_http(&daemon, &provider);
    assert_eq!(delegate(&api, &session, &["wiki", "payroll"]).problem().code, ProblemCode::Forbidden);
    assert_eq!(delegate(&api, &session, &["wiki", "nowhere"]).problem().code, ProblemCode::NotFound);
    assert_eq!(delegate(&api, &session, &[]).problem().code, ProblemCode::BadRequest);
    let agent = delegated(&api, &session, &["wiki"]);
    assert_eq!(delegate(&api, &agent, &["wiki"]).problem().code, ProblemCode::Delegated);
    let of_wiki = token(&api, &session, "wiki");
    assert_eq!(delegate(&api, &of_wiki, &["wiki"]).problem().code, ProblemCode::NotAuthenticated);
    let listed = api.get_as("/v1/sessions", &session).json();
    assert_eq!(listed["sessions"].as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn delegated_session_ends_with_parent_at_once() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let api = daemon.api();
    let session = login::over_http(&daemon, &provider);
    let (first, second) = (delegated(&api, &session, &["wiki"]), delegated(&api, &session, &["wiki"]));
    let of_first = token(&api, &first, "wiki");
    assert_eq!(api.delete_as("/v1/session", &second).status, 204);
    assert_eq!(api.get_as("/v1/session", &second).problem().code, ProblemCode::SessionRevoked);
    assert_eq!(introspect(&api, "wiki", &of_first).json()["active"], true, "each ends alone");
    daemon.restart();
    let api = daemon.api();
    assert_eq!(api.get_as("/v1/session", &first).status, 200, "it survives a restart");

    assert_eq!(api.delete_as("/v1/session", &session).status, 204);
    assert_eq!(api.get_as("/v1/session", &first).problem().code, ProblemCode::SessionRevoked);
    assert_eq!(introspect(&api, "wiki", &of_first).body, INACTIVE);
    daemon.restart();
    assert_eq!(daemon.api().get_as("/v1/session", &first).status, 401);
}

#[test]
fn operator_sees_and_ends_delegated_sessions() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let session = login::over_http(&daemon, &provider);
    let agent = delegated(&api, &session, &["wiki"]);
    let table = daemon.infrad(["sessions", "list"]).wait().expect(0).stdout;
    let expected = format!("delegated to agent by {}", id(&session));
    assert!(table.lines().any(|line| line.starts_with(&id(&agent)) && line.contains(&expected)), "{table}");
    let listed: Value = daemon.infrad(["sessions", "list", "--json"]).wait().expect(0).json();
    let sessions = listed["sessions"].as_array().expect("a list");
    let labels: Vec<_> = sessions.iter().filter_map(|it| it["delegation"]["label"].as_str()).collect();
    assert_eq!(labels, ["agent"], "{listed}");
    let parent = id(&session);
    let ran = daemon.infrad(["sessions", "revoke", &parent]).wait();
    ran.expect(0);
    assert_eq!(api.get_as("/v1/session", &agent).status, 401);
}
