//! Delegated sessions: opened by a parent, limited in number, ended and changed with it.

use super::*;
use crate::store::{DelegatedSession, IssueOutcome};

on_each_engine! {
    delegated_session_is_stored_with_user_of_its_parent,
    delegated_session_ends_with_its_parent,
    delegated_session_ends_alone,
    session_limit_ends_delegated_sessions_of_oldest,
    delegated_session_needs_live_parent_of_a_login,
    delegated_sessions_are_limited_per_parent,
    parallel_delegations_never_exceed_limit,
    raced_sign_out_leaves_no_live_delegated_session,
    new_claims_reach_delegated_sessions,
    new_claims_reach_many_delegated_sessions,
    delegated_sessions_are_listed_but_count_for_no_limit,
}

/// A session that `parent` delegates at `second`, for 10 minutes.
fn delegated(parent: &SessionID, second: i64) -> (SessionToken, DelegatedSession) {
    let token = SessionToken::mint();
    let session = DelegatedSession {
        id: token.id().clone(),
        token_hash: TokenHash::of(&token),
        delegation: Delegation {
            parent: parent.clone(),
            audiences: vec!["wiki".to_owned(), "https://git.test".to_owned()],
            label: "agent".to_owned(),
        },
        address: None,
        created_at: at(second),
        expires_at: at(second + 600),
    };
    (token, session)
}

async fn open(store: &Store, session: &DelegatedSession) -> IssueOutcome {
    store.open_delegated_session(session.clone(), 2).await.expect("an answer")
}

/// A session of `subject` and one that it delegated.
async fn family(store: &Store, subject: &str) -> (NewSession, SessionToken) {
    let parent = session(subject, 0);
    store.open_session(parent.clone(), 48).await.expect("stored");
    let (token, child) = delegated(&parent.id, 1);
    assert_eq!(open(store, &child).await, IssueOutcome::Issued);
    (parent, token)
}

async fn is_live(store: &Store, token: &SessionToken) -> bool {
    let found = store.find_token(token.expose()).await.expect("an answer");
    found.expect("a row").session.ended.is_none()
}

async fn delegated_session_is_stored_with_user_of_its_parent(fixture: Fixture) {
    let store = fixture.open().await;
    let parent = session("00u1", 0);
    store.open_session(parent.clone(), 48).await.expect("stored");
    let (token, child) = delegated(&parent.id, 100);
    assert_eq!(open(&store, &child).await, IssueOutcome::Issued);
    let used = store.find_session(&parent.id).await.expect("an answer").expect("a row");
    assert_eq!((used.last_used_at, used.delegation), (at(100), None), "it counts as use of the parent");
    drop(store);

    let found = fixture.open().await.find_token(token.expose()).await.expect("an answer").expect("a row");
    let stored = found.session;
    assert_eq!((&stored.id, &stored.user, stored.email_verified), (&child.id, &parent.user, true));
    assert_eq!(stored.delegation.as_deref(), Some(&child.delegation));
    assert_eq!(stored.client_info, ClientInfo { address: None, ..parent.client_info });
    assert_eq!((stored.created_at, stored.expires_at), (at(100), at(700)));
}

async fn delegated_session_ends_with_its_parent(fixture: Fixture) {
    let store = fixture.open().await;
    let by_id = |parent: &NewSession| SessionSelector::Ids(vec![parent.id.clone()]);
    let by_name = |parent: &NewSession| SessionSelector::Users {
        filter: UserFilter::Named(parent.user.subject.clone()),
        except: None,
    };
    let all = |_: &NewSession| SessionSelector::ALL;
    let selectors: [&dyn Fn(&NewSession) -> SessionSelector; 3] = [&by_id, &by_name, &all];
    for (number, selector) in selectors.into_iter().enumerate() {
        let (parent, token) = family(&store, &number.to_string()).await;
        assert!(is_live(&store, &token).await);
        let revoked = store.revoke(selector(&parent), at(9), EndReason::Administrator).await.expect("stored");
        let mut ids: Vec<_> = revoked.into_iter().map(|session| session.id).collect();
        let mut expected = vec![parent.id, token.id().clone()];
        ids.sort();
        expected.sort();
        assert_eq!(ids, expected, "{number}");
        assert!(!is_live(&store, &token).await, "{number}: it is remembered as live");
        let ended = store.find_session(token.id()).await.expect("an answer").expect("a row").ended;
        assert_eq!(ended, Some(Ended { at: at(9), reason: EndReason::Administrator }));
    }
    // Sign-outs of others leave the own session alone, and not what it delegated.
    let (parent, token) = family(&store, "others").await;
    let others = SessionSelector::OthersOf(parent.id.clone());
    store.revoke(others, at(9), EndReason::Revoked).await.expect("stored");
    assert!(!is_live(&store, &token).await);
    assert!(store.find_session(&parent.id).await.expect("an answer").expect("a row").ended.is_none());
}

async fn delegated_session_ends_alone(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    assert!(revoke(&store, token.id(), 5, EndReason::Logout).await);
    assert!(!is_live(&store, &token).await);
    assert!(store.find_session(&parent.id).await.expect("an answer").expect("a row").ended.is_none());
}

async fn session_limit_ends_delegated_sessions_of_oldest(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    let revoked = store.open_session(session("00u1", 2), 1).await.expect("stored");
    let mut ids: Vec<_> = revoked.into_iter().map(|session| session.id).collect();
    let mut expected = vec![parent.id, token.id().clone()];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    assert!(!is_live(&store, &token).await);
}

