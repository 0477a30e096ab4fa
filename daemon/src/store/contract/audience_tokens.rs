//! Audience tokens and the dummy row.

use infra_shared::token_text::AudienceToken;

use super::*;
use crate::store::{AudienceTokenRow, IssueOutcome};

on_each_engine! {
    audience_token_ends_with_its_session,
    audience_token_is_not_found_with_wrong_secret,
    audience_tokens_are_limited_per_live_session,
    parallel_audience_tokens_never_exceed_limit,
    raced_sign_out_leaves_no_live_audience_token,
    purge_deletes_expired_tokens_but_not_dummy_row,
}

fn token(session: &NewSession, second: i64) -> (AudienceToken, AudienceTokenRow) {
    let token = AudienceToken::mint();
    let new = AudienceTokenRow {
        id: token.id().clone(),
        token_hash: TokenHash::of_audience_token(&token),
        session: session.id.clone(),
        audience: "wiki".to_owned(),
        created_at: at(second),
        expires_at: at(second + 600),
    };
    (token, new)
}

async fn audience_token_ends_with_its_session(fixture: Fixture) {
    let store = fixture.open().await;
    let session = session("00u1", 0);
    store.open_session(session.clone(), 48).await.expect("stored");
    let (token, new) = token(&session, 1);
    assert!(store.find_token(token.expose()).await.expect("an answer").is_none());
    assert_eq!(store.issue_audience_token(new, 2).await.expect("an answer"), IssueOutcome::Issued);
    let found = store.find_token(token.expose()).await.expect("an answer").expect("a row");
    let restriction = found.restriction.expect("a grant");
    assert_eq!((found.session.id.clone(), restriction.audience.as_str()), (session.id.clone(), "wiki"));
    assert_eq!((restriction.created_at, restriction.expires_at), (at(1), at(601)));

    revoke(&store, &session.id, 2, EndReason::Logout).await;
    let found = store.find_token(token.expose()).await.expect("an answer").expect("a row");
    assert!(found.session.ended.is_some(), "it is remembered as live");
    drop(store);
    let store = fixture.open().await;
    let found = store.find_token(token.expose()).await.expect("an answer").expect("a row");
    assert!(found.session.ended.is_some());
}

async fn audience_token_is_not_found_with_wrong_secret(fixture: Fixture) {
    let store = fixture.open().await;
    let session = session("00u1", 0);
    store.open_session(session.clone(), 48).await.expect("stored");
    let (token, new) = token(&session, 1);
    store.issue_audience_token(new, 2).await.expect("stored");
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    let mut text = token.expose().to_owned();
    let last = if text.pop() == Some('a') { 'b' } else { 'a' };
    text.push(last);
    let forged = AudienceToken::parse(&text).expect("a token");
    assert!(store.find_token(forged.expose()).await.expect("an answer").is_none());
}

async fn audience_tokens_are_limited_per_live_session(fixture: Fixture) {
    let store = fixture.open().await;
    let session = session("00u1", 0);
    store.open_session(session.clone(), 48).await.expect("stored");
    let open = async |second| {
        let (_, new) = token(&session, second);
        store.issue_audience_token(new, 2).await.expect("an answer")
    };
    assert_eq!(open(0).await, IssueOutcome::Issued);
    assert_eq!(open(60).await, IssueOutcome::Issued);
    assert_eq!(open(100).await, IssueOutcome::LimitReached(SignedDuration::from_secs(500)));
    assert_eq!(open(600).await, IssueOutcome::Issued, "the first has expired");
    revoke(&store, &session.id, 700, EndReason::Logout).await;
    assert_eq!(open(2000).await, IssueOutcome::SessionEnded);
}

async fn parallel_audience_tokens_never_exceed_limit(fixture: Fixture) {
    let members = fixture.open_members().await;
    let session = session("00u1", 0);
    members[0].open_session(session.clone(), 48).await.expect("stored");
    let issues: Vec<_> = (0..40)
        .map(|number| {
            let (store, new) = (members[number % members.len()].clone(), token(&session, 1).1);
            tokio::spawn(async move { store.issue_audience_token(new, 5).await.expect("an answer") })
        })
        .collect();
    let mut count = 0;
    for issue in issues {
        count += usize::from(issue.await.expect("a task") == IssueOutcome::Issued);
    }
    assert_eq!(count, 5);
}

async fn raced_sign_out_leaves_no_live_audience_token(fixture: Fixture) {
    let members = fixture.open_members().await;
    let (issuing, signing_out) = (&members[0], &members[members.len() - 1]);
    let mut refused = 0;
    for number in 0..40 {
        let session = session(&number.to_string(), 0);
        issuing.open_session(session.clone(), 48).await.expect("stored");
        let issue = async {
            let mut issued = Vec::new();
            loop {
                let (token, new) = token(&session, 1);
                match issuing.issue_audience_token(new, 10_000).await.expect("an answer") {
                    IssueOutcome::Issued => issued.push(token),
                    ended => return (issued, ended),
                }
            }
        };
        let ((issued, outcome), revoked) =
            tokio::join!(issue, revoke(signing_out, &session.id, 1, EndReason::Logout));
        assert!(revoked);
        refused += usize::from(outcome == IssueOutcome::SessionEnded);
        for token in issued {
            let found = signing_out.find_token(token.expose()).await.expect("an answer").expect("a row");
            assert!(found.session.ended.is_some(), "issued before the sign-out");
        }
    }
    assert_eq!(refused, 40, "a token was issued after its session had ended");
}

async fn purge_deletes_expired_tokens_but_not_dummy_row(fixture: Fixture) {
    let store = fixture.open().await;
    let session = session("00u1", 0);
    store.open_session(session.clone(), 48).await.expect("stored");
    let ((early, first), (late, second)) = (token(&session, 0), token(&session, 300));
    store.issue_audience_token(first, 9).await.expect("stored");
    store.issue_audience_token(second, 9).await.expect("stored");
    drop(store);
    let store = fixture.open().await;
    store.purge(at(700)).await.expect("stored");
    assert!(store.find_token(early.expose()).await.expect("an answer").is_none());
    assert!(store.find_token(late.expose()).await.expect("an answer").is_some());
    store.purge(at(100_000_000)).await.expect("stored");
    drop(store);
    let store = fixture.open().await;
    // Both look-ups read the dummy row.
    assert!(store.find_token(late.expose()).await.expect("an answer").is_none());
    let unknown = SessionToken::mint();
    assert!(store.find_token(unknown.expose()).await.expect("an answer").is_none());
    assert_eq!(
        store.live_sessions(at(0), None, 10).await.expect("an answer").sessions.len(),
        0,
        "nobody is not signed in"
    );
}
