//! The configured providers and the hosts of their endpoints.

use super::*;

on_each_engine! {
    stored_providers_are_compared_with_configured_ones,
    endpoints_are_remembered_by_provider,
}

async fn stored_providers_are_compared_with_configured_ones(fixture: Fixture) {
    let store = fixture.open().await;
    let sealer = fixture.keys.field_sealer();
    let place = Place { table: "providers", row: "okta", column: "client_secret_reference", version: 1 };
    let row = |name: &str, issuer: &str, allow_policy: &str| ProviderRow {
        name: name.to_owned(),
        issuer: issuer.to_owned(),
        allow_policy: allow_policy.to_owned(),
        client_secret_reference: sealer.seal(place, b"plaintext:x"),
    };
    for _ in 0..2 {
        let rows = vec![row("okta", "https://okta.test", "everyone")];
        let compared = store.compare_providers(&rows).await.expect("an answer");
        assert_eq!(compared.change, ProviderChange::None);
        store.replace_providers(rows, &compared).await.expect("stored");
    }
    let (same, new) =
        (row("okta", "https://okta.test", "everyone"), row("new", "https://new.test", "everyone"));
    let change = async |rows: &[ProviderRow]| store.compare_providers(rows).await.expect("an answer").change;
    assert_eq!(change(&[same, new]).await, ProviderChange::None);
    for other in [
        row("new", "https://okta.test", "everyone"),
        row("okta", "https://other.test", "everyone"),
        row("okta", "https://okta.test", "nobody"),
    ] {
        assert_eq!(change(&[other]).await, ProviderChange::Left);
    }
    assert_eq!(change(&[]).await, ProviderChange::Left);
    store.check().await.expect("it answers");
}

async fn endpoints_are_remembered_by_provider(fixture: Fixture) {
    let store = fixture.open().await;
    assert_eq!(store.provider_endpoints("okta").await.expect("an answer"), None);
    let hosts = |host: &str| EndpointHosts::from([("token_endpoint".to_owned(), host.to_owned())]);
    for (host, changed) in [("a.test", None), ("b.test", Some((at(7), hosts("a.test"))))] {
        let issuer = "https://okta.test".to_owned();
        let endpoints = RememberedEndpoints { issuer, hosts: hosts(host), changed };
        store.remember_provider_endpoints("okta".to_owned(), endpoints.clone()).await.expect("stored");
        assert_eq!(store.provider_endpoints("okta").await.expect("an answer"), Some(endpoints));
    }
    assert_eq!(store.provider_endpoints("other").await.expect("an answer"), None);
}
