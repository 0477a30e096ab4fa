//! Listing and revoking sessions as users, administrators and operators.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::{Misbehaviour, Person, Provider};
use infra_harness::services;
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

/// A group and an address that make a user an administrator.
const ADMINS: &str = "admins: [{provider: okta, groups: [infra-admins], emails: [root@example.test]}]\n";

fn daemon(provider: &Provider) -> Daemon {
    Daemon::start_with(provider, |configuration| ADMINS.clone_into(&mut configuration.more))
}

/// Signs `person` in with these groups.
fn sign_in(daemon: &Daemon, provider: &Provider, person: &str, groups: &[&str]) -> String {
    provider.person(Person::SignsIn(person.to_owned()));
    let groups = json!(groups);
    provider.misbehave(Misbehaviour::default().claim("groups", groups));
    let token = login::over_http(daemon, provider);
    provider.behave();
    token
}

fn id(token: &str) -> String {
    SessionToken::parse(token).expect("the form of a token").id().to_string()
}

fn ids(listed: &Value) -> Vec<String> {
    let sessions = listed["sessions"].as_array().expect("a list");
    sessions.iter().map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn user_sees_only_own_sessions() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let api = daemon.api();
    let first = sign_in(&daemon, &provider, "alice", &[]);
    let others = sign_in(&daemon, &provider, "bob", &[]);
    let started = login::Started::at(&daemon);
    provider.person(Person::SignsIn("alice".to_owned()));
    let mut body = started.finish_body(&started.sign_in(&provider));
    body["device"] = json!("laptop\u{1b}[2J of\u{202e} alice");
    body["loginMethod"] = json!("paste");
    let second = api.post("/v1/logins/finish", &body).json()["token"].as_str().expect("a token").to_owned();

    let listed = api.get_as("/v1/sessions", &second);
    assert_eq!(listed.status, 200, "{listed:?}");
    let listed = listed.json();
    let mut seen = ids(&listed);
    seen.sort();
    let mut own = vec![id(&first), id(&second)];
    own.sort();
    assert_eq!(seen, own);
    let current = listed["sessions"].as_array().expect("a list").iter().find(|it| it["current"] == true);
    let current = current.expect("the one that asks");
    assert_eq!(current["id"], id(&second));
    assert_eq!(current["device"], "laptop[2J of alice", "what a terminal obeys is left out");
    assert_eq!((&current["loginMethod"], &current["address"]), (&json!("paste"), &Value::Null));
    assert!(!listed.to_string().contains(&second), "the token is repeated");
    assert_eq!(current["user"]["email"], "alice@example.test");
    assert_eq!(
        current["user"].get("groups"),
        None,
        "hundreds of them, once for each session, would be too much"
    );

    assert_eq!(api.get_as("/v1/sessions?user=bob", &second).problem().code, ProblemCode::Forbidden);
    assert_eq!(api.get_as("/v1/sessions?who=bob", &second).problem().code, ProblemCode::BadRequest);
    assert_eq!(api.get("/v1/sessions").status, 401);
    for other_id in [id(&others), "AAAAAAAAAA".to_owned(), "..%2f..".to_owned(), "%ff".to_owned()] {
        let refused = api.delete_as(&format!("/v1/sessions/{other_id}"), &second);
        assert_eq!(refused.problem().code, ProblemCode::NotFound, "{other_id}");
    }
    assert_eq!(api.get_as("/v1/session", &others).status, 200);
}

#[test]
fn revoked_session_is_refused_on_open_connection() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let (mine, lost) = (sign_in(&daemon, &provider, "alice", &[]), sign_in(&daemon, &provider, "alice", &[]));
    // Each has an open connection and is cached.
    let (api, of_thief) = (daemon.api(), daemon.api());
    assert_eq!(of_thief.get_as("/v1/session", &lost).status, 200);
    assert_eq!(api.delete_as(&format!("/v1/sessions/{}", id(&lost)), &mine).status, 204);
    assert_eq!(of_thief.get_as("/v1/session", &lost).problem().code, ProblemCode::SessionRevoked);
    assert_eq!(of_thief.get_as("/v1/sessions", &lost).problem().code, ProblemCode::NotAuthenticated);
    let again = api.delete_as(&format!("/v1/sessions/{}", id(&lost)), &mine);
    assert_eq!(again.problem().code, ProblemCode::NotFound);
    assert_eq!(api.get_as("/v1/session", &mine).status, 200);
}

