//! Acknowledged sign-ins and sign-outs survive a kill under load.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use infra_harness::daemon::{Daemon, MANY_LOGINS};
use infra_harness::oracle::Oracle;
use infra_harness::provider::{Person, Provider};
use infra_harness::wait;
use infra_shared::random;

/// Clients that sign in and out concurrently. One address may hold 64 connections.
const CLIENTS: usize = 50;
/// The longest load before a kill, in milliseconds.
const MAX_LOAD_MILLIS: u64 = 400;
/// The fewest sign-ins and sign-outs between two kills.
const MIN_SIGN_INS: usize = 8;
const MIN_SIGN_OUTS: usize = 2;
const BOUND: Duration = Duration::from_mins(1);
/// The longest start after a kill. The promise is for a release build on a quiet machine, and this is neither.
const START_LIMIT: Duration = Duration::from_secs(2);

fn daemon_for_many(provider: &Provider) -> Daemon {
    Daemon::start_with(provider, |configuration| {
        // Many clients are the same user, and no session may be evicted.
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        // They also share an address.
        MANY_LOGINS.clone_into(&mut configuration.more);
    })
}

/// Kills the daemon `times` times under load and compares the sessions after each. Returns the slowest start.
fn survive_kills(times: usize) -> Duration {
    let provider = Provider::start();
    let mut daemon = daemon_for_many(&provider);
    let oracle = Oracle::new(&daemon, &provider);
    let (mut slowest, mut open) = (Duration::ZERO, 0);
    for time in 0..times {
        // A new user every 100 kills, so that no user reaches the session limit.
        provider.person(Person::SignsIn(format!("user{}", time / 100)));
        let (stop, first) = (AtomicBool::new(false), oracle.acknowledged());
        let signed_out = oracle.signed_out();
        std::thread::scope(|scope| {
            scope.spawn(|| oracle.storm(CLIENTS, &stop));
            // Waits for load before the kill, even on a busy machine.
            let is_under_load = || {
                let is_signing_in = oracle.acknowledged() >= first + MIN_SIGN_INS;
                (is_signing_in && oracle.signed_out() >= signed_out + MIN_SIGN_OUTS).then_some(())
            };
            assert!(wait::until(BOUND, is_under_load).is_some(), "no client signs in and out");
            // A random moment.
            let moment = u64::from_le_bytes(random::bytes()) % MAX_LOAD_MILLIS;
            std::thread::sleep(Duration::from_millis(moment));
            daemon.kill();
            stop.store(true, Ordering::Relaxed);
        });
        let start = Instant::now();
        daemon.start_again();
        assert_eq!(daemon.api().get("/readyz").status, 204);
        slowest = slowest.max(start.elapsed());
        let compared = oracle.compare(first);
        assert_eq!(compared.lost, [""; 0], "after kill {time}\n{}", daemon.log());
        open += compared.open;
        // The backup reads and authenticates every page and row.
        if time % 5 == 4 {
            let backup = format!("backup-{time}");
            daemon.infrad(["backup", &backup]).wait().expect(0);
            std::fs::remove_file(daemon.directory().join(backup)).expect("a backup");
        }
    }
    let compared = oracle.compare(0);
    assert_eq!(compared.lost, [""; 0], "at the end");
    println!(
        "{times} kills: {} sessions acknowledged, {} of them live and {} ended, {open} logouts were open; slowest start {slowest:?}",
        oracle.acknowledged(),
        compared.logged_in,
        compared.logged_out,
    );
    assert!(compared.logged_in > times && compared.logged_out > times, "there was no load: {compared:?}");
    slowest
}

#[test]
fn acknowledged_changes_survive_25_kills_under_load() {
    survive_kills(25);
}

#[test]
#[ignore = "takes half an hour"]
fn acknowledged_changes_survive_1000_kills_under_load() {
    let slowest = survive_kills(1000);
    assert!(slowest <= START_LIMIT, "a start took {slowest:?}");
}
