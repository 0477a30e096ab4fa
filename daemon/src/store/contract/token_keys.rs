//! The row of the keys that sign audience tokens.

use super::*;

on_each_engine! {
    token_keys_are_replaced_and_kept,
    token_keys_open_only_with_their_key_and_place,
    token_keys_are_saved_by_holder_of_lease,
}

async fn token_keys_are_replaced_and_kept(fixture: Fixture) {
    let (store, sealer) = (fixture.open().await, fixture.keys.field_sealer());
    assert!(store.find_token_keys(&sealer).await.expect("an answer").is_none());
    let lease = store.expect_lease(Job::TokenKeys).await.expect("a lease");
    for keys in [&b"one"[..], b"two", &[7; 4096]] {
        store.save_token_keys(keys, &sealer, &lease).await.expect("stored");
        let found = store.find_token_keys(&sealer).await.expect("an answer").expect("keys");
        assert_eq!(found.as_slice(), keys);
    }
    drop(store);
    let found = fixture.open().await.find_token_keys(&sealer).await.expect("an answer").expect("keys");
    assert_eq!(found.as_slice(), [7; 4096]);
}

async fn token_keys_open_only_with_their_key_and_place(fixture: Fixture) {
    let (store, sealer) = (fixture.open().await, fixture.keys.field_sealer());
    let lease = store.expect_lease(Job::TokenKeys).await.expect("a lease");
    // Sealed for the leaf certificate, and put where the keys belong.
    let place = Place { table: "certificates", row: "leaf", column: "private_key", version: 1 };
    let (name, certificate) = ("token keys".to_owned(), Vec::new());
    let moved = CertificateRow { name, certificate, private_key: sealer.seal(place, b"keys") };
    store.save_certificate(moved, &lease).await.expect("stored");
    let found = store.find_token_keys(&sealer).await;
    assert!(matches!(found, Err(StoreError::UnexpectedRow(_))), "{found:?}");
}

async fn token_keys_are_saved_by_holder_of_lease(fixture: Fixture) {
    let (members, sealer) = (fixture.open_members().await, fixture.keys.field_sealer());
    let [one, .., other] = members.as_slice() else { return };
    let lost = one.expect_lease(Job::TokenKeys).await.expect("a lease");
    one.end_job_leases().await.expect("ended");
    let held = other.expect_lease(Job::TokenKeys).await.expect("a lease");
    other.save_token_keys(b"new", &sealer, &held).await.expect("stored");
    let late = one.save_token_keys(b"old", &sealer, &lost).await;
    assert!(matches!(late, Err(StoreError::Leased(_))), "{late:?}");
    let found = one.find_token_keys(&sealer).await.expect("an answer").expect("keys");
    assert_eq!(found.as_slice(), b"new");
}
