//! What anyone can cause leaves connections for everything else.

use std::time::Duration;

use infra_peers::postgresql::PostgreSQL;
use infra_shared::token_text::SessionToken;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::connections::Client;
use super::{connect, over_socket, store_on};
use crate::store::contract::at;
use crate::store::{MemberDescription, Presented, Store, StoreError};

/// Longer than anything takes that has a connection.
const LIMIT: Duration = Duration::from_secs(30);

/// Locks a table until the returned connection is closed.
async fn lock(server: &PostgreSQL, table: &str) -> Client {
    let holder = connect(&over_socket(server, "infra")).await.expect("a connection");
    let held = holder.client().await.expect("a connection");
    held.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        .await
        .expect("the lock");
    held
}

/// Waits until this many statements wait for a lock, at least.
async fn wait_for_waiting(server: &PostgreSQL, least: usize) -> usize {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    for _ in 0..600 {
        let count = server.sql_as("postgres", "infra", waiting).parse().expect("a number");
        if count >= least {
            return count;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("fewer than {least} statements wait");
}

async fn heartbeat(store: &Store) -> Result<(), StoreError> {
    let (name, address) = ("auth1".to_owned(), "127.0.0.1:8300".to_owned());
    store.heartbeat(&MemberDescription { name, address, version: "1".to_owned() }).await
}

#[tokio::test]
async fn look_ups_of_tokens_leave_connections_for_others() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let held = lock(&server, "sessions").await;
    let mut strangers = JoinSet::new();
    for number in 0..60 {
        let (store, token) = (store.clone(), SessionToken::mint());
        strangers.spawn(async move {
            let client = [192, 0, 2, number % 6].into();
            store.find_token(Presented { token: token.expose(), client }).await
        });
    }
    wait_for_waiting(&server, 12).await;
    for _ in 0..5 {
        timeout(LIMIT, heartbeat(&store)).await.expect("a connection").expect("stored");
        timeout(LIMIT, store.check()).await.expect("a connection").expect("an answer");
        let id = infra_shared::random::bytes();
        timeout(LIMIT, store.consume_ticket(id, at(300))).await.expect("a connection").expect("stored");
    }
    assert_eq!(wait_for_waiting(&server, 12).await, 12);
    held.batch_execute("ROLLBACK").await.expect("unlocked");
    while let Some(found) = strangers.join_next().await {
        assert!(found.expect("no panic").expect("an answer").is_none());
    }
}

#[tokio::test]
async fn look_ups_of_one_client_beyond_queue_are_refused() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let held = lock(&server, "sessions").await;
    let mut strangers = JoinSet::new();
    for _ in 0..300 {
        let (store, token) = (store.clone(), SessionToken::mint());
        strangers.spawn(async move { store.find_token(token.expose()).await });
    }
    let refused = timeout(LIMIT, strangers.join_next()).await.expect("the queue is full");
    let refused = refused.expect("a look-up").expect("no panic").expect_err("the queue is full");
    assert!(matches!(refused, StoreError::Queued(_)) && refused.is_transient(), "{refused}");
    // Another client is next.
    let (other, token) = (store.clone(), SessionToken::mint());
    let client = [192, 0, 2, 1].into();
    let other =
        tokio::spawn(async move { other.find_token(Presented { token: token.expose(), client }).await });
    wait_for_waiting(&server, 10).await;
    held.batch_execute("ROLLBACK").await.expect("unlocked");
    assert!(other.await.expect("no panic").expect("an answer").is_none());
}

#[tokio::test]
async fn many_readiness_checks_share_one_read() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let held = lock(&server, "counter").await;
    let mut checks = JoinSet::new();
    for _ in 0..60 {
        let store = store.clone();
        checks.spawn(async move { store.check().await });
    }
    wait_for_waiting(&server, 1).await;
    for _ in 0..20 {
        let unknown = SessionToken::mint();
        let found = timeout(LIMIT, store.find_token(unknown.expose())).await.expect("a connection");
        assert!(found.expect("an answer").is_none());
    }
    assert_eq!(wait_for_waiting(&server, 1).await, 1);
    held.batch_execute("ROLLBACK").await.expect("unlocked");
    while let Some(checked) = checks.join_next().await {
        checked.expect("no panic").expect("an answer");
    }
}
