//! An unreachable daemon: a session is not reported as invalid, a sign-out is delivered later, and commands
//! do not hang.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Server};
use infra_harness::login;
use infra_harness::program::{Ran, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::view::View;
use infra_harness::{services, skip};
use infra_shared::api::ProblemCode;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::token_text::SessionToken;
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::sync::Barrier;

#[test]
fn offline_logout_is_delivered_by_the_next_command() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);

    daemon.stop();
    alice.infra(["logout"]).run().expect(7);
    let left = alice.file("sessions.json").unwrap_or_default();
    assert!(!left.contains(&token), "the token is still there");
    alice.infra(["token"]).run().expect(3).stdout_is_empty();

    daemon.start_again();
    // Until the proof arrives, the session is valid at the daemon.
    assert_eq!(daemon.api().get_as("/v1/session?use=false", &token).status, 200);
    alice.infra(["status"]).run().expect(3);
    let ended = daemon.api().get_as("/v1/session", &token);
    assert_eq!(ended.problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn every_command_that_needs_a_session_delivers_a_logout() {
    let provider = Provider::start();
    let mut daemon = services::daemon(&provider, &["{name: wiki, allow: everyone}"]);
    let alice = User::new();
    for words in [
        &["token"][..],
        &["token", "--audience", "wiki"],
        &["exec", "--audience", "wiki", "--", "true"],
        &["kubernetes", "token", "--cluster", "wiki"],
        &["sessions"],
        &["sessions", "revoke", "--others"],
    ] {
        login::succeed(&alice, &daemon, &provider);
        let token = login::token(&alice);
        daemon.stop();
        alice.infra(["logout"]).run().expect(7);
        alice.infra(words).run().expect(3).stdout_is_empty();
        daemon.start_again();
        alice.infra(words).run().expect(3).stdout_is_empty();
        let ended = daemon.api().get_as("/v1/session", &token);
        assert_eq!(ended.problem().code, ProblemCode::SessionRevoked, "{words:?}");
        assert!(!alice.file("sessions.json").unwrap_or_default().contains("proof"), "{words:?}");
    }
}

#[test]
fn offline_logout_survives_a_killed_daemon() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);

    daemon.kill();
    alice.infra(["logout"]).run().expect(7);
    // Still unreachable: the proof is kept, and other commands are unaffected.
    alice.infra(["status"]).run().expect(3);
    daemon.start_again();
    alice.infra(["status"]).run().expect(3);
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn session_state_is_unreachable_while_daemon_is_stopped() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);

    daemon.stop();
    let status = alice.infra(["status", "--json"]).run().expect(4);
    assert_eq!(status.json()["state"], "unreachable", "{status}");
    alice.infra(["status", "--offline", "--quiet"]).run().expect(0);
    daemon.start_again();
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn second_logout_delivers_the_offline_one() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);

    daemon.stop();
    alice.infra(["logout"]).run().expect(7);
    alice.infra(["logout"]).run().expect(7).stderr_contains(&["could still not be delivered"]);
    daemon.start_again();
    alice.infra(["logout"]).run().expect(0).stdout_is_empty();
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn failing_proof_does_not_block_other_sign_outs() {
    let (authority, alice) = (Authority::new(), User::new());
    let [damaged, rejected, accepted] = [(); 3].map(|()| SessionToken::mint());
    let rejected_id = rejected.id().to_string();
    let server = Server::start(authority.issue(), move |request| {
        let is_rejected = String::from_utf8_lossy(&request.body).contains(&rejected_id);
        let problem = json!({
            "type": "about:blank", "title": "no", "status": 400, "code": "bad_request", "requestID": "a",
        });
        std::future::ready(if is_rejected { Answer::json(400, &problem) } else { Answer::text(204, "") })
    });
    let pending = |token: &SessionToken, proof: &str| {
        json!({
            "server": origin(&server), "id": token.id(), "proof": proof,
            "trust": {"kind": "pinned", "pin": authority.pin().to_string()},
            "expiresAt": SystemClock.now() + SignedDuration::from_hours(1),
        })
    };
    let proof = |token: &SessionToken| token.logout_proof().to_text();
    let pending = [
        pending(&damaged, "damaged"),
        pending(&rejected, &proof(&rejected)),
        pending(&accepted, &proof(&accepted)),
    ];
    alice.plant("sessions.json", &json!({"version": 1, "sessions": {}, "pendingLogouts": pending}));

    let ran = alice.infra(["logout", &origin(&server)]).run().expect(7);
    ran.stderr_contains(&["its stored proof is damaged", "could still not be delivered"]);
    let kept = alice.file("sessions.json").expect("a pending sign-out");
    for (token, is_kept) in [(&damaged, false), (&rejected, true), (&accepted, false)] {
        assert_eq!(kept.contains(token.id().as_str()), is_kept, "{kept}");
    }
}

