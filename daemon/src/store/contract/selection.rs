//! Which sessions are listed, counted and revoked.

use super::*;

on_each_engine! {
    pages_contain_each_live_session_once,
    sessions_are_counted_by_last_use,
    selector_revokes_only_its_sessions,
    sessions_of_named_user_are_listed_newest_first,
}

async fn pages_contain_each_live_session_once(fixture: Fixture) {
    let store = fixture.open().await;
    let mut expected = Vec::new();
    for second in 0..7 {
        let new = session("00u1", second);
        store.open_session(new.clone(), 48).await.expect("stored");
        if second == 3 {
            revoke(&store, &new.id, 10, EndReason::Logout).await;
        } else {
            expected.push(new.id);
        }
    }
    expected.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    for at_most in [1, 2, 3, 6, 100] {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let page = store.live_sessions(at(20), next, at_most).await.expect("an answer");
            assert!(page.sessions.len() <= at_most as usize);
            found.extend(page.sessions.into_iter().map(|stored| stored.id));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{at_most} at once");
    }
    assert_eq!(store.live_sessions(at(3_603), None, 100).await.expect("an answer").sessions.len(), 3);
}

async fn sessions_are_counted_by_last_use(fixture: Fixture) {
    let store = fixture.open().await;
    let (used, unused) = (session("00u1", 0), session("00u1", 1));
    for new in [&used, &unused] {
        store.open_session(new.clone(), 48).await.expect("stored");
    }
    store.touch_session(&used.id, at(100)).await.expect("stored");
    for (now, used_since, expected) in [(200, 1, 2), (200, 2, 1), (200, 101, 0), (3_600, 1, 1), (3_601, 1, 0)]
    {
        let count = store.count_live_sessions(at(now), at(used_since)).await.expect("an answer");
        assert_eq!(count, expected, "at {now}, used since {used_since}");
    }
}

async fn selector_revokes_only_its_sessions(fixture: Fixture) {
    let store = fixture.open().await;
    let open = async |subject: &str, email: &str, second: i64| {
        let new = session(subject, second);
        let user = User { email: Some(email.to_owned()), ..new.user.clone() };
        let id = new.id.clone();
        store.open_session(NewSession { user, ..new }, 48).await.expect("stored");
        id
    };
    let alice = [open("00u1", "alice@example.com", 0).await, open("00u1", "alice@example.com", 1).await];
    let bob = open("00u2", "bob@example.com", 2).await;
    let carol = [open("00u3", "carol@example.com", 3).await, open("00u3", "carol@example.com", 4).await];
    let named = |name: &str, except: Option<&SessionID>| SessionSelector::Users {
        filter: UserFilter::Named(name.to_owned()),
        except: except.cloned(),
    };
    let [first, second] = &alice;
    let [kept, other] = &carol;
    // At this time all have expired, which protects none.
    for (selector, expected) in [
        (SessionSelector::Ids(Vec::new()), vec![]),
        (SessionSelector::OthersOf(first.clone()), vec![second]),
        (named("BOB@example.com", None), vec![&bob]),
        (named("00u3", Some(kept)), vec![other]),
        (named("00u9", None), vec![]),
        (SessionSelector::ALL, vec![first, kept]),
        (SessionSelector::ALL, vec![]),
    ] {
        let revoked = store.revoke(selector.clone(), at(9_000), EndReason::Operator).await.expect("stored");
        let mut revoked: Vec<&SessionID> = revoked.iter().map(|session| &session.id).collect();
        revoked.sort_by_key(|id| alice.iter().chain([&bob]).chain(&carol).position(|other| other == *id));
        assert_eq!(revoked, expected, "{selector:?}");
    }
}

async fn sessions_of_named_user_are_listed_newest_first(fixture: Fixture) {
    let store = fixture.open().await;
    let mut ids = Vec::new();
    for second in 0..3 {
        let new = session("00u1", second);
        ids.insert(0, new.id.clone());
        store.open_session(new, 48).await.expect("stored");
    }
    for (name, at_most, expected) in
        [("00u1", 9, ids.as_slice()), ("CANARY@example.com", 2, &ids[..2]), ("00u2", 9, &[])]
    {
        let found = store.sessions_named(name, at_most, at(10)).await.expect("an answer");
        assert_eq!(found.into_iter().map(|stored| stored.id).collect::<Vec<_>>(), expected, "{name}");
    }
}
