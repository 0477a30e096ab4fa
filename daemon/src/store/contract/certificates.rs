//! Certificates and the rollover of the daemon's CA.

use super::*;

on_each_engine! {
    certificate_is_replaced_by_name,
    next_authority_is_announced_until_it_takes_over,
    announcement_number_grows_with_each_change,
}

fn row(fixture: &Fixture, name: &str, contents: &[u8]) -> CertificateRow {
    CertificateRow {
        name: name.to_owned(),
        certificate: contents.to_vec(),
        private_key: fixture.keys.field_sealer().seal(place(name), contents),
    }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "certificates", row, column: "private_key", version: 1 }
}

async fn certificate_is_replaced_by_name(fixture: Fixture) {
    let store = fixture.open().await;
    assert!(store.find_certificate("ca").await.expect("an answer").is_none());
    for contents in [b"one", b"two"] {
        store.save_certificate(row(&fixture, "ca", contents)).await.expect("stored");
    }
    let found = store.find_certificate("ca").await.expect("an answer").expect("a row");
    assert_eq!(found.certificate, b"two");
    let key = fixture.keys.field_sealer().open(place("ca"), &found.private_key).expect("ours");
    assert_eq!(key.as_slice(), b"two");
}

async fn next_authority_is_announced_until_it_takes_over(fixture: Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.find_takeover().await.expect("an answer"), None);
    store.save_next_authority(row(&fixture, "next ca", b"next"), at(100)).await.expect("stored");
    assert_eq!(store.find_takeover().await.expect("an answer"), Some(at(100)));
    let (authority, leaf) = (row(&fixture, "ca", b"next"), row(&fixture, "leaf", b"leaf"));
    store.replace_authority(authority, leaf, "next ca").await.expect("stored");
    assert_eq!(store.find_takeover().await.expect("an answer"), None);
    for (name, is_stored) in [("ca", true), ("leaf", true), ("next ca", false)] {
        let found = store.find_certificate(name).await.expect("an answer");
        assert_eq!(found.is_some(), is_stored, "{name}");
    }
}

async fn announcement_number_grows_with_each_change(fixture: Fixture) {
    let store = fixture.open().await;
    let first = u64::try_from(at(0).as_second()).expect("a positive number");
    for (announced, second, expected) in
        [("one", 0, first), ("one", 50, first), ("two", -100, first + 1), ("one", 1_000, first + 1_000)]
    {
        let number = store.number_announcement(announced.to_owned(), at(second)).await.expect("stored");
        assert_eq!(number, expected, "{announced} at {second}");
    }
}
