//! Login tickets, each used once, and the latest time seen.

use super::*;

on_each_engine! {
    ticket_is_consumed_once_under_race,
    raced_tickets_are_each_accepted_once,
    expired_ticket_stays_expired_when_clock_is_set_back,
}

async fn ticket_is_consumed_once_under_race(fixture: Fixture) {
    // Two stores on one file, so that the database decides and not the memory of one.
    let stores = [fixture.open().await, fixture.open().await];
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move { store.consume_ticket([7; 16], at(300)).await.expect("stored") })
        })
        .collect();
    let mut first = 0;
    for task in tasks {
        first += usize::from(task.await.expect("a task") == TicketState::Unused);
    }
    assert_eq!(first, 1);
    drop(stores);
    let reopened = fixture.open().await;
    assert_eq!(reopened.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::AlreadyUsed);
    assert_eq!(reopened.consume_ticket([8; 16], at(300)).await.expect("stored"), TicketState::Unused);
}

async fn raced_tickets_are_each_accepted_once(fixture: Fixture) {
    const TICKETS: u64 = 1000;
    let members = fixture.open_members().await;
    // Every racer uses all tickets in the same order, so that they meet.
    let racers: Vec<_> = (0..6)
        .map(|number: usize| {
            let store = members[number % members.len()].clone();
            tokio::spawn(async move {
                let mut accepted = Vec::new();
                for ticket in 0..TICKETS {
                    let mut id = [0; 16];
                    id[..8].copy_from_slice(&ticket.to_be_bytes());
                    if store.consume_ticket(id, at(300)).await.expect("stored") == TicketState::Unused {
                        accepted.push(ticket);
                    }
                }
                accepted
            })
        })
        .collect();
    let mut accepted = Vec::new();
    for racer in racers {
        accepted.extend(racer.await.expect("a task"));
    }
    accepted.sort_unstable();
    assert!(accepted.iter().copied().eq(0..TICKETS), "{} of {TICKETS} accepted", accepted.len());
}

async fn expired_ticket_stays_expired_when_clock_is_set_back(fixture: Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::Unused);
    store.purge(at(299)).await.expect("tidied");
    assert_eq!(store.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::AlreadyUsed);
    store.purge(at(300)).await.expect("tidied");
    for store in [store, fixture.open().await] {
        assert_eq!(
            store.not_before_latest(at(0)),
            at(300),
            "it is judged as expired, whatever the clock shows"
        );
        store.check_clock(at(0)).expect("a small correction of the clock");
        let refusal = store.check_clock(at(-1)).expect_err("a clock that was set back");
        assert!(matches!(refusal, StoreError::ClockBehind { .. }), "{refusal}");
    }
}
