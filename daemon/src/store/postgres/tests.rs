//! Tests of connections and of the schema, on a server of their own.

mod canary;
mod changes;
mod forgery;
mod grace;
mod impostor;
mod look_ups;
mod lost_commits;
mod members;
mod touch;

use std::sync::Arc;

use infra_peers::postgresql::{PASSWORD, PostgreSQL, USER};
use infra_shared::http::{self, Trust};

use super::connections::Connections;
use super::{DatabaseHost, DatabasePassword, PostgresDatabase, PostgresSettings, schema};
use crate::keys::{RowKeys, StoredKeys};
use crate::secrets::Backends;
use crate::store::contract::at;
use crate::store::{MemberDescription, MemberID, Store, StoreError};

/// A store in a new database.
async fn store_on(server: &PostgreSQL) -> Store {
    server.create_database("infra");
    let database = PostgresDatabase::new(&over_socket(server, "infra")).expect("a pool");
    database.create_schema().await.expect("the schema");
    database.add_first_keys(&StoredKeys::fixed(), &RowKeys::fixed(), at(0)).await.expect("stored");
    server.allow_slow_statements("infra");
    open_member(server).await
}

/// The same store, for another daemon.
async fn open_member(server: &PostgreSQL) -> Store {
    let database = PostgresDatabase::new(&over_socket(server, "infra")).expect("a pool");
    Store::connect(database, Arc::new(RowKeys::fixed()), MemberID::random()).await.expect("a store")
}

/// The settings for a database over the socket.
fn over_socket(server: &PostgreSQL, name: &str) -> PostgresSettings {
    PostgresSettings {
        hosts: vec![DatabaseHost::Socket { directory: server.socket().to_owned(), port: server.port() }],
        name: name.to_owned(),
        user: USER.to_owned(),
        password: None,
        client_certificate: None,
        trust: Trust::System,
    }
}

fn over_tls(server: &PostgreSQL, host: &str) -> PostgresSettings {
    let pem = std::fs::read(server.authority_file()).expect("the authority");
    PostgresSettings {
        hosts: vec![DatabaseHost::TCP { name: host.to_owned(), port: server.port() }],
        password: Some(password(PASSWORD)),
        trust: Trust::Authorities(http::authorities_from_pem(&pem).expect("a certificate")),
        ..over_socket(server, "infra")
    }
}

fn password(text: &str) -> DatabasePassword {
    let backends = Backends::built_in();
    let reference = backends.parse(&format!("plaintext:{text}")).expect("a reference");
    DatabasePassword { reference, backends }
}

async fn connect(settings: &PostgresSettings) -> Result<Connections, StoreError> {
    let connections = Connections::new(settings)?;
    drop(connections.client().await?);
    Ok(connections)
}

async fn error(settings: &PostgresSettings) -> String {
    connect(settings).await.err().expect("no connection").to_string()
}

#[tokio::test]
async fn schema_is_created_once_and_checked() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let connections = connect(&over_socket(&server, "infra")).await.expect("a connection");
    let missing = schema::check(&connections).await.expect_err("no schema");
    assert!(matches!(missing, StoreError::NoSchema { .. }), "{missing}");
    let (one, other) = tokio::join!(schema::migrate(&connections), schema::migrate(&connections));
    one.and(other).expect("the schema");
    schema::migrate(&connections).await.expect("nothing to do");
    schema::check(&connections).await.expect("the schema");
    // New connections have the limits of the role.
    let limits = server.sql("infra", "SHOW statement_timeout");
    assert_eq!(limits, "10s");
    server.sql("infra", "UPDATE schema_version SET version = 99");
    for outcome in [schema::check(&connections).await, schema::migrate(&connections).await] {
        assert!(matches!(outcome, Err(StoreError::NewerSchema { found: 99, .. })), "{outcome:?}");
    }
}

/// The version of the schema, and whether the table of the next migration is there.
fn schema_of(server: &PostgreSQL) -> String {
    server.sql("infra", "SELECT version, to_regclass('later') IS NOT NULL FROM schema_version")
}

