//! Three daemons behind a load balancer: acknowledged sign-ins and sign-outs survive kills of daemons and crashes of the
//! database.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::time::{Duration, Instant};

use infra_harness::daemon::Daemon;
use infra_harness::oracle::Oracle;
use infra_harness::provider::Person;
use infra_peers::haproxy::HAProxy;
use infra_peers::postgresql::PostgreSQL;
use infra_shared::random;

use super::group::{Access, DATABASE, Group, clients, logs, rounds, wait_until_ready};
use super::storm::{under_load, up_to, wait_for_sign_ins};

const MEMBERS: usize = 3;
/// Acknowledged sign-ins before and after each fault.
const SIGN_INS: usize = 6;
/// The longest load before a fault, and the longest time that the database is away.
const LONGEST_LOAD: Duration = Duration::from_millis(400);
const LONGEST_STOP: Duration = Duration::from_secs(2);
/// From the moment that the database accepts connections until every daemon is ready.
const READY_AGAIN: Duration = Duration::from_secs(1);

/// What happens to whom.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill(usize),
    StopDatabase,
}

#[derive(Debug, Default)]
struct Figures {
    kills: usize,
    stops: usize,
    /// The slowest start of a daemon after a kill.
    start: Duration,
    /// The slowest time to be ready after the database was back.
    ready: Duration,
    open: usize,
}

/// Causes these faults under load, evenly mixed, and compares all sessions after each. `None` if a peer is missing.
fn survive(kills: usize, stops: usize, clients_at_once: usize) -> Option<Figures> {
    let mut server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let ports = HAProxy::reserve();
    let origin = format!("https://127.0.0.1:{}", ports.all()[0]);
    let group = Group::start(MEMBERS, &Access::to(&server), |_, configuration| {
        configuration.public_urls.push(origin.clone());
        // Many clients are the same user, and no session may be evicted.
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    let members: Vec<u16> = group.daemons.iter().map(Daemon::port).collect();
    let balancer = HAProxy::start(ports, &members)?;
    let Group { provider, mut daemons } = group;
    let oracle = Oracle::at(&balancer.origin().parse().expect("an origin"), &daemons[0], &provider);
    let apis = clients(&daemons);
    let mut figures = Figures::default();
    let every = (kills + stops).div_ceil(stops.max(1));
    for number in 0..kills + stops {
        let is_stop = stops > 0 && number % every == every - 1;
        let [random] = random::bytes::<1>();
        let fault = if is_stop { Fault::StopDatabase } else { Fault::Kill(usize::from(random) % MEMBERS) };
        // A new user now and then, so that no user reaches the session limit.
        provider.person(Person::SignsIn(format!("user{}", number / 50)));
        let first = oracle.acknowledged();
        under_load(&oracle, clients_at_once, || {
            wait_for_sign_ins(&oracle, SIGN_INS);
            std::thread::sleep(up_to(LONGEST_LOAD));
            match fault {
                Fault::Kill(member) => {
                    daemons[member].kill();
                    // The others go on.
                    wait_for_sign_ins(&oracle, SIGN_INS);
                    let begun = Instant::now();
                    daemons[member].start_again();
                    figures.start = figures.start.max(begun.elapsed());
                    figures.kills += 1;
                }
                Fault::StopDatabase => {
                    server.stop();
                    std::thread::sleep(up_to(LONGEST_STOP));
                    server.start_again();
                    figures.ready = figures.ready.max(wait_until_ready(&apis));
                    wait_for_sign_ins(&oracle, SIGN_INS);
                    figures.stops += 1;
                }
            }
        });
        wait_until_ready(&apis);
        let compared = oracle.compare_at(first, &apis);
        assert_eq!(compared.lost, [""; 0], "after {fault:?}, number {number}\n{}", logs(&daemons));
        figures.open += compared.open;
        if number % 50 == 49 {
            println!("{} faults so far: {} sign-ins acknowledged", number + 1, oracle.acknowledged());
        }
    }
    let compared = oracle.compare_at(0, &apis);
    assert_eq!(compared.lost, [""; 0], "at the end");
    println!(
        "{figures:?}: {} sign-ins acknowledged, {} live and {} signed out at the end",
        oracle.acknowledged(),
        compared.logged_in,
        compared.logged_out,
    );
    assert!(compared.logged_in > 0 && compared.logged_out > 0, "there was no load: {compared:?}");
    Some(figures)
}

#[test]
fn acknowledged_changes_survive_kills_of_members_and_database() {
    survive(3, 1, 8);
}

#[test]
#[ignore = "takes an hour"]
fn acknowledged_changes_survive_1000_kills_and_20_stops() {
    let kills = rounds(1000);
    let Some(figures) = survive(kills, kills.div_ceil(50), 50) else { return };
    assert!(figures.ready <= READY_AGAIN, "ready {:?} after the database", figures.ready);
}
