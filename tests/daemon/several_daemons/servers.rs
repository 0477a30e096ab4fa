//! Servers with other certificates, clocks of daemons that differ, and a database from a dump.

use infra_harness::authority::{Authority, KeyKind};
use infra_harness::daemon::Daemon;
use infra_harness::login::{self, Started};
use infra_harness::peers;
use infra_harness::provider::Provider;
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon};
use super::session;

const FAKE_CLOCK: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

#[test]
fn server_certificates_of_every_kind_are_accepted() {
    for kind in [KeyKind::RSA, KeyKind::P256, KeyKind::Ed25519] {
        let Some(server) = PostgreSQL::start_certified(Authority::with_keys(kind), &["fsync=off"]) else {
            return;
        };
        server.create_database(DATABASE);
        // Makes the schema and the keys.
        let group = Group::start(1, &Access::to(&server), |_, _| {});
        let token = group.sign_in(0);
        assert_eq!(session(&group.daemons[0], &token).status, 200, "{kind:?}: {}", group.logs());
    }
}

/// Starts a daemon, and prepares another whose clock is so many seconds ahead. `None` if a peer is missing.
fn start_with_clocks(ahead: &str) -> Option<(PostgreSQL, Group)> {
    let clock = peers::find_file(FAKE_CLOCK)?;
    let server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let mut group = Group::prepare(2, &Access::to(&server), |_, configuration| {
        configuration.public_urls.push("https://infra.example.com".to_owned());
    });
    let wrong = &mut group.daemons[1];
    wrong.set_environment("LD_PRELOAD", &clock.display().to_string());
    wrong.set_environment("FAKETIME", ahead);
    // Only the time of day.
    wrong.set_environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    wrong.set_environment("DONT_FAKE_MONOTONIC", "1");
    group.daemons[0].start_again();
    Some((server, group))
}

/// Starts a login at one daemon and finishes it at the other.
fn sign_in_across(provider: &Provider, at: &Daemon, elsewhere: &Daemon) -> u16 {
    let origin = "https://infra.example.com".parse().expect("an origin");
    let started = Started::bound_to(at, &origin, Some(&at.pin()));
    let body = started.finish_body(&started.sign_in(provider));
    elsewhere.api().post("/v1/logins/finish", &body).status
}

/// Signs in at the one daemon and out at the other.
#[track_caller]
fn expect_shared(group: &Group, at: &Daemon, elsewhere: &Daemon) {
    let token = login::over_http(at, &group.provider);
    assert_eq!(session(elsewhere, &token).status, 200, "{}", group.logs());
    assert_eq!(elsewhere.api().delete_as("/v1/session", &token).status, 204);
    expect_soon(&at.api(), &token, 401, at);
}

/// By more than a daemon tolerates from a clock that was set back.
#[test]
fn members_whose_clocks_differ_share_sessions() {
    for ahead in ["+600", "-600"] {
        let Some((_server, mut group)) = start_with_clocks(ahead) else { return };
        group.daemons[1].start_again();
        let (right, wrong) = (&group.daemons[0], &group.daemons[1]);
        wrong.wait_for_log("the clock of this host is wrong, or that of the database");
        for (at, elsewhere) in [(right, wrong), (wrong, right)] {
            expect_shared(&group, at, elsewhere);
            assert_eq!(sign_in_across(&group.provider, at, elsewhere), 201, "{ahead}: {}", group.logs());
        }
        let token = login::over_http(wrong, &group.provider);
        let [here, there] = [wrong, right].map(|daemon| session(daemon, &token).json());
        assert_eq!(here["session"]["expiresAt"], there["session"]["expiresAt"]);
        assert_eq!(right.api().get("/readyz").status, 204, "{}", group.logs());
    }
}