async fn delegated_session_needs_live_parent_of_a_login(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    let refused = async |child: DelegatedSession| {
        assert_eq!(open(&store, &child).await, IssueOutcome::SessionEnded);
        assert!(store.find_session(&child.id).await.expect("an answer").is_none());
    };
    refused(delegated(token.id(), 2).1).await;
    refused(delegated(SessionToken::mint().id(), 2).1).await;
    // It would outlive the parent.
    refused(delegated(&parent.id, 3001).1).await;
    assert!(revoke(&store, &parent.id, 3, EndReason::Logout).await);
    refused(delegated(&parent.id, 4).1).await;
}

async fn delegated_sessions_are_limited_per_parent(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    let open_at = async |second| open(&store, &delegated(&parent.id, second).1).await;
    assert_eq!(open_at(2).await, IssueOutcome::Issued);
    assert_eq!(open_at(101).await, IssueOutcome::LimitReached(SignedDuration::from_secs(500)));
    assert!(revoke(&store, token.id(), 102, EndReason::Logout).await);
    assert_eq!(open_at(103).await, IssueOutcome::Issued, "one has ended");
    assert_eq!(open_at(602).await, IssueOutcome::Issued, "one has expired");
    let (_, other) = family(&store, "00u2").await;
    assert!(is_live(&store, &other).await, "each parent has its own limit");
}

async fn parallel_delegations_never_exceed_limit(fixture: Fixture) {
    let members = fixture.open_members().await;
    let parent = session("00u1", 0);
    members[0].open_session(parent.clone(), 48).await.expect("stored");
    let opened: Vec<_> = (0..40)
        .map(|number| {
            let (store, child) = (members[number % members.len()].clone(), delegated(&parent.id, 1).1);
            tokio::spawn(async move { store.open_delegated_session(child, 5).await.expect("an answer") })
        })
        .collect();
    let mut count = 0;
    for outcome in opened {
        count += usize::from(outcome.await.expect("a task") == IssueOutcome::Issued);
    }
    assert_eq!(count, 5);
}

async fn raced_sign_out_leaves_no_live_delegated_session(fixture: Fixture) {
    let members = fixture.open_members().await;
    let (delegating, signing_out) = (&members[0], &members[members.len() - 1]);
    let mut refused = 0;
    for number in 0..40 {
        let parent = session(&number.to_string(), 0);
        delegating.open_session(parent.clone(), 48).await.expect("stored");
        let delegate = async {
            let mut opened = Vec::new();
            loop {
                let (token, child) = delegated(&parent.id, 1);
                match delegating.open_delegated_session(child, 10_000).await.expect("an answer") {
                    IssueOutcome::Issued => opened.push(token),
                    ended => return (opened, ended),
                }
            }
        };
        let ((opened, outcome), revoked) =
            tokio::join!(delegate, revoke(signing_out, &parent.id, 1, EndReason::Logout));
        assert!(revoked);
        refused += usize::from(outcome == IssueOutcome::SessionEnded);
        for token in opened {
            assert!(!is_live(signing_out, &token).await, "opened before the sign-out");
        }
    }
    assert_eq!(refused, 40, "a session was delegated after its parent had ended");
}

async fn new_claims_reach_delegated_sessions(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    let (_, of_another) = family(&store, "00u2").await;
    assert!(is_live(&store, &token).await);
    let user = User { groups: vec!["on-call".to_owned()], email: None, ..parent.user.clone() };
    store.update_user(&parent.id, user.clone(), false).await.expect("stored");
    let read = async |token: &SessionToken| {
        let found = store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
        (found.user.clone(), found.email_verified, found.delegation.is_some())
    };
    assert_eq!(read(&token).await, (user, false, true));
    let other = User { subject: "00u2".to_owned(), ..parent.user };
    assert_eq!(read(&of_another).await, (other, true, true));
}

/// More than one page of rows. Those that expired stay for a day, so there may be more than may live.
async fn new_claims_reach_many_delegated_sessions(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, _) = family(&store, "00u1").await;
    let mut tokens = Vec::new();
    for _ in 0..120 {
        let (token, child) = delegated(&parent.id, 1);
        let opened = store.open_delegated_session(child, 1000).await.expect("an answer");
        assert_eq!(opened, IssueOutcome::Issued);
        tokens.push(token);
    }
    let user = User { groups: Vec::new(), ..parent.user.clone() };
    store.update_user(&parent.id, user, true).await.expect("stored");
    for token in &tokens {
        let found = store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
        assert_eq!(found.user.groups, Vec::<String>::new());
    }
}

async fn delegated_sessions_are_listed_but_count_for_no_limit(fixture: Fixture) {
    let store = fixture.open().await;
    let (parent, token) = family(&store, "00u1").await;
    let second = session("00u1", 5);
    assert_eq!(store.open_session(second.clone(), 2).await.expect("stored"), []);
    let issuer = "https://okta.test";
    let ids = |sessions: Vec<crate::store::StoredSession>| {
        sessions.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    let all = store.sessions_of(issuer, "00u1", at(6)).await.expect("rows");
    assert_eq!(ids(all), [second.id.clone(), token.id().clone(), parent.id]);
    let newer = store.sessions_after(issuer, "00u1", at(0), 9, at(6)).await.expect("rows");
    assert_eq!(ids(newer), [second.id], "a delegated session is no sign-in");
}
