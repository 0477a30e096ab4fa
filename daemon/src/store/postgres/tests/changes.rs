//! What a member tells the others: numbered changes, and the latest time.

use infra_peers::postgresql::PostgreSQL;
use infra_shared::token_text::SessionID;

use super::{open_member, store_on};
use crate::store::contract::{at, revoke, session};
use crate::store::{EndReason, MemberDescription, NewSession, SessionSelector, TicketState};

#[tokio::test]
async fn each_change_of_sessions_has_the_next_number() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let all: Vec<NewSession> = (0..4).map(|second| session("00u1", second)).collect();
    let [first, second, third, fourth] = all.as_slice() else { unreachable!("there are four") };
    for new in [first, second] {
        store.open_session(new.clone(), 2).await.expect("stored");
    }
    store.open_session(third.clone(), 2).await.expect("stored");
    store.update_user(&third.id, third.user.clone(), false).await.expect("stored");
    store.touch_session(&third.id, at(9)).await.expect("stored");
    assert!(revoke(&store, &second.id, 10, EndReason::Logout).await);
    assert!(!revoke(&store, &second.id, 11, EndReason::Logout).await);
    store.update_user(&second.id, second.user.clone(), false).await.expect("nothing to do");
    store.open_session(fourth.clone(), 2).await.expect("stored");
    store.revoke(SessionSelector::ALL, at(12), EndReason::Operator).await.expect("stored");
    let changed = |id: &SessionID| format!("{{{id}}}|f");
    let expected = [changed(&first.id), changed(&third.id), changed(&second.id), "{}|t".to_owned()];
    let stored = server.sql("infra", "SELECT session_ids, is_all FROM changes ORDER BY number");
    assert_eq!(stored.lines().collect::<Vec<_>>(), expected);
    let numbers = "SELECT array_agg(number ORDER BY number), count(DISTINCT mark), (SELECT value FROM counter) FROM changes";
    assert_eq!(server.sql("infra", numbers), "{1,2,3,4}|4|4");
    assert_eq!(store.raise_guard_counter(0).await.expect("stored"), 5);
    assert_eq!(store.raise_guard_counter(100).await.expect("stored"), 101);
    assert_eq!(store.guard_counter(), 101);
}

#[tokio::test]
async fn heartbeat_records_how_far_member_lags() {
    let Some(server) = PostgreSQL::start() else { return };
    let store = store_on(&server).await;
    let description =
        MemberDescription { name: "one".to_owned(), address: String::new(), version: "1".to_owned() };
    let lag = async || {
        store.heartbeat(&description).await.expect("stored");
        store.members().await.expect("an answer").iter().map(|member| member.lag).collect::<Vec<_>>()
    };
    assert_eq!(lag().await, [0]);
    server.sql("infra", "UPDATE counter SET value = value + 3");
    assert_eq!(lag().await, [3]);
    // It learns the new number with its own change.
    store.raise_guard_counter(0).await.expect("stored");
    assert_eq!(lag().await, [0]);
}

#[tokio::test]
async fn purged_ticket_stays_used_for_every_member() {
    let Some(server) = PostgreSQL::start() else { return };
    let purging = store_on(&server).await;
    let other = open_member(&server).await;
    assert_eq!(other.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::Unused);
    purging.purge(at(300)).await.expect("stored");
    assert_eq!(server.sql("infra", "SELECT count(*) FROM consumed_tickets"), "0");
    // A member whose clock is behind takes the ticket for one that is still valid.
    assert_eq!(other.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::AlreadyUsed);
    assert_eq!(other.not_before_latest(at(0)), at(300), "and learns the time from it");
}
