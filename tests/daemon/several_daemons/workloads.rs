//! Tokens of workloads at several daemons: each is exchanged once, valid everywhere, and revoked everywhere.

use std::fmt::Write;
use std::sync::Barrier;

use infra_harness::provider::Provider;
use infra_harness::services::{credential_in, introspect};
use infra_harness::wait;
use infra_harness::workloads::{assert_issued, exchange, github, rule, token};
use infra_peers::postgresql::PostgreSQL;

use super::LIMIT;
use super::group::{Access, DATABASE, Group};

const MEMBERS: usize = 3;
const TOKENS: usize = 20;

#[test]
fn workload_token_raced_at_members_is_exchanged_once() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database(DATABASE);
    let issuer = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let credential = credential_in(directory.path());
    let rules = rule("ci", &issuer, "{repository_id: '74'}", "[wiki]");
    let group = Group::start(MEMBERS, &Access::to(&server), |_, configuration| {
        let service = format!("{{name: wiki, allow: everyone, credentials: ['{credential}']}}");
        let _ = write!(configuration.more, "services: [{service}]\nworkloads:\n{rules}");
    });
    let clients = group.clients();
    let barrier = Barrier::new(MEMBERS);
    let mut exchanged = Vec::new();
    for number in 0..TOKENS {
        let presented = token(&issuer, &github(&issuer));
        let answers: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = clients
                .iter()
                .map(|api| {
                    let (barrier, presented) = (&barrier, &presented);
                    scope.spawn(move || {
                        barrier.wait();
                        exchange(api, presented, "wiki")
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
        });
        let (accepted, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(
            (accepted.len(), refused.len()),
            (1, MEMBERS - 1),
            "{number}: {answers:?}\n{}",
            group.logs()
        );
        assert!(refused.iter().all(|answer| answer.body.contains("already exchanged")), "{answers:?}");
        exchanged.push(assert_issued(accepted[0]));
    }
    let active =
        |number: usize, token: &str| introspect(&clients[number], "wiki", token).json()["active"] == true;
    for token in &exchanged {
        assert!((0..MEMBERS).all(|number| active(number, token)), "{}", group.logs());
    }
    let identity = "workload:ci/repo:octo-org/octo-repo:ref:refs/heads/main";
    group.daemons[0].infrad(["sessions", "revoke", "--user", identity]).wait().expect(0);
    for token in &exchanged {
        for number in 0..MEMBERS {
            let ended = wait::until(LIMIT, || (!active(number, token)).then_some(()));
            assert!(ended.is_some(), "it stays valid at {number}\n{}", group.logs());
        }
    }
}
