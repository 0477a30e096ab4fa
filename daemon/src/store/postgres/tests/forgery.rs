//! What someone who can write to the tables cannot do.

use infra_peers::postgresql::PostgreSQL;

use super::store_on;
use crate::store::contract::{at, session, session_with_token};
use crate::store::{EndReason, SessionSelector, StoreError};

/// Each change is made to Bob's row, by someone who wants more than Bob may.
#[tokio::test]
async fn session_changed_in_its_table_is_refused() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let (alice, bob) = (session("alice", 0), session("bob", 0));
    for new in [&alice, &bob] {
        store.open_session(new.clone(), 48).await.expect("stored");
    }
    let (alice, bob) = (alice.id, bob.id);
    server.sql("infra", "CREATE TABLE before AS SELECT * FROM sessions");
    for change in [
        format!("sealed = (SELECT sealed FROM sessions WHERE id = '{alice}')"),
        format!("(sealed, user_key) = (SELECT sealed, user_key FROM sessions WHERE id = '{alice}')"),
        format!("user_key = (SELECT user_key FROM sessions WHERE id = '{alice}')"),
        "expires_at = expires_at + 1".to_owned(),
        "created_at = created_at + 1".to_owned(),
        "sealed = sealed || '\\x00'".to_owned(),
        "key_version = 2".to_owned(),
    ] {
        assert!(store.find_session(&bob).await.expect("an answer").is_some());
        server.sql("infra", &format!("UPDATE sessions SET {change} WHERE id = '{bob}'"));
        let refused = store.find_session(&bob).await;
        assert!(matches!(refused, Err(StoreError::UnexpectedRow(_))), "{change}: {refused:?}");
        let listed = store.live_sessions(at(1), None, 9).await.expect("an answer").sessions;
        assert_eq!(listed.len(), 1, "{change}: one bad row hides no other");
        server.sql("infra", "DELETE FROM sessions; INSERT INTO sessions SELECT * FROM before");
    }
    server.sql("infra", &format!("UPDATE sessions SET sealed = '\\x00' WHERE id = '{bob}'"));
    let revoked = store.revoke(SessionSelector::ALL, at(1), EndReason::Operator).await.expect("stored");
    assert_eq!(revoked.len(), 2, "a bad row ends with the others");
}

/// A row with the ID and the secret of the attacker's choice, from parts of others.
#[tokio::test]
async fn planted_session_is_unknown() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let ((_, alice), (token, _)) = (session_with_token("alice", 0), session_with_token("alice", 0));
    store.open_session(alice.clone(), 48).await.expect("stored");
    let hash = data_encoding::HEXLOWER.encode(&infra_shared::digest::sha256(&[token.expose().as_bytes()]));
    server.sql(
        "infra",
        &format!(
            "INSERT INTO sessions SELECT '{}', '\\x{hash}', user_key, subject_key, email_key, key_version, sealed, \
             has_address, created_at, expires_at, last_used_at, ended_at, end_reason, revision FROM sessions WHERE id = '{}'",
            token.id(),
            alice.id
        ),
    );
    assert!(store.find_token(token.expose()).await.expect("an answer").is_none());
}