#[test]
fn forgetting_an_unreachable_server_leaves_no_files() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);

    daemon.stop();
    let forgot = format!("forgot {}: nothing about it is stored here now", daemon.origin());
    let ran = alice.infra(["logout", "--forget"]).run().expect(7);
    ran.stderr_contains(&["the session expires", &forgot]);
    for file in ["config.json", "sessions.json"] {
        let left = alice.file(file).unwrap_or_default();
        assert!(!left.contains(&daemon.port().to_string()), "{file} still knows the server\n{left}");
    }
    alice.infra(["status"]).run().expect(3);

    // Only what was known is forgotten.
    let ran = alice.infra(["logout", "--forget", &daemon.origin()]).run().expect(0);
    assert!(!ran.stderr.contains("forgot"), "{ran}");
    daemon.start_again();
    login::succeed(&alice, &daemon, &provider);
    daemon.stop();
    alice.infra(["logout"]).run().expect(7);
    let ran = alice.infra(["logout", "--forget"]).run().expect(7);
    ran.stderr_contains(&["could still not be delivered", &forgot]);
}

#[test]
fn session_known_as_revoked_is_not_printed_offline() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    assert_eq!(daemon.api().delete_as("/v1/session", &login::token(&alice)).status, 204);

    let status = alice.infra(["status", "--json"]).run().expect(3);
    assert_eq!(status.json()["state"], "revoked", "{status}");
    daemon.stop();
    alice.infra(["token"]).run().expect(3).stdout_is_empty();
    let offline = alice.infra(["status", "--offline", "--json"]).run().expect(3);
    assert_eq!(offline.json()["state"], "revoked", "{offline}");
}

/// A name server that never responds.
fn silent_name_server() -> Option<(UdpSocket, IpAddr)> {
    let [a, b, ..] = std::process::id().to_le_bytes();
    let address = Ipv4Addr::new(127, 53, a, b.max(1));
    // It needs its own address, because resolvers only use port 53.
    let socket = UdpSocket::bind((address, 53)).ok();
    if socket.is_none() {
        skip::report("this user cannot listen as a name server (port 53)");
    }
    Some((socket?, address.into()))
}

#[test]
fn silent_name_server_does_not_block_a_command() {
    const NAME: &str = "infra.example.test";
    // Without a bound of its own, the resolver would wait for minutes.
    const BOUND: Duration = Duration::from_secs(40);
    let Some(view) = View::new() else { return };
    let Some((_silent, address)) = silent_name_server() else { return };
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    let origin = format!("https://{NAME}:{}", daemon.port());
    daemon.change(|configuration| configuration.public_urls.push(origin.clone()));
    daemon.restart();
    view.resolve(&[(NAME, "127.0.0.1")]);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let arguments = ["login", &origin, "--fingerprint", &daemon.fingerprint(), "--no-keyring"];
    alice.infra(arguments).browser(&browser).inside(&view).run().expect(0);

    view.resolve(&[]);
    view.ask(address);
    let bounded = |words: &[&str]| alice.infra(words).inside(&view).limit(BOUND);
    std::thread::scope(|scope| {
        scope.spawn(|| bounded(&["status"]).run().expect(4));
        scope.spawn(|| bounded(&["login"]).run().expect(4));
    });
    bounded(&["logout"]).run().expect(7);
}

/// How many servers are asked at a time.
const AT_ONCE: usize = 8;

