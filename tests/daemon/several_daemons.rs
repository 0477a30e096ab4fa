//! Several daemons on one PostgreSQL database.

#![expect(clippy::indexing_slicing, reason = "a test panics whenever it has to fail")]

mod acme;
mod cut_off;
mod diagnosis;
mod failover;
mod far_database;
mod grace;
mod group;
mod key_rotation;
mod keys;
mod killed_rotation;
mod kills;
mod lost_authority;
mod managed_failover;
mod pooler;
mod races;
mod recorded_time;
mod recovery;
mod restored_dump;
mod revocation;
mod rolling_upgrade;
mod servers;
mod storm;
mod workloads;

use std::path::PathBuf;
use std::time::Duration;

use infra_harness::api::Answered;
use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Configuration, Daemon, ProviderEntry};
use infra_harness::provider::Provider;
use infra_harness::{login, wait};
use infra_peers::postgresql::{PASSWORD, PostgreSQL, USER};

/// Far longer than a daemon may take to learn of a revocation or of a database that is back.
const LIMIT: Duration = Duration::from_secs(30);

/// Two daemons with the same provider, root key and database.
struct Members {
    server: PostgreSQL,
    provider: Provider,
    one: Daemon,
    other: Daemon,
}

impl Members {
    /// Creates the database and starts both.
    fn start(server: PostgreSQL) -> Self {
        server.create_database("infra");
        let provider = Provider::start();
        let mut one = prepare(&provider, &server, None);
        let created = one.infrad(["database", "create"]).wait().expect(0);
        assert!(created.stderr.contains("is ready: schema 2, store "), "{created}");
        let mut other = prepare(&provider, &server, Some(one.root_key()));
        one.start_again();
        other.start_again();
        Self { server, provider, one, other }
    }
}

fn prepare(provider: &Provider, server: &PostgreSQL, root_key: Option<PathBuf>) -> Daemon {
    Daemon::prepare(vec![ProviderEntry::of(provider)], |configuration| {
        share(configuration, server);
        if let Some(root_key) = root_key {
            configuration.root_key = root_key;
        }
    })
}

fn share(configuration: &mut Configuration, server: &PostgreSQL) {
    configuration.more = format!(
        "database: {{kind: postgresql, hosts: ['localhost:{}'], name: infra, user: {USER}, password: 'file:{}', caFile: {}}}\n",
        server.port(),
        server.password_file().display(),
        server.authority_file().display(),
    );
}

fn session(daemon: &Daemon, token: &str) -> Answered {
    daemon.api().get_as("/v1/session", token)
}

#[test]
fn session_is_valid_at_every_daemon_until_sign_out() {
    let Some(server) = PostgreSQL::start() else { return };
    let members = Members::start(server);
    let (one, other) = (&members.one, &members.other);
    assert_eq!(one.fingerprint(), other.fingerprint(), "two CAs");
    let token = login::over_http(one, &members.provider);
    for daemon in [one, other] {
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
    }
    assert_eq!(other.api().delete_as("/v1/session", &token).status, 204);
    assert_eq!(session(other, &token).status, 401);
    let refused = wait::until(LIMIT, || (session(one, &token).status == 401).then_some(()));
    assert!(refused.is_some(), "it stays valid\n{}", one.log());
}

#[test]
fn daemon_serves_again_when_the_database_is_back() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    members.server.stop();
    let away = wait::until(LIMIT, || {
        let answered = members.one.api().get("/readyz");
        (answered.status == 503).then_some(answered)
    });
    assert!(away.is_some(), "it is ready without its database");
    let refused = wait::until(LIMIT, || (session(&members.one, &token).status == 503).then_some(()));
    assert!(refused.is_some(), "it validates without its database");
    let status = members.one.infrad(["status"]).wait();
    let waits = status.stdout.contains("state         waiting: ") && status.stdout.contains("localhost:");
    assert!(waits, "{status}");
    assert!(members.one.is_running() && members.other.is_running());
    let log = members.one.log().to_string();
    for job in ["cannot follow a rotation", "cannot revoke tokens", "cannot read the certificates"] {
        assert!(!log.contains(job), "one outage, several errors\n{log}");
    }
    members.server.start_again();
    for daemon in [&members.one, &members.other] {
        let valid = wait::until(LIMIT, || (session(daemon, &token).status == 200).then_some(()));
        assert!(valid.is_some(), "{}", daemon.log());
    }
}

#[test]
fn status_lists_daemons_until_they_stop() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    let listed = |daemon: &Daemon| {
        let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
        let members = status["members"].as_array().expect("a list").clone();
        assert_eq!(members.iter().filter(|member| member["isThis"] == true).count(), 1, "{members:?}");
        members.len()
    };
    assert!(wait::until(LIMIT, || (listed(&members.one) == 2).then_some(())).is_some());
    let text = members.one.infrad(["status"]).wait().expect(0).stdout;
    assert!(text.contains("member        ") && text.contains("(this one)"), "{text}");
    let server = format!("database      localhost:{}\n", members.server.port());
    for expected in [server, format!(" at 127.0.0.1:{},", members.other.port())] {
        assert!(text.contains(&expected), "{expected}: {text}");
    }
    assert_eq!(members.other.stop(), Some(0));
    assert_eq!(listed(&members.one), 1);
}

#[test]
fn database_holds_no_name_and_no_token() {
    let Some(server) =
        PostgreSQL::start_with(&["fsync=off", "log_statement=all", "log_min_duration_statement=0"])
    else {
        return;
    };
    let members = Members::start(server);
    let token = login::over_http(&members.one, &members.provider);
    let user = session(&members.one, &token).json()["user"].clone();
    let mut canaries = Canaries::default();
    canaries.add("token", &token);
    canaries.add("password", PASSWORD);
    for name in ["email", "issuer"] {
        canaries.add(name, user[name].as_str().unwrap_or_else(|| panic!("{name}: {user}")));
    }
    members.server.sql_as("postgres", "infra", "CHECKPOINT");
    let log = members.server.log();
    assert!(log.contains("INSERT INTO sessions"), "statements are not in the log");
    assert_eq!(canaries.find(log.as_bytes()), Vec::<String>::new());
    assert_eq!(canaries.find_in_files(&members.server.data(), &[]), Vec::<String>::new());
    // The search finds what is there.
    canaries.add("control", members.server.sql("infra", "SELECT id FROM store"));
    assert!(!canaries.find_in_files(&members.server.data(), &[]).is_empty());
}

#[test]
fn start_without_schema_names_the_command() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let provider = Provider::start();
    let daemon = prepare(&provider, &server, None);
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&["no schema", "infrad database create"]);
    let checked = daemon.infrad(["check", "--live"]).wait().expect(1);
    for line in ["primary, over TLSv1.3", "durability", "failover", "infrad database create"] {
        assert!(checked.stdout.contains(line), "{line}: {checked}");
    }
    daemon.infrad(["database", "create"]).wait().expect(0);
    let twice = [daemon.infrad(["database", "create"]), daemon.infrad(["database", "create"])];
    for running in twice {
        running.wait().expect(0);
    }
    let checked = daemon.infrad(["check", "--live"]).wait();
    assert!(checked.stdout.contains("ok       database: schema and keys"), "{checked}");
}