#[test]
fn administrator_revokes_sessions_of_users_with_audit_event() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(&provider)], |_| {});
    let audit = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| {
        configuration.more = format!("{ADMINS}audit: {{file: {}}}\n", audit.display());
        configuration.sessions = "{recordAddresses: true}".to_owned();
    });
    daemon.start_again();
    let api = daemon.api();
    let bob = sign_in(&daemon, &provider, "bob", &["engineering"]);
    let admin = sign_in(&daemon, &provider, "alice", &["infra-admins"]);

    let listed = api.get_as("/v1/sessions?user=BOB@example.test", &admin).json();
    assert_eq!(ids(&listed), [id(&bob)]);
    assert_eq!(listed["sessions"][0]["user"]["email"], "bob@example.test");
    assert_eq!(listed["sessions"][0]["address"], "127.0.0.1");
    assert_eq!(api.delete_as(&format!("/v1/sessions/{}", id(&bob)), &admin).status, 204);
    assert_eq!(api.get_as("/v1/session", &bob).status, 401);
    let text = std::fs::read_to_string(&audit).expect("an audit log");
    let ended: Value = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|line| line["event"] == "session_ended")
        .expect("a line");
    assert_eq!((&ended["reason"], &ended["endedBy"]), (&json!("administrator"), &json!(id(&admin))));
    assert!(text.contains("\"address\":\"127.0.0.1\""), "{text}");
}

#[test]
fn concurrent_revocations_revoke_session_once() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let (mine, lost) = (sign_in(&daemon, &provider, "alice", &[]), sign_in(&daemon, &provider, "alice", &[]));
    let path = format!("/v1/sessions/{}", id(&lost));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ends: Vec<_> =
            (0..8).map(|_| scope.spawn(|| daemon.api().delete_as(&path, &mine).status)).collect();
        ends.into_iter().map(|end| end.join().expect("an answer")).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 204).count(), 1, "{statuses:?}");
    assert!(statuses.iter().all(|status| [204, 404].contains(status)), "{statuses:?}");
}

#[test]
fn operator_lists_and_revokes_sessions_without_token() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let alice = sign_in(&daemon, &provider, "alice", &[]);
    let alice_too = sign_in(&daemon, &provider, "alice", &[]);
    let bob = sign_in(&daemon, &provider, "bob", &[]);
    let listed = daemon.infrad(["sessions", "list", "--json"]).wait().expect(0).json();
    assert_eq!((ids(&listed).len(), &listed["schema"]), (3, &json!(1)));
    let table = daemon.infrad(["sessions", "list", "--user", "bob@example.test"]).wait().expect(0).stdout;
    assert!(table.contains(&id(&bob)) && !table.contains(&id(&alice)), "{table}");

    daemon
        .infrad_slice_with_input(&["sessions", "revoke", &id(&alice)], "")
        .wait()
        .expect(0)
        .stderr_contains(&["revoked 1 session"]);
    daemon
        .infrad_slice_with_input(&["sessions", "revoke", &id(&alice)], "")
        .wait()
        .expect(1)
        .stderr_contains(&["no live session"]);
    assert_eq!(daemon.api().get_as("/v1/session", &alice).problem().code, ProblemCode::SessionRevoked);
    daemon.infrad(["sessions", "revoke", "--user", "alice@example.test"]).wait().expect(0);
    // A mistyped address is no success.
    let unknown = daemon.infrad(["sessions", "revoke", "--user", "bob@exampel.test"]).wait().expect(1);
    assert!(unknown.stderr.contains("no live session belongs to a user bob@exampel.test"), "{unknown}");
    assert_eq!(daemon.api().get_as("/v1/session", &alice_too).status, 401);
    assert_eq!(daemon.api().get_as("/v1/session", &bob).status, 200);
    daemon.infrad(["sessions", "revoke"]).wait().expect(2);
    daemon.infrad(["sessions", "revoke", "--all"]).wait().expect(0).stderr_contains(&["revoked 1 session"]);
    assert_eq!(daemon.api().get_as("/v1/session", &bob).status, 401);
    daemon.stop();
    daemon
        .infrad(["sessions", "list"])
        .wait()
        .expect(1)
        .stderr_contains(&["no infrad is running", "infrad serve"]);
}

