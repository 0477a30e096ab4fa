//! Certificates and the rollover of the daemon's CA.

use super::*;

on_each_engine! {
    certificate_is_replaced_by_name,
    next_authority_is_announced_until_it_takes_over,
    announcement_number_grows_with_each_change,
    changed_certificates_are_noticed_by_other_members,
}

fn row(fixture: &Fixture, name: &str, contents: &[u8]) -> CertificateRow {
    CertificateRow {
        name: name.to_owned(),
        certificate: contents.to_vec(),
        private_key: fixture.keys.field_sealer().seal(place(name), contents),
    }
}

/// The CA `current`, and `two` as the next one.
fn authorities(fixture: &Fixture, current: &[u8], takeover_at: Option<Timestamp>) -> AuthorityRows {
    let next = takeover_at.map(|at| (row(fixture, "next ca", b"two"), at));
    AuthorityRows { current: Some(row(fixture, "ca", current)), next }
}

fn place(row: &str) -> Place<'_> {
    Place { table: "certificates", row, column: "private_key", version: 1 }
}

async fn certificate_is_replaced_by_name(fixture: Fixture) {
    let store = fixture.open().await;
    let lease = store.expect_lease(Job::Authority).await.expect("a lease");
    assert!(store.find_certificate("ca").await.expect("an answer").is_none());
    for contents in [b"one", b"two"] {
        store.save_certificate(row(&fixture, "ca", contents), &lease).await.expect("stored");
    }
    let found = store.find_certificate("ca").await.expect("an answer").expect("a row");
    assert_eq!(found.certificate, b"two");
    let key = fixture.keys.field_sealer().open(place("ca"), &found.private_key).expect("ours");
    assert_eq!(key.as_slice(), b"two");
}

async fn next_authority_is_announced_until_it_takes_over(fixture: Fixture) {
    let store = fixture.open().await;
    let lease = store.expect_lease(Job::Authority).await.expect("a lease");
    let found = async || {
        let AuthorityRows { current, next } = store.find_authorities().await.expect("an answer");
        (current.map(|row| row.certificate), next.map(|(row, at)| (row.certificate, at)))
    };
    assert_eq!(found().await, (None, None));
    let (one, two) = (b"one".to_vec(), b"two".to_vec());
    for next in [None, Some(at(100)), Some(at(200))] {
        let rows = authorities(&fixture, b"one", next);
        store.save_authorities(rows, None, &lease).await.expect("stored");
        assert_eq!(found().await, (Some(one.clone()), next.map(|at| (two.clone(), at))));
    }
    let leaf = row(&fixture, "leaf", b"leaf");
    store.save_authorities(authorities(&fixture, b"two", None), Some(leaf), &lease).await.expect("stored");
    assert_eq!(found().await, (Some(two), None));
    assert!(store.find_certificate("leaf").await.expect("an answer").is_some());
}

async fn announcement_number_grows_with_each_change(fixture: Fixture) {
    let store = fixture.open().await;
    let first = u64::try_from(at(0).as_second()).expect("a positive number");
    for (announced, second, expected) in
        [("one", 0, first), ("one", 50, first), ("two", -100, first + 1), ("one", 1_000, first + 1_000)]
    {
        let number = store.number_announcement(announced.to_owned(), at(second)).await.expect("stored");
        assert_eq!(number, expected, "{announced} at {second}");
        let found = store.find_announcement_number(announced, at(second)).await.expect("an answer");
        assert_eq!(found, Some(number), "{announced} at {second}");
    }
    assert_eq!(store.find_announcement_number("two", at(1_000)).await.expect("an answer"), None);
}

async fn changed_certificates_are_noticed_by_other_members(fixture: Fixture) {
    let members = fixture.open_members().await;
    let [one, .., other] = members.as_slice() else { return };
    let version = async || other.certificates_version().await.expect("an answer").expect("it is shared");
    let lease = one.expect_lease(Job::Authority).await.expect("a lease");
    let mut before = version().await;
    for step in 0..5 {
        let save = async |next| {
            let rows = authorities(&fixture, b"same", next);
            one.save_authorities(rows, None, &lease).await.expect("stored");
        };
        match step {
            0 | 1 => {
                let leaf = row(&fixture, "leaf", b"same");
                one.save_certificate(leaf, &lease).await.expect("stored");
            }
            2 => save(Some(at(9))).await,
            3 => save(None).await,
            _ => drop(one.number_announcement("new".to_owned(), at(0)).await.expect("stored")),
        }
        let after = version().await;
        assert_ne!(before, after, "step {step}");
        assert_eq!(version().await, after, "step {step}");
        before = after;
    }
}
