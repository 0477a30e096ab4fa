//! Rotations of the data key while two daemons serve.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon, validated};
use super::{LIMIT, session};

/// A killed daemon counts as running for 15 seconds, and holds its lease as long.
const AFTER_KILL: Duration = Duration::from_mins(2);

fn start() -> Option<(PostgreSQL, Group)> {
    let server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let group = Group::start(2, &Access::to(&server), |_, configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    Some((server, group))
}

/// The version of the data key that new rows are sealed with, and how many versions there are.
fn data_keys(server: &PostgreSQL) -> String {
    let select = "SELECT data_key_version, (SELECT count(*) FROM keys WHERE kind = 'data') FROM store";
    server.sql(DATABASE, select)
}

/// Signs in, validates and signs out at these daemons until `stop`. Returns how often; no request may fail.
fn use_sessions(group: &Group, daemons: [usize; 2], stop: &AtomicBool) -> usize {
    let (hot, done) = (group.sign_in(daemons[0]), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in daemons {
            let (hot, done) = (&hot, &done);
            scope.spawn(move || {
                let api = group.daemons[number].api();
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(validated(&api, hot), Some(200), "{}", group.daemons[number].log());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            let clients = daemons.map(|number| group.daemons[number].api());
            while !stop.load(Ordering::Relaxed) {
                let token = group.sign_in(daemons[0]);
                assert_eq!(validated(&clients[1], &token), Some(200), "{}", group.logs());
                assert_eq!(clients[1].delete_as("/v1/session", &token).status, 204, "{}", group.logs());
            }
        });
    });
    done.into_inner()
}

#[test]
fn key_rotation_under_load_fails_no_request() {
    let Some((server, group)) = start() else { return };
    let before = group.sign_in(0);
    let stop = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        let load = scope.spawn(|| use_sessions(&group, [0, 1], &stop));
        let rotated: Vec<_> =
            [0, 1].map(|number| group.daemons[number].infrad(["key", "rotate"]).wait()).into();
        stop.store(true, Ordering::Relaxed);
        let done = load.join().expect("no request fails");
        for ran in rotated {
            ran.expect(0);
        }
        done
    });
    assert!(done > 0 && data_keys(&server).starts_with("3|"), "{done}: {}", data_keys(&server));
    for daemon in &group.daemons {
        assert_eq!(session(daemon, &before).status, 200, "{}", group.logs());
    }
}

#[test]
fn killed_key_rotation_is_finished_by_another_member() {
    let Some((server, mut group)) = start() else { return };
    let before = group.sign_in(0);
    let rotation = group.daemons[0].infrad(["key", "rotate"]);
    let is_published = || data_keys(&server).ends_with("|2").then_some(());
    assert!(wait::until(LIMIT, is_published).is_some(), "{}", group.logs());
    group.daemons[0].kill();
    drop(rotation);
    let stop = AtomicBool::new(false);
    let mut last = None;
    std::thread::scope(|scope| {
        let load = scope.spawn(|| use_sessions(&group, [1, 1], &stop));
        let rotated = wait::until(AFTER_KILL, || {
            let ran = group.daemons[1].infrad(["key", "rotate"]).wait();
            let is_done = ran.code == Some(0);
            last = Some(ran);
            is_done.then_some(())
        });
        stop.store(true, Ordering::Relaxed);
        load.join().expect("no request fails");
        assert!(rotated.is_some(), "{}\n{}", last.as_ref().expect("it ran"), group.logs());
    });
    // It was finished, not begun again.
    assert!(data_keys(&server).starts_with("2|"), "{}", data_keys(&server));
    group.daemons[0].start_again();
    for daemon in &group.daemons {
        expect_soon(&daemon.api(), &before, 200, daemon);
    }
}
