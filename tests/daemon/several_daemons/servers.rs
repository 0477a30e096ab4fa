//! Servers with other certificates, clocks of daemons that differ, and a database from a dump.

use std::time::Duration;

use infra_harness::authority::{Authority, KeyKind};
use infra_harness::daemon::Daemon;
use infra_harness::login::{self, Started};
use infra_harness::provider::Provider;
use infra_harness::{peers, wait};
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon};
use super::session;

/// Longer than the pause between two purges.
const A_PURGE: Duration = Duration::from_mins(3);
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

#[test]
fn members_with_clocks_five_minutes_apart_share_sessions() {
    for ahead in ["+290", "-290"] {
        let Some((_server, mut group)) = start_with_clocks(ahead) else { return };
        group.daemons[1].start_again();
        let (right, wrong) = (&group.daemons[0], &group.daemons[1]);
        expect_shared(&group, right, wrong);
        assert_eq!(sign_in_across(&group.provider, wrong, right), 201, "{ahead}: {}", group.logs());
        // A clock that is behind refuses the provider's tokens, because they are from the future.
        if ahead.starts_with('+') {
            expect_shared(&group, wrong, right);
            assert_eq!(sign_in_across(&group.provider, right, wrong), 201, "{ahead}: {}", group.logs());
        }
    }
}

#[test]
fn member_with_wrong_clock_stops_no_other_member() {
    let Some((server, mut group)) = start_with_clocks("+600") else { return };
    let token = group.sign_in(0);
    let latest = || server.sql(DATABASE, "SELECT latest_time FROM counter");
    let before = latest();
    group.daemons[1].start_again();
    // Each daemon records the time for all when it starts, and each minute.
    let recorded = wait::until(A_PURGE, || (latest() != before).then_some(()));
    assert!(recorded.is_some(), "{}", group.logs());
    let answered = session(&group.daemons[0], &token);
    assert_eq!(answered.status, 200, "{answered:?}\n{}", group.logs());
    group.sign_in(0);
}

/// Replaces the database with this dump, while nobody uses it.
fn restore(server: &PostgreSQL, dump: &str) {
    server.client("dropdb", &[DATABASE], None);
    server.create_database(DATABASE);
    server.client("psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", DATABASE], Some(dump));
}

#[test]
#[ignore = "needs a daemon that notices that its database was restored"]
fn restored_dump_brings_no_session_back() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database(DATABASE);
    let mut group = Group::start(2, &Access::to(&server), |_, _| {});
    let (kept, ended) = (group.sign_in(0), group.sign_in(1));
    let dump = server.client("pg_dump", &[DATABASE], None);
    assert_eq!(group.daemons[1].api().delete_as("/v1/session", &ended).status, 204);
    expect_soon(&group.daemons[0].api(), &ended, 401, &group.daemons[0]);
    for daemon in &mut group.daemons {
        daemon.stop();
    }
    restore(&server, &dump);
    // A start may refuse, and then accepts the dump if the operator says so.
    group.daemons[0].infrad(["serve", "--prepare", "--accept-rollback"]).wait().expect(0);
    for daemon in &mut group.daemons {
        daemon.start_again();
    }
    for daemon in &group.daemons {
        for token in [&ended, &kept] {
            assert_eq!(session(daemon, token).status, 401, "{}", group.logs());
        }
    }
}
