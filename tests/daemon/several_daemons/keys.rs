//! `infrad key` and `infrad database create` while daemons run on one database.

use std::os::unix::fs::PermissionsExt;

use infra_harness::daemon::Daemon;
use infra_harness::provider::Provider;
use infra_harness::{login, wait};
use infra_peers::postgresql::PostgreSQL;
use infra_peers::root_keys::native;

use super::{LIMIT, Members, prepare, session};

#[test]
fn rotation_leaves_sessions_and_logins_working() {
    let Some(server) = PostgreSQL::start() else { return };
    let members = Members::start(server);
    let daemons = [&members.one, &members.other];
    let token = login::over_http(&members.one, &members.provider);
    let rotated = members.other.infrad(["key", "rotate"]).wait().expect(0);
    let said = [
        "encrypting the store with a new data key, once every daemon has read it; sign-ins and validations continue",
        "data key 2 now encrypts the store",
        "a daemon deletes the previous data key",
    ];
    let rotated = rotated.stderr_contains(&said);
    assert!(!rotated.stderr.contains("writes wait"), "{rotated}");
    for daemon in daemons {
        let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
        let listed = status["members"].as_array().expect("a list");
        assert_eq!(listed.len(), 2, "{status}");
        assert!(listed.iter().all(|member| member["dataKeyVersion"] == 2), "{status}");
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
    }
    let later = login::over_http(&members.other, &members.provider);
    members.one.infrad(["key", "rewrap"]).wait().expect(0);
    for daemon in daemons {
        assert_eq!(session(daemon, &later).status, 200, "{}", daemon.log());
    }
}

#[test]
fn daemon_without_the_new_root_key_is_degraded() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let next = members.one.directory().join("next.key");
    std::fs::write(&next, [7; 32]).expect("a file");
    std::fs::set_permissions(&next, std::fs::Permissions::from_mode(0o400)).expect("a mode");
    let old = members.one.root_key();
    let use_keys = |daemon: &mut Daemon, keys: String| {
        daemon.change(|configuration| {
            configuration.root_keys = Some(keys);
            configuration.more.push_str("rollbackGuardFile: none\n");
        });
    };
    use_keys(&mut members.one, format!("[{}, {}]", native(&next), native(&old)));
    members.one.infrad(["key", "rewrap"]).wait().expect(0);
    let says = |daemon: &Daemon, state: &str| {
        let mut said = String::new();
        let found = wait::until(LIMIT, || {
            said = daemon.infrad(["status"]).wait().stdout;
            said.contains(state).then_some(())
        });
        assert!(found.is_some(), "{said}\n{}", daemon.log());
        said
    };
    let said = says(&members.other, "state         degraded: ");
    assert!(said.contains("needs the root key native:"), "{said}");
    let refused = members.other.infrad(["key", "rewrap"]).wait().expect(1);
    refused.stderr_contains(&["another daemon wrapped the keys", "copy that root key"]);
    use_keys(&mut members.other, format!("[{}]", native(&next)));
    says(&members.other, "state         ready");
    says(&members.one, "state         ready");
}

/// Pods of a deployment start at the same time.
#[test]
fn parallel_creations_make_one_store() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let first = prepare(&provider, &server, None);
    // Makes the root key. All others read it.
    first.infrad(["database", "create"]).wait().expect(0);
    for _ in 0..3 {
        server.sql_as("postgres", "postgres", "DROP DATABASE infra");
        server.create_database("infra");
        let running = [(); 3].map(|()| first.infrad(["database", "create"]));
        let said = running.map(|running| running.wait().expect(0).stderr);
        assert!(said.iter().all(|line| line.contains("is ready: ") && *line == said[0]), "{said:?}");
        assert_eq!(server.sql("infra", "SELECT count(*) FROM keys WHERE kind = 'data'"), "1");
    }
}

#[test]
fn newer_schema_stops_only_older_daemons_that_start() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    assert_eq!(members.other.stop(), Some(0));
    members.server.sql("infra", "UPDATE schema_version SET version = version + 1");
    for words in [&["serve"][..], &["database", "create"]] {
        let refused = members.other.infrad_slice_with_input(words, "").wait().expect(1);
        refused.stderr_contains(&["has schema 3, but this infrad supports up to schema 2"]);
    }
    assert_eq!(session(&members.one, &token).status, 200, "{}", members.one.log());
}
