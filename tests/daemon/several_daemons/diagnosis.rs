//! What `infrad check --live` and a start say of a database that cannot be used.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::postgresql::{PASSWORD, PostgreSQL, USER};

use super::{Members, prepare};

/// A heartbeat, and the limit of its answer, with time to spare.
const LIMIT: Duration = Duration::from_mins(2);

/// A database with schema and keys, and a daemon that does not run.
fn created() -> Option<(PostgreSQL, Provider, Daemon)> {
    let server = PostgreSQL::start()?;
    server.create_database("infra");
    let provider = Provider::start();
    let daemon = prepare(&provider, &server, None);
    daemon.infrad(["database", "create"]).wait().expect(0);
    Some((server, provider, daemon))
}

fn change(daemon: &mut Daemon, from: &str, to: &str) {
    daemon.change(|configuration| {
        assert!(configuration.more.contains(from), "{}", configuration.more);
        configuration.more = configuration.more.replace(from, to);
    });
}

#[track_caller]
fn expect_all(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn role_without_rights_fails_the_check() {
    let Some((server, _provider, mut daemon)) = created() else { return };
    let role = |name: &str, more: &str| {
        let create = format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'; {more}");
        server.sql_as("postgres", "infra", &create);
    };
    role("reader", "GRANT pg_read_all_data TO reader");
    role("stranger", "REVOKE ALL ON SCHEMA public FROM PUBLIC");
    role("frozen", "GRANT infrad TO frozen; ALTER ROLE frozen SET default_transaction_read_only = on");
    change(&mut daemon, &format!("user: {USER}"), "user: reader");
    let checked = daemon.infrad(["check", "--live"]).wait().expect(1).stdout;
    expect_all(
        &checked,
        &["rights of the role", "the role lacks DELETE on ", "GRANT USAGE ON SCHEMA public"],
    );
    let refused = daemon.infrad(["serve"]).wait().expect(1).stderr;
    expect_all(
        &refused,
        &["database infra on localhost:", "permission denied", "try: run `infrad check --live`"],
    );
    assert!(!refused.contains(&daemon.data_dir().display().to_string()), "{refused}");

    change(&mut daemon, "user: reader", "user: stranger");
    let checked = daemon.infrad(["check", "--live"]).wait().expect(1).stdout;
    expect_all(&checked, &["the role lacks USAGE on the schema public"]);
    let refused = daemon.infrad(["serve"]).wait().expect(1).stderr;
    expect_all(&refused, &["the role lacks USAGE on the schema public"]);
    for said in [checked, refused] {
        assert!(!said.contains("no schema of infrad"), "{said}");
    }

    change(&mut daemon, "user: stranger", "user: frozen");
    let checked = daemon.infrad(["check", "--live"]).wait();
    expect_all(&checked.stdout, &["the role lacks writing: `default_transaction_read_only` is on"]);
}

#[test]
fn lost_synchronous_standby_is_no_green_state() {
    let Some(server) = PostgreSQL::start() else { return };
    let mut members = Members::start(server);
    members.server.set("synchronous_standby_names", "lost");
    let checked = members.one.infrad(["check", "--live"]).wait().expect(1).stdout;
    expect_all(&checked, &["did not answer in 4 s", "no standby is connected", "start the standby"]);
    let mut last = None;
    let is_red = || {
        let answered = members.one.api().get("/readyz");
        let is_red = answered.status == 503;
        last = Some(answered);
        is_red.then_some(())
    };
    assert!(wait::until(LIMIT, is_red).is_some(), "it is ready\n{}", members.one.log());
    let status = members.one.infrad(["status"]).wait().stdout;
    expect_all(&status, &["state         waiting: ", "the database did not answer in 15 s"]);
    assert!(!members.one.log().to_string().contains("no connection became free"), "{}", members.one.log());

    // It cannot say goodbye either.
    members.other.kill();
    let starting = members.other.infrad(["serve"]);
    let says = || starting.output().contains("the start waits for the database").then_some(());
    assert!(wait::until(LIMIT, says).is_some(), "{}", starting.output());
    members.server.set("synchronous_standby_names", "");
    let is_ready = || (members.one.api().get("/readyz").status == 204).then_some(());
    assert!(wait::until(LIMIT, is_ready).is_some(), "{}", members.one.log());
}

#[test]
fn each_cause_has_its_own_advice() {
    let Some((mut server, _provider, mut daemon)) = created() else { return };
    let wrong = daemon.directory().join("wrong-password");
    std::fs::write(&wrong, "wrong").expect("a file");
    std::fs::set_permissions(&wrong, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    let other = Authority::new();
    let (password, authority) = (server.password_file(), server.authority_file());
    let password = format!("password: 'file:{}', ", password.display());
    let (wrong, other) = (format!("password: 'file:{}', ", wrong.display()), other.file());
    let (authority, other) = (authority.display().to_string(), other.display().to_string());
    for (from, to, code, said) in [
        ("name: infra", "name: other", 1, &["does not exist", "createdb --owner="][..]),
        (password.as_str(), wrong.as_str(), 1, &["where `database.password` points"]),
        (&password, "", 1, &["`database.password` is not set", "set `database.password`"]),
        (&authority, &other, 1, &["rejects the certificate of the server", "set `database.caFile`"]),
    ] {
        change(&mut daemon, from, to);
        let checked = daemon.infrad(["check", "--live"]).wait().expect(code).stdout;
        expect_all(&checked, said);
        expect_all(&checked, &["unknown  database: schema and keys", "no server answers"]);
        assert!(!checked.contains("Other("), "{checked}");
        let refused = daemon.infrad(["database", "create"]).wait().expect(4).stderr;
        expect_all(&refused, said);
        daemon.change(|it| it.more = it.more.replacen(to, from, usize::from(!to.is_empty())));
        if to.is_empty() {
            change(&mut daemon, "caFile: ", &format!("{from}caFile: "));
        }
    }
    server.stop();
    for words in [&["check", "--live"][..], &["database", "create"], &["key", "rotate"]] {
        let refused = daemon.infrad_slice_with_input(words, "").wait().expect(4);
        expect_all(&format!("{}{}", refused.stdout, refused.stderr), &["start PostgreSQL there"]);
    }
}

#[test]
fn host_without_the_root_key_is_told_to_copy_it() {
    let Some((server, provider, first)) = created() else { return };
    let second = prepare(&provider, &server, None);
    let checked = second.infrad(["check"]).wait().stdout;
    let live = second.infrad(["check", "--live"]).wait().expect(1).stdout;
    let refusal = second.infrad(["serve"]).wait().expect(1).stderr;
    expect_all(&checked, &["copy it from the host that has it", "database infra on localhost:"]);
    expect_all(
        &live,
        &["copy it from the host that has it", "copy the root key from a host whose daemon has it"],
    );
    expect_all(&refusal, &["copy the root key from a host whose daemon has it"]);
    for said in [checked, live, refusal] {
        assert!(!said.contains("urandom") && !said.contains("recovery key"), "{said}");
    }
    drop(first);
}

#[test]
fn check_names_files_of_database_that_are_missing() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str| directory.path().join(name).display().to_string();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
        configuration.more = format!(
            "database: {{kind: postgresql, hosts: [db1.example.test], name: infra, user: infrad, password: 'file:{}', \
             clientCertificate: {}, clientKey: {}}}\n",
            file("password"),
            file("client.pem"),
            file("client.key"),
        );
    });
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    for name in ["password", "client.pem", "client.key"] {
        assert!(checked.contains(&format!("{} is missing", file(name))), "{name}: {checked}");
    }
}
