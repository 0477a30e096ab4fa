//! What someone who can write to the tables cannot do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use infra_peers::postgresql::PostgreSQL;
use infra_shared::api::Delegation;
use infra_shared::clock::SystemClock;
use infra_shared::token_text::SessionToken;
use tokio::task::JoinSet;

use super::grace::remember;
use super::{open_member, store_on};
use crate::platform::since_boot;
use crate::store::contract::{at, revoke, session, session_with_token};
use crate::store::engine::Engine;
use crate::store::freshness::Freshness;
use crate::store::postgres::session_rows::DUMMY_ID;
use crate::store::token_cache::TokenCache;
use crate::store::{
    DEFAULT_CACHE_SIZE, DelegatedSession, EndReason, Job, MemberDescription, SessionSelector, Store,
    StoreError, TicketState, TokenHash,
};

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

/// Without its parent, or with another one, it would outlive the sign-out.
#[tokio::test]
async fn delegated_session_moved_to_other_parent_is_refused() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let (parent, other) = (session("alice", 0), session("alice", 1));
    for new in [&parent, &other] {
        store.open_session(new.clone(), 48).await.expect("stored");
    }
    let token = SessionToken::mint();
    let delegated = DelegatedSession {
        id: token.id().clone(),
        token_hash: TokenHash::of(&token),
        delegation: Delegation {
            parent: parent.id.clone(),
            audiences: vec!["wiki".to_owned()],
            label: "agent".to_owned(),
        },
        address: None,
        created_at: at(2),
        expires_at: at(600),
    };
    store.open_delegated_session(delegated, 9).await.expect("stored");
    for (changed, is_refused) in [
        (format!("'{}'", parent.id), false),
        ("NULL".to_owned(), true),
        (format!("'{}'", other.id), true),
        ("repeat('a', 1000)".to_owned(), true),
    ] {
        server
            .sql("infra", &format!("UPDATE sessions SET parent_id = {changed} WHERE id = '{}'", token.id()));
        let found = store.find_token(token.expose()).await;
        assert_eq!(matches!(found, Err(StoreError::UnexpectedRow(_))), is_refused, "{changed}: {found:?}");
    }
    // And no session of a login becomes a delegated one.
    server
        .sql("infra", &format!("UPDATE sessions SET parent_id = '{}' WHERE id = '{}'", parent.id, other.id));
    let found = store.find_session(&other.id).await;
    assert!(matches!(found, Err(StoreError::UnexpectedRow(_))), "{found:?}");
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
             has_address, parent_id, created_at, expires_at, last_used_at, ended_at, end_reason, revision FROM sessions WHERE id = '{}'",
            token.id(),
            alice.id
        ),
    );
    assert!(store.find_token(token.expose()).await.expect("an answer").is_none());
}

