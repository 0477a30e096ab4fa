//! Leases of jobs.

use super::*;

on_each_engine! {
    lease_is_renewed_by_its_holder,
    lease_is_held_by_one_member,
    ended_lease_is_free_at_once,
    leases_of_stopped_member_are_free_at_once,
    work_is_done_while_lease_is_held,
}

async fn lease_is_renewed_by_its_holder(fixture: Fixture) {
    let store = fixture.open().await;
    let first = store.take_lease(Job::Acme).await.expect("an answer").expect("a lease");
    let again = store.take_lease(Job::Acme).await.expect("an answer").expect("a lease");
    assert_eq!(first.fence, again.fence, "the holder is the same");
    assert!(store.take_lease(Job::Authority).await.expect("an answer").is_some());
}

async fn lease_is_held_by_one_member(fixture: Fixture) {
    let members = fixture.open_members().await;
    let mut holders = 0;
    for member in &members {
        holders += usize::from(member.take_lease(Job::Acme).await.expect("an answer").is_some());
    }
    assert_eq!(holders, 1, "of {}", members.len());
}

async fn ended_lease_is_free_at_once(fixture: Fixture) {
    for member in fixture.open_members().await {
        let lease = member.expect_lease(Job::Acme).await.expect("a lease");
        member.end_lease(lease).await;
    }
}

async fn leases_of_stopped_member_are_free_at_once(fixture: Fixture) {
    for member in fixture.open_members().await {
        for job in [Job::Acme, Job::Purge] {
            member.expect_lease(job).await.expect("a lease");
        }
        member.end_job_leases().await.expect("ended");
    }
}

async fn work_is_done_while_lease_is_held(fixture: Fixture) {
    let store = fixture.open().await;
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    let work = async { store.pause_orders(at(1)).await.map(|()| "done") };
    assert_eq!(store.while_held(&lease, work).await.expect("the outcome"), "done");
}
