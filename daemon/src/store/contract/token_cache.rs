//! What the token cache may answer.

use infra_shared::token_text::AudienceToken;

use super::*;
use crate::store::{AudienceTokenRow, IssueOutcome};

/// A live session that the cache has, and its token.
async fn cached_session(store: &Store) -> (SessionToken, NewSession) {
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    assert!(store.find_cached_token(token.expose()).is_some());
    (token, new)
}

async fn has_ended(store: &Store, token: &SessionToken) -> bool {
    store.find_token(token.expose()).await.expect("an answer").expect("a row").session.ended.is_some()
}

#[tokio::test]
async fn revoked_session_leaves_cache() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    for selector in [None, Some(SessionSelector::ALL)] {
        let (token, new) = cached_session(&store).await;
        let selector = selector.unwrap_or(SessionSelector::Ids(vec![new.id.clone()]));
        store.revoke(selector, at(8), EndReason::Logout).await.expect("stored");
        assert!(store.find_cached_token(token.expose()).is_none());
        assert!(has_ended(&store, &token).await);
        assert!(store.find_cached_token(token.expose()).is_none(), "only live sessions are cached");
    }
}

#[tokio::test]
async fn audience_token_leaves_cache_with_its_session() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (_, new) = cached_session(&store).await;
    let token = AudienceToken::mint();
    let row = AudienceTokenRow {
        id: token.id().clone(),
        token_hash: TokenHash::of_audience_token(&token),
        session: new.id.clone(),
        audience: "wiki".to_owned(),
        created_at: at(0),
        expires_at: at(600),
    };
    assert_eq!(store.issue_audience_token(row, 5).await.expect("an answer"), IssueOutcome::Issued);
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    let cached = store.find_cached_token(token.expose()).expect("it is cached");
    assert_eq!(cached.restriction.expect("an audience token").audience, "wiki");
    revoke(&store, &new.id, 1, EndReason::Logout).await;
    assert!(store.find_cached_token(token.expose()).is_none());
}

#[tokio::test]
async fn changed_user_and_forgotten_address_leave_cache() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, new) = cached_session(&store).await;
    let user = User { groups: Vec::new(), ..new.user.clone() };
    store.update_user(&new.id, user, true).await.expect("stored");
    let found = async || store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
    assert_eq!(found().await.user.groups, [""; 0]);
    assert!(found().await.client_info.address.is_some());
    store.forget_addresses(10).await.expect("stored");
    assert_eq!(found().await.client_info.address, None);
}

#[tokio::test]
async fn use_of_session_reaches_cache() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, new) = cached_session(&store).await;
    store.touch_session(&new.id, at(7)).await.expect("stored");
    assert_eq!(store.find_cached_token(token.expose()).expect("it is cached").session.last_used_at, at(7));
}

#[tokio::test]
async fn look_ups_are_counted_by_where_the_token_was() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let (token, _) = cached_session(&store).await;
    assert!(store.find_token(SessionToken::mint().expose()).await.expect("an answer").is_none());
    assert!(store.find_token("no token").await.expect("an answer").is_none());
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    let counts = store.cache_counts();
    assert_eq!((counts.hits, counts.misses, counts.evictions), (2, 2, 0));
    assert!(counts.bytes > 0);
    store.drop_expired_from_cache(at(3600));
    assert!(store.find_cached_token(token.expose()).is_none());
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
    let here = fixture.open().await;
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