/// Servers that answer once all of them were asked, and Alice, who has a session at each.
fn servers_that_wait_for_each_other(alice: &User) -> Vec<Server> {
    let authority = Authority::new();
    let barrier = Arc::new(Barrier::new(AT_ONCE));
    let servers: Vec<Server> = (0..AT_ONCE)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            Server::start(authority.issue(), move |request| {
                let barrier = Arc::clone(&barrier);
                async move {
                    barrier.wait().await;
                    if request.method == "DELETE" {
                        return Answer::text(204, "");
                    }
                    Answer::json(
                        200,
                        &json!({"session": session(), "user": user(), "now": SystemClock.now()}),
                    )
                }
            })
        })
        .collect();
    let trust = json!({"kind": "pinned", "pin": authority.pin().to_string()});
    let stored = || {
        json!({
            "token": SessionToken::mint().expose(), "session": session(), "user": user(), "trust": trust,
            "clockOffsetSeconds": 0, "storage": "file",
        })
    };
    let by_origin = |value: &dyn Fn() -> Value| -> Value {
        servers.iter().map(|server| (origin(server), value())).collect::<serde_json::Map<_, _>>().into()
    };
    alice.plant(
        "config.json",
        &json!({"version": 1, "current": null, "servers": by_origin(&|| json!({"trust": trust}))}),
    );
    alice.plant("sessions.json", &json!({"version": 1, "sessions": by_origin(&stored)}));
    servers
}

fn origin(server: &Server) -> String {
    format!("https://127.0.0.1:{}", server.port())
}

fn session() -> Value {
    let in_hours = |hours| SystemClock.now() + SignedDuration::from_hours(hours);
    json!({
        "id": "3De8gPGcmq", "createdAt": in_hours(-1), "expiresAt": in_hours(11), "idleExpiresAt": in_hours(3),
    })
}

fn user() -> Value {
    json!({
        "name": null, "email": null, "groups": [], "provider": "okta", "issuer": "https://okta.test",
        "subject": "00u1",
    })
}

#[test]
fn all_servers_are_asked_at_once_and_told_in_order() {
    let alice = User::new();
    let servers = servers_that_wait_for_each_other(&alice);
    let mut sorted: Vec<String> = servers.iter().map(origin).collect();
    sorted.sort();

    let status = alice.infra(["status", "--all", "--json"]).run().expect(0).json();
    let shown = status["servers"].as_array().expect("servers").iter();
    let shown: Vec<&str> = shown.map(|report| report["server"].as_str().expect("an origin")).collect();
    assert_eq!(shown, sorted);

    let logout = alice.infra(["logout", "--all"]).run().expect(0);
    let told: Vec<&str> =
        logout.stderr.lines().filter_map(|line| line.strip_prefix("signed out of ")).collect();
    assert_eq!(told, sorted, "{logout}");
}

#[test]
fn pending_sign_out_is_shown_by_status() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    daemon.stop();
    alice.infra(["logout"]).run().expect(7);
    for words in [&["status"][..], &["status", "--all"], &["status", "--offline"]] {
        let ran = alice.infra(words).run().expect(3);
        assert!(
            ran.stdout.contains("  pending   an earlier sign-out: its session may be valid until"),
            "{ran}"
        );
    }
    let until = |ran: &Ran| ran.json()["pendingSignOutUntil"].as_str().map(ToOwned::to_owned);
    let pending = until(&alice.infra(["status", "--json"]).run().expect(3)).expect("a time");
    let all = alice.infra(["status", "--all", "--json"]).run().expect(3).json();
    assert!(
        pending.ends_with('Z') && all["servers"][0]["pendingSignOutUntil"].is_string(),
        "{pending}: {all}"
    );
    let ran = alice.infra(["status", "--quiet"]).run().expect(3).stdout_is_empty();
    assert!(
        ran.stderr.contains("an earlier sign-out is not delivered") && ran.stderr.lines().count() == 1,
        "{ran}"
    );
    daemon.start_again();
    let ran = alice.infra(["status"]).run().expect(3);
    assert!(!ran.stdout.contains("pending"), "{ran}");
    assert_eq!(until(&alice.infra(["status", "--json"]).run().expect(3)), None);
}

#[test]
fn stopped_daemon_of_this_machine_is_to_be_started() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    daemon.stop();
    let hint = ["start the daemon on this machine", "paste its new `export` lines"];
    alice.infra(["login", "--force"]).run().expect(4).stderr_contains(&hint);
    alice.infra(["token", "--audience", "wiki"]).run().expect(4).stderr_contains(&hint);
    for words in [["status", "--all"], ["doctor", &daemon.origin()]] {
        let shown = alice.infra(words).run().stdout;
        assert!(hint.iter().all(|words| shown.contains(words)), "{shown}");
    }
}
