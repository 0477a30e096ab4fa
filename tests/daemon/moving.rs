//! The store moves between a data directory and a PostgreSQL database, and backups of one engine restore into the other.

use std::time::Duration;

use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::postgresql::{PostgreSQL, USER};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(30);

fn database_of(server: &PostgreSQL) -> String {
    format!(
        "database: {{kind: postgresql, hosts: ['localhost:{}'], name: infra, user: {USER}, password: 'file:{}', caFile: {}}}\n",
        server.port(),
        server.password_file().display(),
        server.authority_file().display(),
    )
}

/// Gives the daemon `database`, or a file.
fn use_database(daemon: &mut Daemon, server: Option<&PostgreSQL>) {
    let more = server.map(database_of).unwrap_or_default();
    daemon.change(|configuration| configuration.more = more);
}

/// Another host, which shares the root key.
fn host_beside(daemon: &Daemon, provider: &Provider, server: Option<&PostgreSQL>) -> Daemon {
    Daemon::prepare(vec![ProviderEntry::of(provider)], |configuration| {
        configuration.root_key = daemon.root_key();
        configuration.more = server.map(database_of).unwrap_or_default();
    })
}

#[track_caller]
fn assert_status(daemon: &Daemon, token: &str, status: u16) {
    let answered = daemon.api().get_as("/v1/session", token);
    assert_eq!(answered.status, status, "{answered:?}\n{}", daemon.log());
}

#[test]
fn sessions_and_fingerprint_survive_move_and_return() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let (token, signed_out) = (login::over_http(&daemon, &provider), login::over_http(&daemon, &provider));
    let pin = daemon.pin();
    daemon.infrad(["database", "move"]).wait().expect(2).stderr_contains(&["no `database` section"]);
    use_database(&mut daemon, Some(&server));
    daemon.infrad(["database", "move"]).wait().expect(1).stderr_contains(&["while infrad is running"]);
    daemon.stop();
    let moved = daemon.infrad(["database", "move"]).wait().expect(0);
    moved.stderr_contains(&["with 2 live sessions", "a daemon without `database`"]);
    daemon.infrad(["database", "move"]).wait().expect(0).stderr_contains(&["an earlier run has moved"]);

    // Only the database is in use.
    use_database(&mut daemon, None);
    let refused = daemon.infrad(["serve"]).wait().expect(1);
    refused.stderr_contains(&["was moved to database infra on localhost:", "infrad database move --to-file"]);
    daemon.infrad(["backup", "old"]).wait().expect(1);
    use_database(&mut daemon, Some(&server));
    let mut other = host_beside(&daemon, &provider, Some(&server));
    daemon.start_again();
    other.start_again();
    assert_eq!([daemon.pin(), other.pin()], [pin, pin]);
    for member in [&daemon, &other] {
        assert_status(member, &token, 200);
    }
    assert_eq!(other.api().delete_as("/v1/session", &signed_out).status, 204);
    daemon.stop();
    let running = daemon.infrad(["database", "move", "--to-file"]).wait().expect(1);
    running.stderr_contains(&["is in use by 1 daemon", "try: stop every daemon"]);
    other.stop();

    daemon
        .infrad(["database", "move", "--to-file"])
        .wait()
        .expect(0)
        .stderr_contains(&["with 1 live session", "remove `database` from the configuration"]);
    let refused = other.infrad(["serve"]).wait().expect(1);
    refused.stderr_contains(&["was moved into a file", "try: remove `database`"]);
    use_database(&mut daemon, None);
    daemon.start_again();
    assert_eq!(daemon.pin(), pin);
    assert_status(&daemon, &token, 200);
    assert_status(&daemon, &signed_out, 401);
}

#[test]
fn accepted_file_of_moved_store_has_no_sessions() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.stop();
    use_database(&mut daemon, Some(&server));
    daemon.infrad(["database", "move"]).wait().expect(0);
    use_database(&mut daemon, None);
    let mut accepting = daemon.infrad(["serve", "--accept-rollback"]);
    accepting.wait_for("its address", |stdout, stderr| {
        format!("{stdout}{stderr}").contains("https://").then_some(())
    });
    accepting.signal(Signal::TERM);
    assert_eq!(accepting.wait_for_end(LIMIT), Some(Some(0)), "{}", accepting.output());
    daemon.start_again();
    assert_status(&daemon, &token, 401);
}

