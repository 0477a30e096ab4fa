//! Users list and revoke their sessions with `infra`, and get a notice about a session opened elsewhere.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::pending_login::{AuthorizationResponse, PendingLogin};
use infra_harness::program::{Ran, User};
use infra_harness::provider::{Misbehaviour, Person, Provider};
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

use crate::terminal::authorization_url;

/// The number of notices in `ran` about sessions opened elsewhere.
fn count_notices(ran: &Ran) -> usize {
    let notices = ["another session of yours at", "other sessions of yours at"];
    notices.iter().map(|notice| ran.stderr.matches(notice).count()).sum()
}

fn listed(user: &User) -> Vec<Value> {
    let answer = user.infra(["sessions", "--json"]).run().expect(0).json();
    answer.get("sessions").and_then(Value::as_array).expect("a list").clone()
}

fn id(session: &Value) -> String {
    session.get("id").and_then(Value::as_str).expect("an id").to_owned()
}

/// The session of this machine, and all other sessions.
fn own_and_others(user: &User) -> (String, Vec<String>) {
    let (own, others): (Vec<Value>, Vec<Value>) =
        listed(user).into_iter().partition(|session| session.get("current") == Some(&Value::Bool(true)));
    assert_eq!(own.len(), 1, "one session is the own one");
    (own.iter().map(id).collect(), others.iter().map(id).collect())
}

