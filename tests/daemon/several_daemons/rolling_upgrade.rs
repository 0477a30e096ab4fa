//! Upgrades from the schema of an earlier build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use infra_harness::program::Ran;
use infra_harness::{login, skip, wait};
use infra_peers::postgresql::PostgreSQL;

use super::group::{Access, DATABASE, Group, expect_soon, wait_until_ready};
use super::key_rotation::{Stop, use_sessions};
use super::{LIMIT, Members, session};

/// Undoes the last migration: the schema as the build before has left it.
const PREVIOUS: &str = "ALTER TABLE keys DROP COLUMN recovery; UPDATE schema_version SET version = 1";
const VERSION: &str = "SELECT version FROM schema_version";

#[test]
fn newer_daemon_needs_migrated_schema_and_keeps_sessions() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    assert_eq!([members.one.stop(), members.other.stop()], [Some(0), Some(0)]);
    members.server.sql(DATABASE, PREVIOUS);
    for words in [&["serve"][..], &["check", "--live"], &["key", "status"]] {
        let refused = members.one.infrad_slice_with_input(words, "").wait().expect(1);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        for part in ["has schema 1, but this infrad needs schema 2", "`infrad database create`"] {
            assert!(said.contains(part), "{part}: {refused}");
        }
    }

    // Something in the database that infrad did not make.
    members.server.sql(DATABASE, "ALTER TABLE keys ADD COLUMN recovery integer");
    let failed = members.one.infrad(["database", "create"]).wait().expect(1);
    failed.stderr_contains(&["column \"recovery\" of relation \"keys\" already exists"]);
    assert_eq!(members.server.sql(DATABASE, VERSION), "1");
    members.server.sql(DATABASE, "ALTER TABLE keys DROP COLUMN recovery");

    let both = [members.one.infrad(["database", "create"]), members.other.infrad(["database", "create"])];
    for running in both {
        running.wait().expect(0).stderr_contains(&["is ready: schema 2, store "]);
    }
    members.one.start_again();
    members.other.start_again();
    for daemon in [&members.one, &members.other] {
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
    }
}

/// An `infrad` that knows the schema before only: `INFRA_EARLIER_INFRAD`.
#[expect(clippy::disallowed_methods, reason = "the person who runs the test has built it")]
fn earlier() -> Option<PathBuf> {
    let path = std::env::var_os("INFRA_EARLIER_INFRAD").map(PathBuf::from);
    if path.is_none() {
        skip::report("INFRA_EARLIER_INFRAD names no infrad of an earlier build");
    }
    path
}

/// Runs another program instead of the one that the harness names.
fn instead(earlier: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "shift; exec \"$0\" \"$@\""]).arg(earlier);
    command
}

#[test]
#[ignore = "needs an infrad of an earlier build"]
fn rolling_upgrade_under_load_fails_no_request() {
    let (Some(earlier), Some(server)) = (earlier(), PostgreSQL::start()) else { return };
    server.create_database(DATABASE);
    let mut group = Group::prepare(3, &Access::to(&server), |_, configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    });
    server.sql_as("postgres", "postgres", &format!("DROP DATABASE {DATABASE}"));
    server.create_database(DATABASE);
    let old = |group: &Group, number: usize, words: &[&str]| -> Ran {
        group.daemons[number].infrad_under(instead(&earlier), words).wait()
    };
    let created = old(&group, 0, &["database", "create"]).expect(0);
    assert!(created.stderr.contains("is ready: schema 1, store "), "{created}");
    for daemon in &mut group.daemons {
        assert!(daemon.start_under(instead(&earlier)), "{}", daemon.log());
    }
    wait_until_ready(&group.clients());
    let token = group.sign_in(0);
    let mut requests = 0;
    // The daemons that are not replaced serve meanwhile, of both versions.
    for (number, others) in [(2, [0, 1]), (0, [1, 2]), (1, [2, 0])] {
        let mut replaced = group.daemons.remove(number);
        // Keeps the numbers of the others.
        let at = |it: usize| if it > number { it - 1 } else { it };
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| use_sessions(&group, others.map(at), &stop));
            {
                let _stop = Stop(&stop);
                replaced
                    .infrad(["database", "create"])
                    .wait()
                    .expect(0)
                    .stderr_contains(&["is ready: schema 2"]);
                assert_eq!(replaced.stop(), Some(0));
                replaced.start_again();
                wait_until_ready(&[replaced.api()]);
            }
            requests += load.join().expect("no request fails");
        });
        expect_soon(&replaced.api(), &token, 200, &replaced);
        group.daemons.insert(number, replaced);
        if number == 2 {
            // Daemons of both versions change the keys.
            let key = group.daemons[2].infrad(["key", "recovery", "create"]).wait().expect(0);
            old(&group, 0, &["key", "rotate"]).expect(0);
            let is_complete = || {
                let without = "SELECT count(*) FROM keys WHERE recovery IS NULL";
                (server.sql(DATABASE, without) == "0").then_some(())
            };
            assert!(wait::until(LIMIT, is_complete).is_some(), "{}", group.logs());
            let opened = ["key", "recovery", "test"];
            group.daemons[2].infrad_with_input(opened, key.stdout.trim()).wait().expect(0);
            // The one before cannot start again.
            assert_eq!(group.daemons[1].stop(), Some(0));
            let refused = old(&group, 1, &["serve"]).expect(1);
            refused.stderr_contains(&["has schema 2, but this infrad supports up to schema 1"]);
            group.daemons[1].start_again();
        }
    }
    println!("{requests} validations, none failed");
    assert!(requests > 0);
}
