//! The recovery key of a store in PostgreSQL.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_peers::postgresql::PostgreSQL;

use super::{Members, prepare, session, share};

fn create(daemon: &Daemon) -> String {
    let created = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    assert!(created.stderr.contains("This is your recovery key"), "{created}");
    created.stdout.trim().to_owned()
}

/// Replaces the root key with another one, as after its loss.
fn replace(root_key: &Path) {
    fs::remove_file(root_key).expect("the root key was there");
    fs::write(root_key, [9; 32]).expect("a file");
    fs::set_permissions(root_key, Permissions::from_mode(0o400)).expect("a mode");
}

#[test]
fn recovery_key_replaces_lost_root_key_of_all_daemons() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    let key = create(&members.one);
    // A rotation keeps it.
    members.one.infrad(["key", "rotate"]).wait().expect(0);
    let opens = |daemon: &Daemon, code| {
        daemon.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(code)
    };
    opens(&members.other, 0);
    let status = members.one.infrad(["key", "status", "--json"]).wait().expect(0).json();
    assert!(status["recoveryKeyCreatedAt"].is_string(), "{status}");

    // A daemon that runs holds the keys, on this host or elsewhere.
    let rewrap = |daemon: &Daemon, key: &str, code| {
        daemon.infrad_with_input(["key", "rewrap", "--recovery"], key).wait().expect(code)
    };
    rewrap(&members.one, &key, 1).stderr_contains(&["while infrad is running", "keep it running"]);
    assert_eq!(members.one.stop(), Some(0));
    rewrap(&members.one, &key, 1).stderr_contains(&[
        "is in use by 1 daemon",
        "keep one running",
        "infrad key rewrap",
    ]);
    assert_eq!(session(&members.other, &token).status, 200, "{}", members.other.log());
    assert_eq!(members.other.stop(), Some(0));

    replace(&members.one.root_key());
    for words in [&["serve"][..], &["check", "--live"], &["database", "create"]] {
        let refused = members.other.infrad_slice_with_input(words, "").wait().expect(1);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(said.contains("infrad key rewrap --recovery"), "{refused}");
    }
    let replaced = {
        let stranger = Provider::start();
        let other = Daemon::start(&stranger);
        create(&other)
    };
    rewrap(&members.one, &replaced, 1)
        .stderr_contains(&["this recovery key does not open", "belongs to another store"]);
    rewrap(&members.one, &key, 0)
        .stderr_contains(&["now wraps the data key", "backups made before need the root key native:"]);
    members.one.start_again();
    members.other.start_again();
    for daemon in [&members.one, &members.other] {
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
    }
    login::over_http(&members.other, &members.provider);
    opens(&members.one, 0);

    // It opens backups too. The next one replaces it.
    members.one.infrad(["backup", "kept.backup"]).wait().expect(0);
    let verify = |key: &str, code| {
        members
            .one
            .infrad_with_input(["backup", "verify", "kept.backup", "--recovery"], key)
            .wait()
            .expect(code)
    };
    verify(&key, 0);
    let next = create(&members.other);
    opens(&members.one, 1).stderr_contains(&["a newer recovery key has replaced it"]);
    members.one.infrad_with_input(["key", "recovery", "test"], &next).wait().expect(0);
    verify(&next, 1);

    // A file that replaces the database keeps it.
    for daemon in [&mut members.one, &mut members.other] {
        assert_eq!(daemon.stop(), Some(0));
    }
    members.one.infrad(["database", "move", "--to-file"]).wait().expect(0);
    members.one.change(|configuration| configuration.more.clear());
    members.one.infrad_with_input(["key", "recovery", "test"], &next).wait().expect(0);
}

#[test]
fn moved_store_keeps_recovery_key_of_its_file() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let key = create(&daemon);
    daemon.infrad(["backup", "kept.backup"]).wait().expect(0);
    assert_eq!(daemon.stop(), Some(0));
    daemon.change(|configuration| share(configuration, &server));
    daemon.infrad(["database", "move"]).wait().expect(0);
    daemon.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(0);

    // And so does a restored backup, on a host with another root key.
    server.sql_as("postgres", "postgres", "DROP DATABASE infra");
    server.create_database("infra");
    let host = prepare(&provider, &server, None);
    fs::create_dir_all(host.root_key().parent().expect("a directory")).expect("a directory");
    fs::write(host.root_key(), [9; 32]).expect("a file");
    fs::set_permissions(host.root_key(), Permissions::from_mode(0o400)).expect("a mode");
    fs::copy(daemon.directory().join("kept.backup"), host.directory().join("kept.backup")).expect("a copy");
    host.infrad_with_input(["restore", "kept.backup", "--recovery"], &key).wait().expect(0);
    host.infrad_with_input(["key", "recovery", "test"], &key).wait().expect(0);
}