#[test]
fn killed_move_completes_when_run_again() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.stop();
    use_database(&mut daemon, Some(&server));
    daemon.infrad(["database", "create"]).wait().expect(0);
    // Blocks the last batch.
    let wait = "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$; \
                CREATE TRIGGER wait BEFORE INSERT ON certificates FOR EACH ROW EXECUTE FUNCTION wait()";
    server.sql("infra", wait);
    let mut moving = daemon.infrad(["database", "move"]);
    let begun = wait::until(LIMIT, || {
        let copied = "SELECT count(*) FROM sessions, store WHERE state = 'filling' AND ended_at IS NULL";
        (server.sql("infra", copied) == "1").then_some(())
    });
    assert!(begun.is_some(), "{}", moving.output());
    moving.signal(Signal::KILL);
    moving.wait_for_end(LIMIT).expect("nothing survives SIGKILL");
    // Its statement still waits at the server.
    let end = "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO certificates%'";
    server.sql_as("postgres", "postgres", end);
    server.sql("infra", "DROP TRIGGER wait ON certificates");
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&["a copy into it did not finish"]);
    daemon.infrad(["check", "--live"]).wait().expect(1);
    daemon.infrad(["database", "move"]).wait().expect(0).stderr_contains(&["with 1 live session"]);
    daemon.start_again();
    assert_status(&daemon, &token, 200);
}

#[test]
fn backup_of_file_restores_into_database_and_back() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let (token, pin) = (login::over_http(&daemon, &provider), daemon.pin());
    daemon.infrad(["backup", "of-file"]).wait().expect(0);
    daemon.stop();
    use_database(&mut daemon, Some(&server));
    // As the page says: with a store of its own, which has no sessions.
    daemon.infrad(["database", "create"]).wait().expect(0);
    let restored = daemon.infrad(["restore", "of-file"]).wait().expect(0);
    restored.stderr_contains(&["to database infra on localhost:", "revoked its 1 session"]);
    daemon.start_again();
    assert_eq!(daemon.pin(), pin);
    assert_status(&daemon, &token, 401);

    let later = login::over_http(&daemon, &provider);
    daemon
        .infrad(["backup", "of-database"])
        .wait()
        .expect(0)
        .stderr_contains(&["keep the root key and the recovery key elsewhere, because only they open it"]);
    daemon.infrad(["backup", "verify", "of-database"]).wait().expect(0);
    daemon.infrad(["restore", "of-database"]).wait().expect(1).stderr_contains(&["while infrad is running"]);
    let mut other = host_beside(&daemon, &provider, Some(&server));
    let file = daemon.directory().join("of-database").display().to_string();
    let refused = other.infrad(["restore", &file]).wait().expect(1);
    refused.stderr_contains(&["is in use by 1 daemon", "try: stop every daemon"]);
    assert_status(&daemon, &later, 200);

    // Into an empty directory, and over the store in the database.
    use_database(&mut other, None);
    other.infrad(["restore", &file]).wait().expect(0).stderr_contains(&["revoked its 1 session"]);
    other.start_again();
    assert_eq!(other.pin(), pin);
    assert_status(&other, &later, 401);
    daemon.stop();
    daemon.infrad(["restore", "of-database"]).wait().expect(0).stderr_contains(&["revoked its 1 session"]);
    daemon.start_again();
    assert_status(&daemon, &later, 401);
    login::over_http(&daemon, &provider);
}

#[test]
fn other_store_and_live_sessions_are_not_replaced() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let mut shared = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
        configuration.more = database_of(&server);
    });
    shared.infrad(["database", "create"]).wait().expect(0);
    shared.infrad(["database", "move"]).wait().expect(1).stderr_contains(&["there is no store in"]);
    shared.start_again();
    let token = login::over_http(&shared, &provider);
    shared.stop();
    let mut daemon = Daemon::start(&provider);
    daemon.infrad(["backup", "of-file"]).wait().expect(0);
    daemon.stop();
    use_database(&mut daemon, Some(&server));
    let refused = daemon.infrad(["database", "move"]).wait().expect(1);
    refused.stderr_contains(&["has 1 live session", "try: "]);
    let refused = daemon.infrad(["restore", "of-file"]).wait().expect(1);
    refused.stderr_contains(&["contains another store", "try: use an empty database, or"]);
    daemon.infrad(["database", "move", "--to-file"]).wait().expect(1);
    shared.start_again();
    assert_status(&shared, &token, 200);
}
