//! Rotations of the data key while two daemons serve.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon, validated};
use super::{LIMIT, session};

/// A killed daemon counts as running for 15 seconds, and holds its lease as long.
pub(super) const AFTER_KILL: Duration = Duration::from_mins(2);

pub(super) fn start() -> Option<(PostgreSQL, Group)> {
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

/// Rotates with this daemon. Tries again while another member does the same job.
#[track_caller]
pub(super) fn rotate(group: &Group, number: usize) {
    let mut last = None;
    let rotated = wait::until(AFTER_KILL, || {
        let ran = group.daemons[number].infrad(["key", "rotate"]).wait();
        let is_done = ran.code == Some(0);
        assert!(is_done || ran.stderr.contains("try again"), "{ran}\n{}", group.logs());
        last = Some(ran);
        is_done.then_some(())
    });
    assert!(rotated.is_some(), "{}\n{}", last.as_ref().expect("it ran"), group.logs());
}

/// Stops the load, also if the test fails.
pub(super) struct Stop<'a>(pub(super) &'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Signs in, validates and signs out at these daemons until `stop`. Returns how often; no request may fail.
pub(super) fn use_sessions(group: &Group, daemons: [usize; 2], stop: &AtomicBool) -> usize {
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
        {
            let _stop = Stop(&stop);
            rotate(&group, 0);
            rotate(&group, 1);
        }
        load.join().expect("no request fails")
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
    let interrupted = rotation.wait().expect(1);
    interrupted
        .stderr_contains(&["the running infrad ended before it responded", "run the same command again"]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| use_sessions(&group, [1, 1], &stop));
        {
            let _stop = Stop(&stop);
            rotate(&group, 1);
        }
        load.join().expect("no request fails");
    });
    // It was finished, not begun again.
    assert!(data_keys(&server).starts_with("2|"), "{}", data_keys(&server));
    group.daemons[0].start_again();
    for daemon in &group.daemons {
        expect_soon(&daemon.api(), &before, 200, daemon);
    }
}