/// A sign-out succeeds and reaches other members, also after an attacker wrote to the tables.
#[tokio::test]
async fn written_rows_do_not_keep_sessions_alive() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let other = open_member(&server).await;
    let following = other.clone();
    let mut polls = JoinSet::new();
    polls.spawn(async move { following.follow_changes(&SystemClock, |_| ()).await });
    let of_bob = "SELECT '!', token_mac, user_key, subject_key, email_key, key_version, '\\x00', has_address, created_at, \
                  expires_at, last_used_at FROM sessions";
    for written in [
        format!(
            "INSERT INTO sessions (id, token_mac, user_key, subject_key, email_key, key_version, sealed, has_address, \
             created_at, expires_at, last_used_at) {of_bob} WHERE id <> '{DUMMY_ID}' LIMIT 1"
        ),
        "UPDATE sessions SET revision = 2147483647".to_owned(),
        "UPDATE sessions SET revision = -1".to_owned(),
        "UPDATE counter SET value = 9223372036854775807".to_owned(),
        "UPDATE counter SET value = -9223372036854775808".to_owned(),
        "UPDATE counter SET value = 1; INSERT INTO changes (number, session_ids) VALUES (2, '{}') ON CONFLICT DO NOTHING"
            .to_owned(),
        "DELETE FROM changes".to_owned(),
        "DELETE FROM counter".to_owned(),
    ] {
        let ((one, first), (two, second)) = (session_with_token("bob", 0), session_with_token("bob", 1));
        store.open_session(first.clone(), 48).await.expect("stored");
        server.sql("infra", &written);
        store.open_session(second, 48).await.unwrap_or_else(|error| panic!("{written}: {error}"));
        for token in [&one, &two] {
            assert!(other.find_token(token.expose()).await.expect("an answer").is_some(), "{written}");
        }
        assert!(revoke(&store, &first.id, 2, EndReason::Logout).await, "{written}");
        store.revoke(SessionSelector::ALL, at(3), EndReason::Operator).await.expect("stored");
        for token in [&one, &two] {
            let mut is_live = true;
            for _ in 0..1200 {
                let found = other.find_token(token.expose()).await.expect("an answer");
                is_live = found.is_some_and(|found| found.session.ended.is_none());
                if !is_live {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(!is_live, "{written}");
        }
        assert!(store.live_sessions(at(3), None, 9).await.expect("an answer").sessions.is_empty(), "{written}");
    }
}

/// The sign-out ends the session, and the record of it is empty. A member reads what it remembers again after minutes.
#[tokio::test]
async fn hidden_sign_out_is_found_after_minutes() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let minutes = Arc::new(AtomicU64::new(0));
    let passed = minutes.clone();
    let elapsed = move || since_boot() + Duration::from_mins(passed.load(Ordering::SeqCst));
    let cache = TokenCache::new(DEFAULT_CACHE_SIZE, Freshness::polled(Box::new(elapsed)));
    let other = Store { cache: Arc::new(cache), ..open_member(&server).await };
    let following = other.clone();
    let mut polls = JoinSet::new();
    polls.spawn(async move { following.follow_changes(&SystemClock, |_| ()).await });
    let hide = "CREATE FUNCTION hide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                NEW.session_ids := '{}'; RETURN NEW; END $$; \
                CREATE TRIGGER hide BEFORE INSERT ON changes FOR EACH ROW EXECUTE FUNCTION hide()";
    server.sql("infra", hide);
    let [(hidden, first), (token, second)] = [0, 1].map(|second| session_with_token("bob", second));
    for new in [&first, &second] {
        store.open_session(new.clone(), 48).await.expect("stored");
    }
    remember(&other, &hidden).await;
    assert!(revoke(&store, &first.id, 2, EndReason::Logout).await);
    let newest = server.sql("infra", "SELECT value FROM counter");
    for _ in 0..1200 {
        if other.guard_counter().to_string() == newest {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    remember(&other, &token).await;
    assert!(other.find_cached_token(hidden.expose()).is_some(), "it is not hidden");
    minutes.store(6, Ordering::SeqCst);
    // A poll confirmed again what memory has.
    remember(&other, &token).await;
    assert!(other.find_cached_token(hidden.expose()).is_none());
    let found = other.find_token(hidden.expose()).await.expect("an answer").expect("a session");
    assert!(found.session.ended.is_some());
}

#[tokio::test]
async fn recorded_time_in_the_future_is_ignored_and_replaced() {
    const FUTURE: i64 = 4_102_444_800_000;
    let Some(server) = PostgreSQL::start() else { return };
    let (store, other) = (store_on(&server).await, open_member(&server).await);
    let following = other.clone();
    let mut polls = JoinSet::new();
    polls.spawn(async move { following.follow_changes(&SystemClock, |_| ()).await });
    let recorded = |second| at(second).as_millisecond().to_string();
    for (ticket, written) in [(1, FUTURE), (2, i64::MAX), (3, i64::MIN)] {
        server.sql("infra", &format!("UPDATE counter SET latest_time = {written}"));
        if written == FUTURE {
            // As if the clock of the database had shown it.
            let Engine::Postgres(engine) = &other.engine else { unreachable!("a database") };
            engine.latest.store(FUTURE, Ordering::SeqCst);
        }
        let newest = store.raise_guard_counter(0).await.expect("stored");
        for _ in 0..1200 {
            if other.guard_counter() == newest {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for (number, member) in [&store, &other, &open_member(&server).await].into_iter().enumerate() {
            let id = [ticket * 3 + u8::try_from(number).expect("three"); 16];
            let state = member.consume_ticket(id, at(300)).await.expect("stored");
            assert_eq!(state, TicketState::Unused, "{written}");
            member.check_clock(at(0)).expect("the time is as before");
        }
        other.purge(at(10)).await.expect("purged");
        assert_eq!(server.sql("infra", "SELECT latest_time FROM counter"), recorded(10), "{written}");
    }
}

#[tokio::test]
async fn written_rows_do_not_stop_daemons() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    store.expect_lease(Job::Purge).await.expect("a lease");
    for written in [
        "until = 'infinity'",
        "until = '-infinity', fence = 9223372036854775807",
        "until = '-infinity', fence = -9",
    ] {
        server.sql("infra", &format!("UPDATE leases SET holder = 'someone', {written}"));
        let lease = store.expect_lease(Job::Purge).await.unwrap_or_else(|error| panic!("{written}: {error}"));
        store.end_lease(lease).await;
    }
    let unknown = SessionToken::mint();
    for written in [
        "sealed = '\\x00'",
        "sealed = decode(repeat('00', 1048576), 'hex')",
        "user_key = token_mac",
        "created_at = -1",
    ] {
        server.sql("infra", &format!("UPDATE sessions SET {written} WHERE id = '{DUMMY_ID}'"));
        assert!(store.find_token(unknown.expose()).await.expect("an answer").is_none(), "{written}");
        // The next start mends it.
        drop(open_member(&server).await);
    }
    let junk = "INSERT INTO providers VALUES ('someone', decode(repeat('00', 32), 'hex'), 1, '\\x00'); \
                INSERT INTO members (id, key_version, sealed, schema, newest_key, known, lag, seen_at) \
                VALUES ('someone', 1, '\\x00', 1, 0, 0, 0, 'infinity')";
    server.sql("infra", junk);
    store.compare_providers(&[]).await.expect("an answer");
    let member = MemberDescription {
        name: "auth1".to_owned(),
        address: "127.0.0.1:8300".to_owned(),
        version: "1".to_owned(),
    };
    store.heartbeat(&member).await.expect("stored");
    assert_eq!(store.members().await.expect("an answer").len(), 1);
}