#[tokio::test]
async fn failed_migration_leaves_schema_before() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let connections = connect(&over_socket(&server, "infra")).await.expect("a connection");
    let [first, second] = schema::MIGRATIONS;
    schema::apply(&[first], &connections).await.expect("the first schema");
    let older = schema::check(&connections).await.expect_err("an older schema");
    assert!(matches!(older, StoreError::OlderSchema { found: 1, known: 2, .. }), "{older}");
    // The statements of a migration before the one that fails leave nothing.
    let broken = "CREATE TABLE later (number integer); SELECT 1 / 0";
    let failed = schema::apply(&[first, second, broken], &connections).await.expect_err("it fails");
    assert!(failed.to_string().contains("22012"), "{failed}");
    assert_eq!(schema_of(&server), "2|f");
    schema::check(&connections).await.expect("the schema before");

    // A newer infrad migrates once, also on several hosts. This one refuses the result.
    let next = [first, second, "CREATE TABLE later (number integer)"];
    let (one, other) = tokio::join!(schema::apply(&next, &connections), schema::apply(&next, &connections));
    one.and(other).expect("the next schema");
    assert_eq!(schema_of(&server), "3|t");
    for outcome in [schema::check(&connections).await, schema::migrate(&connections).await] {
        assert!(matches!(outcome, Err(StoreError::NewerSchema { found: 3, known: 2, .. })), "{outcome:?}");
    }
}

#[tokio::test]
async fn server_is_verified_before_the_password_is_sent() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let settings = over_tls(&server, "localhost");
    let connections = connect(&settings).await.expect("a verified connection");
    let tls = connections
        .run(async |client| {
            let query = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            Ok(client.query_typed_one(query, &[]).await?.get::<_, bool>(0))
        })
        .await;
    assert!(tls.expect("an answer"));

    let stranger = infra_harness::authority::Authority::new();
    let trust = Trust::Authorities(vec![stranger.certificate()]);
    let other = error(&PostgresSettings { trust, ..settings.clone() }).await;
    assert!(other.contains("rejects the certificate of the server"), "{other}");
    let wrong = Some(password("wrong"));
    let refused = error(&PostgresSettings { password: wrong, ..settings.clone() }).await;
    assert!(refused.contains("28P01") && !refused.contains("wrong"), "{refused}");
    let gone = error(&PostgresSettings { name: "gone".to_owned(), ..settings }).await;
    assert!(gone.contains("3D000"), "{gone}");
}

#[tokio::test]
async fn first_host_that_accepts_writes_is_used() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let mut settings = over_socket(&server, "infra");
    let nowhere = DatabaseHost::Socket { directory: "/nowhere".into(), port: 5432 };
    settings.hosts.insert(0, nowhere.clone());
    connect(&settings).await.expect("the second host");
    server.sql_as("postgres", "postgres", "ALTER DATABASE infra SET default_transaction_read_only = on");
    let error = error(&settings).await;
    assert!(error.contains("/nowhere: ") && error.contains("does not allow writes"), "{error}");
}

#[tokio::test]
async fn connections_work_again_after_a_crash() {
    let Some(mut server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    let connections = connect(&over_socket(&server, "infra")).await.expect("a connection");
    let answer = async || {
        let run = connections.run(async |client| Ok(client.query_typed_one("SELECT 1", &[]).await?.get(0)));
        run.await as Result<i32, StoreError>
    };
    answer().await.expect("an answer");
    server.stop();
    let away = answer().await.expect_err("no server");
    assert!(matches!(away, StoreError::Unavailable { .. }), "{away}");
    server.start_again();
    answer().await.expect("an answer");
}

#[tokio::test]
async fn error_repeats_no_value_of_a_row() {
    let Some(server) = PostgreSQL::start() else { return };
    server.create_database("infra");
    server.sql("infra", "CREATE TABLE t (v text PRIMARY KEY); INSERT INTO t VALUES ('canary')");
    let connections = connect(&over_socket(&server, "infra")).await.expect("a connection");
    for statement in ["INSERT INTO t VALUES ('canary')", "SELECT 'canary'::int"] {
        let failed = connections.run(async |client| Ok(client.batch_execute(statement).await?)).await;
        let failed = failed.expect_err("not possible");
        assert!(!format!("{failed} {failed:?}").contains("canary"), "{failed:?}");
    }
}

/// A lock keeps the statement waiting, as a lost standby would.
#[tokio::test]
async fn statement_that_nobody_waits_for_ends_on_the_server() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let holder = connect(&over_socket(&server, "infra")).await.expect("a connection");
    let held = holder.client().await.expect("a connection");
    held.batch_execute("BEGIN; LOCK TABLE members IN ACCESS EXCLUSIVE MODE").await.expect("the lock");
    let heartbeat = tokio::spawn(async move {
        let (name, address) = ("auth1".to_owned(), "127.0.0.1:8300".to_owned());
        store.heartbeat(&MemberDescription { name, address, version: "1".to_owned() }).await
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    for (begin, expected) in [(true, "1"), (false, "0")] {
        if !begin {
            heartbeat.abort();
        }
        let mut count = String::new();
        for _ in 0..600 {
            count = server.sql_as("postgres", "infra", waiting);
            if count == expected {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!(count, expected, "waiting statements");
    }
}
