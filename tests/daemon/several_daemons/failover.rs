//! Streaming replication: the primary is lost, and its standby takes over.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::oracle::Oracle;
use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, clients, expect_soon, rounds, validated, wait_until_ready};
use super::storm::{under_load, up_to, wait_for_sign_ins};

const LONGEST_LOAD: Duration = Duration::from_millis(400);
/// The promise for sign-outs that a failover lost.
const REVOKED_AGAIN: Duration = Duration::from_secs(5);

/// Servers in the order of `hosts`, and daemons that use them.
struct Scene {
    servers: [PostgreSQL; 2],
    group: Group,
}

impl Scene {
    /// The first server is the primary. `None` if a peer is missing.
    fn start(members: usize) -> Option<Self> {
        let primary = PostgreSQL::start()?;
        primary.create_database(DATABASE);
        let standby = primary.start_standby("standby1");
        let hosts = [&primary, &standby].map(|server| format!("localhost:{}", server.port()));
        let group = Group::start(members, &Access::to(&primary).through(hosts), |_, configuration| {
            "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        });
        Some(Self { servers: [primary, standby], group })
    }
}

/// The lines of `infrad check --live` about failovers.
fn checked(daemon: &Daemon) -> String {
    let checked = daemon.infrad(["check", "--live"]).wait();
    let mut lines = checked.stdout.lines();
    let found = lines.find(|line| line.contains(": failover")).expect("a line about failovers");
    format!("{found}\n{}", lines.next().unwrap_or_default())
}

/// Loses the primary under load this many times. Returns the slowest time from the promotion until all daemons were ready.
fn fail_over(times: usize, clients_at_once: usize) -> Option<Duration> {
    let Scene { mut servers, group } = Scene::start(2)?;
    servers[0].wait_for_commits_at("standby1");
    let said = checked(&group.daemons[0]);
    assert!(said.starts_with("ok ") && !said.contains("can lose"), "{said}");
    let apis = group.clients();
    let oracle = Oracle::new(&group.daemons[0], &group.provider);
    let mut slowest = Duration::ZERO;
    for time in 0..times {
        let (lost, next) = (time % 2, (time + 1) % 2);
        let first = oracle.acknowledged();
        under_load(&oracle, clients_at_once, || {
            wait_for_sign_ins(&oracle, 6);
            std::thread::sleep(up_to(LONGEST_LOAD));
            servers[lost].stop();
            servers[next].promote();
            slowest = slowest.max(wait_until_ready(&apis));
            wait_for_sign_ins(&oracle, 6);
        });
        let compared = oracle.compare_at(first, &apis);
        assert_eq!(compared.lost, [""; 0], "after failover {time}\n{}", group.logs());
        if time + 1 < times {
            let (before, after) = servers.split_at_mut(1);
            let (back, primary) =
                if lost == 0 { (&mut before[0], &after[0]) } else { (&mut after[0], &before[0]) };
            let name = format!("standby{}", time + 2);
            back.follow(primary, &name);
            primary.wait_for_commits_at(&name);
        }
    }
    let compared = oracle.compare_at(0, &apis);
    assert_eq!(compared.lost, [""; 0], "at the end");
    println!(
        "{times} failovers: {} sign-ins acknowledged, {} live and {} signed out; ready {slowest:?} after a promotion",
        oracle.acknowledged(),
        compared.logged_in,
        compared.logged_out,
    );
    Some(slowest)
}

#[test]
fn synchronous_failover_loses_no_acknowledged_change() {
    fail_over(1, 4);
}

#[test]
#[ignore = "takes minutes"]
fn synchronous_failovers_lose_no_acknowledged_change() {
    fail_over(rounds(50), 20);
}

#[test]
fn live_check_warns_that_asynchronous_failover_loses_changes() {
    let Some(scene) = Scene::start(1) else { return };
    let said = checked(&scene.group.daemons[0]);
    assert!(said.starts_with("unknown ") && said.contains("may be valid again"), "{said}");
}

#[test]
fn lost_sign_out_is_revoked_again_after_failover() {
    let Some(Scene { mut servers, group }) = Scene::start(2) else { return };
    let apis = clients(&group.daemons);
    let (kept, ended) = (group.sign_in(0), group.sign_in(0));
    // The standby has both sessions, and no later change.
    let caught_up = || {
        let live = "SELECT count(*) FROM sessions WHERE ended_at IS NULL AND id <> ''";
        (servers[0].sql(DATABASE, live) == servers[1].sql(DATABASE, live)).then_some(())
    };
    assert!(wait::until(super::LIMIT, caught_up).is_some(), "{}", servers[1].log());
    servers[1].stop_following(&servers[0]);
    assert_eq!(apis[0].delete_as("/v1/session", &ended).status, 204);
    for (api, daemon) in apis.iter().zip(&group.daemons) {
        expect_soon(api, &ended, 401, daemon);
    }
    servers[0].stop();
    servers[1].promote();
    wait_until_ready(&apis);
    for (api, daemon) in apis.iter().zip(&group.daemons) {
        let revoked = wait::until(REVOKED_AGAIN, || (validated(api, &ended) == Some(401)).then_some(()));
        assert!(revoked.is_some(), "a session that was signed out is valid again\n{}", daemon.log());
        assert_eq!(validated(api, &kept), Some(200));
    }
}
