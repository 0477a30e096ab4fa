//! Refresh tokens: leased to one attempt, updated by compare-and-set.

use zeroize::Zeroizing;

use super::*;

on_each_engine! {
    due_refresh_token_is_leased_once,
    raced_refresh_tokens_are_each_leased_once,
    refresh_token_is_swapped_only_at_its_version,
    released_refresh_token_waits_until_due,
    refresh_token_of_ended_session_is_leased_for_revocation,
}

/// Opens a session whose refresh token is due at second 60.
async fn open_session(fixture: &Fixture, store: &Store) -> SessionID {
    let new = session("00u1", 0);
    let refresh_token = NewRefreshToken {
        provider: "okta".to_owned(),
        sealer: fixture.keys.field_sealer(),
        credential: Zeroizing::new(b"first".to_vec()),
        due_at: at(60),
    };
    let id = new.id.clone();
    store.open_session(NewSession { refresh_token: Some(refresh_token), ..new }, 48).await.expect("stored");
    id
}

/// A request at `second` for leases of 30 seconds.
fn request(fixture: &Fixture, provider: &str, second: i64) -> LeaseRequest {
    LeaseRequest {
        provider: provider.to_owned(),
        sealer: fixture.keys.field_sealer(),
        now: at(second),
        lease_duration: SignedDuration::from_secs(30),
        max_delay: SignedDuration::from_mins(30),
        limit: 9,
    }
}

async fn lease(fixture: &Fixture, store: &Store, second: i64) -> Option<RefreshTokenRow> {
    let rows = store.lease_due_refresh_tokens(request(fixture, "okta", second)).await.expect("an answer");
    assert!(rows.len() <= 1);
    rows.into_iter().next()
}

async fn due_refresh_token_is_leased_once(fixture: Fixture) {
    let store = fixture.open().await;
    let id = open_session(&fixture, &store).await;
    assert!(lease(&fixture, &store, 59).await.is_none());
    let other = store.lease_due_refresh_tokens(request(&fixture, "other", 60)).await.expect("an answer");
    assert!(other.is_empty());
    let row = lease(&fixture, &store, 60).await.expect("a lease");
    assert_eq!(
        (&row.session_id, row.credential.as_slice(), row.version, row.failures),
        (&id, &b"first"[..], 1, 0)
    );
    assert_eq!(row.uncertain_since, None);
    assert!(lease(&fixture, &store, 89).await.is_none());
    let again = lease(&fixture, &store, 90).await.expect("a second lease");
    assert_eq!(again.uncertain_since, Some(at(60)), "the first attempt may have used it");
    store.end_leases("okta", at(91)).await.expect("stored");
    assert!(lease(&fixture, &store, 91).await.is_some());
}

async fn raced_refresh_tokens_are_each_leased_once(fixture: Fixture) {
    let members = fixture.open_members().await;
    for _ in 0..40 {
        open_session(&fixture, &members[0]).await;
    }
    let racers: Vec<_> = (0..12)
        .map(|number| {
            let (store, request) = (members[number % members.len()].clone(), request(&fixture, "okta", 60));
            tokio::spawn(async move { store.lease_due_refresh_tokens(request).await.expect("an answer") })
        })
        .collect();
    let mut leased = Vec::new();
    for racer in racers {
        let rows = racer.await.expect("a task");
        assert!(rows.len() <= 9, "the limit of a request");
        leased.extend(rows.into_iter().map(|row| row.session_id.to_string()));
    }
    let count = leased.len();
    leased.sort();
    leased.dedup();
    assert_eq!((leased.len(), count), (40, 40));
}

async fn refresh_token_is_swapped_only_at_its_version(fixture: Fixture) {
    let store = fixture.open().await;
    let id = open_session(&fixture, &store).await;
    let swap = async |credential: &[u8]| {
        let credential = Zeroizing::new(credential.to_vec());
        store.swap_refresh_token(&id, 1, fixture.keys.field_sealer(), credential).await.expect("stored")
    };
    assert!(swap(b"second").await);
    assert!(!swap(b"third").await);
    let row = lease(&fixture, &store, 60).await.expect("a lease");
    assert_eq!((row.credential.as_slice(), row.version), (&b"second"[..], 2));
    store.forget_refresh_token(&id, 1).await.expect("stored");
    assert!(lease(&fixture, &store, 90).await.is_some(), "another attempt had changed it");
}

async fn released_refresh_token_waits_until_due(fixture: Fixture) {
    let store = fixture.open().await;
    let id = open_session(&fixture, &store).await;
    lease(&fixture, &store, 60).await.expect("a lease");
    let next = NextAttempt { due_at: at(200), failures: 2, uncertain_since: None };
    store.release_refresh_token(&id, next).await.expect("stored");
    assert!(lease(&fixture, &store, 199).await.is_none());
    let row = lease(&fixture, &store, 200).await.expect("a lease");
    assert_eq!((row.failures, row.uncertain_since), (2, None));
}

async fn refresh_token_of_ended_session_is_leased_for_revocation(fixture: Fixture) {
    let store = fixture.open().await;
    let id = open_session(&fixture, &store).await;
    let lease_to_revoke = async |second| {
        let request = request(&fixture, "okta", second);
        store.lease_refresh_tokens_to_revoke(request).await.expect("an answer").into_iter().next()
    };
    assert!(lease_to_revoke(60).await.is_none());
    assert!(revoke(&store, &id, 61, EndReason::Logout).await);
    assert!(lease(&fixture, &store, 62).await.is_none());
    let row = lease_to_revoke(62).await.expect("a lease");
    assert!(lease_to_revoke(63).await.is_none());
    store.postpone_revocation(&id, at(500)).await.expect("stored");
    assert!(lease_to_revoke(499).await.is_none());
    assert_eq!(lease_to_revoke(500).await.expect("a lease").failures, 1);
    store.forget_refresh_token(&id, row.version).await.expect("stored");
    assert!(lease_to_revoke(600).await.is_none());
}
