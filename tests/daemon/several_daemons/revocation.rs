//! Every daemon learns of a sign-out at another one.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use infra_harness::api::Api;
use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::LIMIT;
use super::group::{Access, DATABASE, Group, rounds, validated};

const MEMBERS: usize = 3;
/// Clients that sign in and out.
const USERS: usize = 4;
/// Clients that validate other sessions all the time, at each daemon.
const SERVICES: usize = 1;
/// No validation that begins this long after the sign-out was acknowledged may succeed.
const PROMISED: Duration = Duration::from_secs(1);

/// How long after a sign-out validations at other daemons began that still succeeded.
#[derive(Debug, Default)]
struct Figures {
    revocations: usize,
    validations_meanwhile: usize,
    /// The latest of each sign-out, in order. Zero if all were refused.
    latest: Vec<Duration>,
}

/// Signs in, validates at every daemon and signs out at one of them, this many times. `None` if a peer is missing.
fn revoke(count: usize) -> Option<Figures> {
    let server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let group = Group::start(MEMBERS, &Access::to(&server), |_, configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    let (next, latest) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let (stop, validations) = (AtomicBool::new(false), AtomicUsize::new(0));
    let hot = group.sign_in(0);
    std::thread::scope(|scope| {
        for api in group.clients().into_iter().flat_map(|api| vec![api; SERVICES]) {
            let (hot, stop, validations) = (&hot, &stop, &validations);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(validated(&api, hot), Some(200));
                    validations.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let users: Vec<_> = (0..USERS)
            .map(|_| {
                scope.spawn(|| {
                    let clients = group.clients();
                    while next.fetch_add(1, Ordering::Relaxed) < count {
                        let last = revoke_one(&group, &clients, next.load(Ordering::Relaxed));
                        latest.lock().expect("no client fails").push(last);
                    }
                })
            })
            .collect();
        let done: Vec<_> = users.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(done.iter().all(Result::is_ok), "{}", group.logs());
    });
    let mut latest = latest.into_inner().expect("no client fails");
    latest.sort_unstable();
    let figures =
        Figures { revocations: latest.len(), validations_meanwhile: validations.into_inner(), latest };
    println!(
        "{} of {count} revoked everywhere; still valid at another daemon: median {:?}, p99 {:?}, longest {:?}; {} validations meanwhile",
        figures.revocations,
        figures.latest[count / 2],
        figures.latest[count * 99 / 100],
        figures.latest[count - 1],
        figures.validations_meanwhile,
    );
    assert_eq!(figures.revocations, count);
    Some(figures)
}

/// Returns how long after the sign-out the last validation began that succeeded.
fn revoke_one(group: &Group, clients: &[Api], number: usize) -> Duration {
    let token = group.sign_in(number % MEMBERS);
    for api in clients {
        assert_eq!(validated(api, &token), Some(200));
    }
    let at = number / MEMBERS % MEMBERS;
    assert_eq!(clients[at].delete_as("/v1/session", &token).status, 204);
    let signed_out = Instant::now();
    let mut last = Duration::ZERO;
    for api in clients {
        let refused = wait::until(LIMIT, || {
            let begun = signed_out.elapsed();
            match validated(api, &token) {
                Some(401) => Some(()),
                status => {
                    assert_eq!(status, Some(200));
                    last = last.max(begun);
                    None
                }
            }
        });
        assert!(refused.is_some(), "it stays valid");
    }
    last
}

#[test]
fn sign_out_reaches_every_member_under_load() {
    revoke(50);
}

#[test]
#[ignore = "takes an hour"]
fn sign_out_reaches_every_member_within_a_second() {
    let Some(figures) = revoke(rounds(10_000)) else { return };
    let last = figures.latest.last().expect("at least one");
    assert!(*last < PROMISED, "still valid {last:?} after the sign-out");
}
