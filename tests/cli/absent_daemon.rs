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