#[test]
fn check_rejects_invalid_administrator_rules() {
    let provider = Provider::start();
    for (admins, telling) in [
        ("admins: [{provider: octa, groups: [a]}]", "admins[0].provider"),
        ("admins: [{provider: okta}]", "at least one of"),
        ("admins: [{provider: okta, emails: [alice]}]", "a list of addresses"),
        ("admins: [{provider: okta, emails: ['@example.test']}]", "a list of addresses"),
        ("admins: [{provider: okta, emails: ['*@example.test']}]", "a list of addresses"),
        ("admins: [{provider: okta, emails: [' root@example.test']}]", "a list of addresses"),
        ("admins: [{provider: okta, groups: ['infra-admins ']}]", "without spaces around"),
        ("admins: [{groups: [a]}]", "provider: okta"),
    ] {
        let daemon =
            Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(&provider)], |configuration| {
                configuration.more = format!("{admins}\n");
            });
        daemon.infrad(["check"]).wait().expect(2).stderr_contains(&[telling]);
    }
}

#[test]
fn pasted_token_is_revoked_and_not_shown() {
    let provider = Provider::start();
    let daemon = daemon(&provider);
    let token = sign_in(&daemon, &provider, "alice", &[]);
    let (_, secret) = token.split_once('.').expect("the form of a token");
    let ran = daemon.infrad(["sessions", "revoke", &token]).wait().expect(0);
    assert!(ran.stderr.contains("revoked 1 session") && !ran.stderr.contains(secret), "{ran}");
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 401);
    let cut_off = &token[..token.len() - 3];
    let ran = daemon.infrad(["sessions", "list", cut_off]).wait().expect(2);
    assert!(!ran.stderr.contains(&secret[..6]), "{ran}");
}

#[test]
fn id_of_audience_token_leads_to_its_session() {
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more =
            "services: [{name: grafana, audience: https://grafana.example.com, allow: everyone}]\n"
                .to_owned();
    });
    let token = login::over_http(&daemon, &provider);
    let for_grafana = services::token(&daemon.api(), &token, "grafana");
    let (of_token, _) = for_grafana.trim_start_matches("infra_aud_").split_once('.').expect("a token");
    for typed in [for_grafana.as_str(), of_token] {
        let told =
            format!("{of_token} is the ID of an audience token, and its session {} is live", id(&token));
        daemon.infrad(["sessions", "revoke", typed]).wait().expect(1).stderr_contains(&[&told]);
    }
    daemon.infrad(["sessions", "revoke", &id(&token)]).wait().expect(0);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 401);
    let gone = daemon.infrad(["sessions", "revoke", "0123456789"]).wait().expect(1);
    assert!(gone.stderr.contains("no live session 0123456789, and no live audience token"), "{gone}");
}

#[test]
fn broken_configuration_blocks_no_revocation() {
    let provider = Provider::start();
    let mut daemon = daemon(&provider);
    let token = sign_in(&daemon, &provider, "alice", &[]);
    let sound = std::fs::read_to_string(daemon.configuration_file()).expect("the configuration");
    for broken in [format!("{sound}limits:\n\tmaxConnections: 1\n"), format!("{sound}colour: blue\n")] {
        daemon.change(|configuration| configuration.verbatim = Some(broken));
        daemon.infrad(["check"]).wait().expect(2);
        let status = daemon.infrad(["status"]).wait().expect(0);
        assert!(status.stderr.contains("the configuration is invalid, so a restart would fail"), "{status}");
        let listed = daemon.infrad(["sessions", "list"]).wait().expect(0).stdout;
        assert!(listed.contains(&id(&token)), "{listed}");
        let keys = daemon.infrad(["key", "status"]).wait().expect(0);
        assert!(
            keys.stdout.contains("wrapped by    native:") && keys.stdout.contains("recovery key"),
            "{keys}"
        );
        assert!(keys.stderr.contains("the configuration is invalid"), "{keys}");
        daemon.infrad(["key", "status", "--json"]).wait().expect(0).json();
        daemon.infrad(["key", "rotate"]).wait().expect(2);
    }
    // Another daemon is never asked instead.
    let elsewhere = daemon.directory().join("none.yaml").display().to_string();
    daemon.infrad(["sessions", "revoke", "--all", "--config", &elsewhere]).wait().expect(2);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200);
    daemon.infrad(["sessions", "revoke", "--all"]).wait().expect(0).stderr_contains(&["revoked 1 session"]);
    daemon.stop();
    daemon.infrad(["status"]).wait().expect(2);
}
