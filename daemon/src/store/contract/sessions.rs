//! Sessions: opened, used, changed, ended and purged.

use super::*;

on_each_engine! {
    session_survives_reopening_of_store,
    last_used_at_never_moves_back,
    parallel_uses_are_all_recorded,
    session_ends_once_and_keeps_first_reason,
    oldest_session_ends_when_limit_is_exceeded,
    parallel_logins_never_exceed_limit,
    expired_session_does_not_count_towards_limit,
    purge_deletes_session_one_day_after_expiry,
    claims_change_only_while_session_is_live,
    addresses_are_deleted_in_batches,
}

async fn session_survives_reopening_of_store(fixture: Fixture) {
    let new = session("00u1", 0);
    let store = fixture.open().await;
    assert!(store.find_session(&new.id).await.expect("an answer").is_none());
    store.open_session(new.clone(), 48).await.expect("stored");
    drop(store);

    let found = fixture.open().await.find_session(&new.id).await.expect("an answer").expect("a row");
    assert_eq!((found.user, found.email_verified), (new.user, true));
    assert_eq!((found.created_at, found.expires_at, found.last_used_at), (at(0), at(3600), at(0)));
    assert_eq!(found.ended, None);
}

async fn last_used_at_never_moves_back(fixture: Fixture) {
    let store = fixture.open().await;
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    for (touched, expected) in [(100, 100), (50, 100), (101, 101)] {
        let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
        store.touch_session(&found.id, at(touched)).await.expect("stored");
        let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
        assert_eq!(found.last_used_at, at(expected));
    }
}

async fn parallel_uses_are_all_recorded(fixture: Fixture) {
    let members = fixture.open_members().await;
    let sessions: Vec<NewSession> = (0..3).map(|number| session(&number.to_string(), 0)).collect();
    for new in &sessions {
        members[0].open_session(new.clone(), 48).await.expect("stored");
    }
    let uses: Vec<_> = (0..60)
        .map(|number| {
            let (store, new) = (members[number % members.len()].clone(), sessions[number / 20].clone());
            let used = at(i64::try_from(number).expect("a small number"));
            tokio::spawn(async move { store.touch_session(&new.id, used).await })
        })
        .collect();
    for used in uses {
        used.await.expect("a task").expect("stored");
    }
    for (new, last) in sessions.iter().zip([19, 39, 59]) {
        let found = members[0].find_session(&new.id).await.expect("an answer").expect("a row");
        assert_eq!(found.last_used_at, at(last));
    }
}

async fn session_ends_once_and_keeps_first_reason(fixture: Fixture) {
    let store = fixture.open().await;
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");

    assert!(revoke(&store, &new.id, 10, EndReason::Logout).await);
    assert!(!revoke(&store, &new.id, 20, EndReason::ConfigurationChanged).await);

    let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
    assert_eq!(found.ended, Some(Ended { at: at(10), reason: EndReason::Logout }));
    assert!(!revoke(&store, SessionToken::mint().id(), 1, EndReason::Logout).await);
}

async fn oldest_session_ends_when_limit_is_exceeded(fixture: Fixture) {
    let store = fixture.open().await;
    let (first, second, third) = (session("00u1", 0), session("00u1", 1), session("00u1", 2));
    let of_another = session("00u2", 0);
    for new in [&first, &of_another, &second] {
        assert_eq!(store.open_session(new.clone(), 2).await.expect("stored"), []);
    }

    let revoked = store.open_session(third.clone(), 2).await.expect("stored");
    assert_eq!(revoked.iter().map(|session| &session.id).collect::<Vec<_>>(), [&first.id]);

    let found = store.find_session(&first.id).await.expect("an answer").expect("a row");
    assert_eq!(found.ended, Some(Ended { at: at(2), reason: EndReason::SessionLimit }));
    let live = store.live_sessions(at(3), None, 10).await.expect("rows").sessions;
    let live: Vec<_> = live.into_iter().map(|stored| stored.id).collect();
    assert_eq!(live.len(), 3);
    let of_user = store.sessions_of("https://okta.test", &third.user.subject, at(3)).await.expect("rows");
    assert_eq!(of_user.iter().map(|stored| &stored.id).collect::<Vec<_>>(), [&third.id, &second.id]);
    assert_eq!(of_user.first().expect("a row").client_info, third.client_info);
    let after = async |opened: i64, at_most: u32| {
        let user = &third.user.subject;
        let found =
            store.sessions_after("https://okta.test", user, at(opened), at_most, at(3)).await.expect("rows");
        found.into_iter().map(|stored| stored.id).collect::<Vec<_>>()
    };
    assert_eq!(after(0, 1).await, std::slice::from_ref(&third.id));
    assert_eq!(after(1, 100).await, std::slice::from_ref(&third.id));
    assert_eq!(after(2, 100).await, []);
    assert!([second.id, third.id, of_another.id].iter().all(|id| live.contains(id)));
}

async fn parallel_logins_never_exceed_limit(fixture: Fixture) {
    const LIMIT: usize = 3;
    let members = fixture.open_members().await;
    let logins: Vec<_> = (0..60)
        .map(|number| {
            let store = members[number % members.len()].clone();
            tokio::spawn(
                async move { store.open_session(session("00u1", 0), 3).await.expect("stored").len() },
            )
        })
        .collect();
    let live =
        async || members[0].sessions_of("https://okta.test", "00u1", at(1)).await.expect("an answer").len();
    let (mut ended, mut most) = (0, 0);
    for login in logins {
        most = most.max(live().await);
        ended += login.await.expect("a task");
    }
    assert_eq!((live().await, ended), (LIMIT, 60 - LIMIT));
    assert!(most <= LIMIT, "{most} at once");
}

async fn expired_session_does_not_count_towards_limit(fixture: Fixture) {
    let store = fixture.open().await;
    store.open_session(session("00u1", 0), 1).await.expect("stored");
    assert_eq!(store.open_session(session("00u1", 3600), 1).await.expect("stored"), []);
}

async fn purge_deletes_session_one_day_after_expiry(fixture: Fixture) {
    let store = fixture.open().await;
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    store.consume_ticket([7; 16], at(300)).await.expect("stored");
    let day_after_expiry = at(3600) + SignedDuration::from_hours(24);

    assert_eq!(store.purge(day_after_expiry - SignedDuration::from_secs(1)).await.expect("a count"), 0);
    assert!(store.find_session(&new.id).await.expect("an answer").is_some());
    assert_eq!(store.purge(day_after_expiry).await.expect("a count"), 1);
    assert!(store.find_session(&new.id).await.expect("an answer").is_none());
}

async fn claims_change_only_while_session_is_live(fixture: Fixture) {
    let store = fixture.open().await;
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    let change = async |group: &str| {
        let user = User { groups: vec![group.to_owned()], email: None, ..new.user.clone() };
        store.update_user(&new.id, user, false).await.expect("stored");
        let found = store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
        (found.user.groups.clone(), found.user.email.clone(), found.email_verified)
    };
    let changed = (vec!["on-call".to_owned()], None, false);
    assert_eq!(change("on-call").await, changed);
    assert!(revoke(&store, &new.id, 10, EndReason::Logout).await);
    assert_eq!(change("engineering").await, changed);
}

async fn addresses_are_deleted_in_batches(fixture: Fixture) {
    let store = fixture.open().await;
    for second in 0..3 {
        store.open_session(session("00u1", second), 48).await.expect("stored");
    }
    for deleted in [2, 1, 0] {
        assert_eq!(store.forget_addresses(2).await.expect("stored"), deleted);
    }
}
