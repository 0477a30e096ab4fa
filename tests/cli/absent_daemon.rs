//! An unreachable daemon: a session is not reported as invalid, a sign-out is delivered later, and commands
//! do not hang.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::skip;
use infra_harness::view::View;
use infra_shared::api::ProblemCode;

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
    alice.infra(["token"]).run().expect(3).silent();

    daemon.start_again();
    // Until the proof arrives, the session is valid at the daemon.
    assert_eq!(daemon.api().get_as("/v1/session?use=false", &token).status, 200);
    alice.infra(["status"]).run().expect(3);
    let ended = daemon.api().get_as("/v1/session", &token);
    assert_eq!(ended.problem().code, ProblemCode::SessionRevoked);
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
    alice.infra(["logout"]).run().expect(7).telling(&["could still not be told"]);
    daemon.start_again();
    alice.infra(["logout"]).run().expect(0).silent();
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn forgetting_an_unreachable_server_leaves_no_files() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);

    daemon.stop();
    alice.infra(["logout", "--forget"]).run().expect(7).telling(&["ends by itself at"]);
    for file in ["config.json", "sessions.json"] {
        let left = alice.file(file).unwrap_or_default();
        assert!(!left.contains(&daemon.port().to_string()), "{file} still knows the server\n{left}");
    }
    alice.infra(["status"]).run().expect(3);
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
    alice.infra(["token"]).run().expect(3).silent();
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
        skip::told("this user cannot listen as a name server (port 53)");
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
