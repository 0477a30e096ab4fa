//! PgBouncer in transaction mode between the daemons and the database.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use infra_harness::wait;
use infra_peers::pgbouncer::PgBouncer;
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon, validated, wait_until_ready};
use super::{LIMIT, session};

/// Far fewer than two daemons use.
const CONNECTIONS: u16 = 3;

/// The server, the pooler, and two daemons behind it that do not run yet. `None` if a peer is missing.
fn prepare() -> Option<(PostgreSQL, PgBouncer, Group)> {
    let server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let pooler = PgBouncer::start(&server, DATABASE, CONNECTIONS)?;
    let access = Access::to(&server).through([format!("localhost:{}", pooler.port())]);
    let group = Group::prepare(2, &access, |_, configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    Some((server, pooler, group))
}

#[test]
fn live_check_recognizes_pgbouncer_in_transaction_mode() {
    let Some((_server, pooler, group)) = prepare() else { return };
    let checked = group.daemons[0].infrad(["check", "--live"]).wait();
    for line in ["primary, over TLSv1.3, through a pooler in transaction mode", "schema and keys"] {
        let is_ok = |it: &str| it.starts_with("ok ") && it.contains(line);
        assert!(checked.stdout.lines().any(is_ok), "{line}: {checked}\n{}", pooler.log());
    }
}

#[test]
fn sessions_are_shared_behind_pgbouncer() {
    let Some((mut server, pooler, mut group)) = prepare() else { return };
    for daemon in &mut group.daemons {
        daemon.start_again();
    }
    let clients = group.clients();
    for (at, elsewhere) in [(0, 1), (1, 0)] {
        let token = group.sign_in(at);
        assert_eq!(session(&group.daemons[elsewhere], &token).status, 200, "{}", group.logs());
        assert_eq!(clients[elsewhere].delete_as("/v1/session", &token).status, 204);
        expect_soon(&clients[at], &token, 401, &group.daemons[at]);
    }
    let listed = || {
        let status = group.daemons[0].infrad(["status", "--json"]).wait().expect(0).json();
        (status["members"].as_array()?.len() == 2).then_some(())
    };
    assert!(wait::until(LIMIT, listed).is_some(), "{}", group.logs());
    // More at the same time than the pooler has connections.
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (group, clients, done) = (&group, &clients, &done);
            scope.spawn(move || {
                let token = group.sign_in(number % 2);
                assert_eq!(validated(&clients[(number + 1) % 2], &token), Some(200));
                assert_eq!(clients[number % 2].delete_as("/v1/session", &token).status, 204);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(done.into_inner(), 16, "{}", pooler.log());
    // The server restarts behind the pooler.
    let token = group.sign_in(0);
    server.stop();
    let stopped = Instant::now();
    for (api, daemon) in clients.iter().zip(&group.daemons) {
        expect_soon(api, &token, 503, daemon);
    }
    let refused = stopped.elapsed();
    server.start_again();
    let ready = wait_until_ready(&clients);
    println!("both refused after {refused:?}, and were ready {ready:?} after the database");
    for (api, daemon) in clients.iter().zip(&group.daemons) {
        expect_soon(api, &token, 200, daemon);
    }
}