#[test]
fn user_lists_and_revokes_sessions_of_every_machine() {
    let (provider, laptop, desktop) = (Provider::start(), User::new(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&laptop, &daemon, &provider);
    login::succeed(&desktop, &daemon, &provider);
    assert_eq!(laptop.infra(["sessions", "--json"]).run().expect(0).json()["schema"], 1);
    let (own, others) = own_and_others(&laptop);
    let table = laptop.infra(["sessions"]).run().expect(0);
    assert_eq!(table.stdout.lines().count(), 3, "{table}");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let line = table.stdout.lines().find(|line| line.starts_with(&own)).expect("a line for the own one");
    assert!(line.contains(&format!("  {host}")) && line.ends_with("; this session"), "{table}");

    laptop.infra(["sessions", "revoke", &others[0]]).run().expect(0).stderr_contains(&["revoked 1 session"]);
    let ended = desktop.infra(["status"]).run().expect(3);
    assert!(ended.stdout.contains("the session was revoked"), "{ended}");
    laptop.infra(["status"]).run().expect(0);

    login::succeed(&desktop, &daemon, &provider);
    laptop
        .infra(["sessions", "revoke", "--others"])
        .run()
        .expect(0)
        .stderr_contains(&["revoked 1 other session"]);
    laptop.infra(["sessions", "revoke", "--others"]).run().expect(0).stderr_contains(&["no other session"]);
    desktop.infra(["status"]).run().expect(3);

    login::succeed(&desktop, &daemon, &provider);
    laptop
        .infra(["sessions", "revoke", "--all"])
        .run()
        .expect(0)
        .stderr_contains(&["signed out of", "revoked 1 other"]);
    for user in [&laptop, &desktop] {
        user.infra(["status", "--quiet"]).run().expect(3);
    }
    assert!(
        laptop.infra(["status", "--json"]).run().json()["session"].is_null(),
        "the token is forgotten here"
    );
    laptop.infra(["sessions"]).run().expect(3).stderr_contains(&["infra login"]);
}

#[test]
fn unknown_id_does_not_stop_revocation_of_other_sessions() {
    let (provider, laptop, desktop) = (Provider::start(), User::new(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&laptop, &daemon, &provider);
    login::succeed(&desktop, &daemon, &provider);
    let (_, others) = own_and_others(&laptop);
    laptop.infra(["sessions", "revoke", "f3Kd9"]).run().expect(2).stderr_contains(&["10 letters and digits"]);
    laptop.infra(["sessions", "revoke"]).run().expect(2);
    laptop.infra(["sessions", "revoke", "--others", "--all"]).run().expect(2);
    let ran = laptop.infra(["sessions", "revoke", "AAAAAAAAAA", &others[0]]).run().expect(1);
    ran.stderr_contains(&["no session AAAAAAAAAA that you may revoke", "revoked 1 session"]);
    desktop.infra(["status"]).run().expect(3);
    laptop.infra(["status"]).run().expect(0);
}

#[test]
fn session_opened_elsewhere_is_reported_once() {
    let (provider, laptop, thief) = (Provider::start(), User::new(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&laptop, &daemon, &provider);
    assert_eq!(count_notices(&laptop.infra(["status"]).run().expect(0)), 0);
    login::succeed(&thief, &daemon, &provider);
    assert_eq!(
        count_notices(&laptop.infra(["status", "-q"]).run().expect(0)),
        0,
        "who wants to hear nothing"
    );
    let ran = laptop.infra(["status", "--json"]).run().expect(0);
    assert_eq!(count_notices(&ran), 1, "{ran}");
    let (_, others) = own_and_others(&laptop);
    assert!(ran.stderr.contains(&format!("infra sessions revoke {}", others[0])), "{ran}");
    assert_eq!(count_notices(&laptop.infra(["status"]).run().expect(0)), 0, "once is enough");
    assert_eq!(count_notices(&thief.infra(["status"]).run().expect(0)), 0, "the older one is no news");

    login::succeed(&User::new(), &daemon, &provider);
    login::succeed(&User::new(), &daemon, &provider);
    let ran = laptop.infra(["status"]).run().expect(0);
    assert!(ran.stderr.contains("3 other sessions of yours at"), "{ran}");

    login::succeed(&User::new(), &daemon, &provider);
    let ran = login::call(&laptop, &daemon).run().expect(0);
    assert_eq!(count_notices(&ran), 1, "a login that finds a session tells it, too\n{ran}");
}

#[test]
fn sessions_show_how_they_were_opened() {
    let (provider, laptop, desktop) = (Provider::start(), User::new(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&laptop, &daemon, &provider);
    let pending = PendingLogin::begin(login::call(&desktop, &daemon));
    let response = pending.sign_in(&provider);
    pending.respond(&response);
    pending.running.wait().expect(0);
    assert!(listed(&laptop).iter().all(|session| session["loginMethod"] == "browser"));

    let remote = User::new();
    let mut running = login::call(&remote, &daemon).start_in_terminal();
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    running.enter(&response.url());
    running.wait().expect(0);
    for session in listed(&remote) {
        let expected = if session["current"] == true { "paste" } else { "browser" };
        assert_eq!(session["loginMethod"], expected, "{session}");
    }
}

#[test]
fn administrator_revokes_sessions_of_another_user() {
    let (provider, admin, bob) = (Provider::start(), User::new(), User::new());
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = "admins: [{provider: okta, groups: [infra-admins]}]\n".to_owned();
    });
    provider.person(Person::SignsIn("bob".to_owned()));
    login::succeed(&bob, &daemon, &provider);
    provider.person(Person::SignsIn("alice".to_owned()));
    provider.misbehave(Misbehaviour::default().claim("groups", json!(["infra-admins"])));
    login::succeed(&admin, &daemon, &provider);
    let table = admin.infra(["sessions", "--user", "bob@example.test"]).run().expect(0);
    assert!(table.stdout.contains("bob@example.test (okta)"), "{table}");
    bob.infra(["sessions", "--user", "alice@example.test"])
        .run()
        .expect(1)
        .stderr_contains(&["only administrators"]);
    bob.infra(["sessions", "revoke", "--all", "--user", "alice@example.test"]).run().expect(1);
    admin
        .infra(["sessions", "revoke", "--all", "--user", "bob@example.test"])
        .run()
        .expect(0)
        .stderr_contains(&["revoked 1 session"]);
    bob.infra(["status"]).run().expect(3);
    admin
        .infra(["sessions", "revoke", "--all", "--user", "bob@example.test"])
        .run()
        .expect(0)
        .stderr_contains(&["bob@example.test has no session"]);
    admin
        .infra(["sessions", "--user", "bob@example.test"])
        .run()
        .expect(0)
        .stderr_contains(&["bob@example.test has no session"]);
    admin.infra(["status"]).run().expect(0);
}

#[test]
fn revoked_environment_token_is_reported_as_revoked() {
    let (provider, script) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let own = SessionToken::parse(&token).expect("a token").id().to_string();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    for arguments in [&["logout"][..], &["sessions", "revoke", &own]] {
        let call = script.infra(arguments).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin());
        let ran = call.env("INFRA_FINGERPRINT", daemon.fingerprint()).run().expect(0);
        ran.stderr_contains(&["had already been revoked"]);
    }
}

#[test]
fn unreachable_daemon_fails_session_commands_without_loss() {
    let (provider, laptop) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&laptop, &daemon, &provider);
    daemon.stop();
    laptop.infra(["sessions"]).run().expect(4);
    laptop.infra(["sessions", "revoke", "--all"]).run().expect(4);
    daemon.start_again();
    laptop.infra(["status"]).run().expect(0);
}
