//! What the token cache may answer.

use std::time::Duration;

use super::*;

#[tokio::test]
async fn cached_session_ends_at_once_here_and_with_entry_elsewhere() {
    let fixture = Fixture::new().await;
    // The entries of the second store expire at once.
    let here = fixture.open().await.with_cache_life(Duration::MAX);
    let elsewhere = fixture.open().await.with_cache_life(Duration::ZERO);
    let (token, new) = session_with_token("00u1", 0);
    here.open_session(new.clone(), 48).await.expect("stored");
    let found = async |store: &Store| {
        store.find_token(token.expose()).await.expect("an answer").expect("a row").session
    };
    for store in [&here, &elsewhere] {
        assert_eq!(found(store).await.ended, None);
    }
    here.touch_session(&new.id, &new.token_hash, at(7)).await.expect("stored");
    assert_eq!(found(&here).await.last_used_at, at(7));
    revoke(&here, &new.id, 8, EndReason::Logout).await;
    for store in [&here, &elsewhere] {
        assert!(found(store).await.ended.is_some());
    }
}

#[tokio::test]
async fn session_ended_by_limit_leaves_cache() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new, 1).await.expect("stored");
    let found = async || store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
    assert_eq!(found().await.ended, None);
    store.open_session(session("00u1", 1), 1).await.expect("stored");
    assert!(found().await.ended.is_some());
}

#[tokio::test]
async fn cached_session_is_not_found_with_wrong_secret() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new, 48).await.expect("stored");
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    let mut text = token.expose().to_owned();
    let last = if text.pop() == Some('a') { 'b' } else { 'a' };
    text.push(last);
    let forged = SessionToken::parse(&text).expect("a token");
    assert_eq!(forged.id(), token.id());
    assert!(store.find_token(forged.expose()).await.expect("an answer").is_none());
}

#[tokio::test]
async fn ending_one_session_keeps_others_in_cache() {
    let fixture = Fixture::new().await;
    let here = fixture.open().await.with_cache_life(Duration::MAX);
    let elsewhere = fixture.open().await;
    let ((token, new), (other_token, other)) = (session_with_token("00u1", 0), session_with_token("00u2", 0));
    for session in [new.clone(), other.clone()] {
        here.open_session(session, 48).await.expect("stored");
    }
    let ended = async |token: &SessionToken| {
        here.find_token(token.expose()).await.expect("an answer").expect("a row").session.ended.is_some()
    };
    assert!(!ended(&token).await && !ended(&other_token).await);
    // Ended through the other store: this one answers from its cache.
    revoke(&elsewhere, &other.id, 1, EndReason::Logout).await;
    revoke(&here, &new.id, 1, EndReason::Logout).await;
    assert!(ended(&token).await);
    assert!(!ended(&other_token).await, "the cache dropped another session");
}
