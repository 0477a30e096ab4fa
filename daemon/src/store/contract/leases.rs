//! Leases of jobs.

use super::*;

on_each_engine! {
    lease_is_renewed_by_its_holder,
    lease_is_held_by_one_member,
}

async fn lease_is_renewed_by_its_holder(fixture: Fixture) {
    let store = fixture.open().await;
    let first = store.take_lease("job").await.expect("an answer").expect("a lease");
    let again = store.take_lease("job").await.expect("an answer").expect("a lease");
    assert_eq!(first, again, "the holder is the same");
    assert!(store.take_lease("other job").await.expect("an answer").is_some());
}

async fn lease_is_held_by_one_member(fixture: Fixture) {
    let members = fixture.open_members().await;
    let mut holders = 0;
    for member in &members {
        holders += usize::from(member.take_lease("job").await.expect("an answer").is_some());
    }
    assert_eq!(holders, 1, "of {}", members.len());
}
