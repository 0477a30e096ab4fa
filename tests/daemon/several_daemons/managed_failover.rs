//! Servers that Patroni manages: the primary is lost, and its standby takes over without a person.

use std::time::Duration;

use infra_harness::oracle::Oracle;
use infra_peers::patroni::Patroni;

use super::group::{Access, DATABASE, Group, rounds, wait_until_ready};
use super::storm::{under_load, up_to, wait_for_sign_ins};

const LONGEST_LOAD: Duration = Duration::from_millis(400);
const CLIENTS: usize = 20;

#[test]
#[ignore = "takes minutes, and needs packages that only this test uses"]
fn failovers_by_patroni_lose_no_acknowledged_change() {
    let Some(mut cluster) = Patroni::start() else { return };
    cluster.create_database(DATABASE);
    let access = Access::at(cluster.hosts(), cluster.password_file(), cluster.authority_file());
    let group = Group::start(2, &access, |_, configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    let apis = group.clients();
    let oracle = Oracle::new(&group.daemons[0], &group.provider);
    let (times, mut slowest) = (rounds(10), Duration::ZERO);
    for time in 0..times {
        let first = oracle.acknowledged();
        let lost = under_load(&oracle, CLIENTS, || {
            wait_for_sign_ins(&oracle, 6);
            std::thread::sleep(up_to(LONGEST_LOAD));
            let lost = cluster.kill_primary();
            cluster.wait_for_primary_instead_of(lost);
            slowest = slowest.max(wait_until_ready(&apis));
            wait_for_sign_ins(&oracle, 6);
            lost
        });
        let compared = oracle.compare_at(first, &apis);
        assert_eq!(compared.lost, [""; 0], "after failover {time}\n{}", group.logs());
        cluster.start_again(lost);
    }
    let compared = oracle.compare_at(0, &apis);
    assert_eq!(compared.lost, [""; 0], "at the end");
    println!(
        "{times} failovers by Patroni: {} sign-ins acknowledged, {} live and {} signed out; ready {slowest:?} after a standby \
         took over",
        oracle.acknowledged(),
        compared.logged_in,
        compared.logged_out,
    );
}
