//! Logging out while the daemon is away: the token is gone here, and the session ends as soon as the daemon is back.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::User;
use infra_harness::provider::Provider;
use infra_shared::api::ProblemCode;

#[test]
fn a_logout_that_could_not_be_told_is_told_at_the_next_command() {
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
    // Until the proof was sent, the session lives at the daemon.
    assert_eq!(daemon.api().get_as("/v1/session?use=false", &token).status, 200);
    alice.infra(["status"]).run().expect(3);
    let ended = daemon.api().get_as("/v1/session", &token);
    assert_eq!(ended.problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn a_logout_that_could_not_be_told_survives_a_killed_daemon() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);

    daemon.kill();
    alice.infra(["logout"]).run().expect(7);
    // Still away: the proof is kept, and nothing else fails for it.
    alice.infra(["status"]).run().expect(3);
    daemon.start_again();
    alice.infra(["status"]).run().expect(3);
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn a_session_is_unreachable_not_invalid_while_the_daemon_is_away() {
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
fn logging_out_again_tells_it_once_the_daemon_is_back() {
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
fn a_server_that_is_forgotten_while_it_is_away_leaves_nothing_here() {
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
fn a_session_that_was_seen_to_be_over_is_not_handed_out_while_the_daemon_is_away() {
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
