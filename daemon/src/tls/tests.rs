//! The local authority against a real store, a clock moved by hand, and the client's own verifier.

use std::sync::Arc;

use infra_harness::clock::ManualClock;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::http::{Trust, client_config, untrusted};
use jiff::SignedDuration;
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::local_authority::Tended;
use super::*;
use crate::keys::{Keys, RootKeySettings};
use crate::store::Store;

struct Fixture {
    directory: TempDir,
    keys: Keys,
    store: Store,
    clock: ManualClock,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store = Store::open(&data_dir.join(keys.database_file()), &keys.database_key()).expect("a store");
        Self { directory, keys, store, clock: ManualClock::at(SystemClock.now()) }
    }

    async fn authority(&self, names: &[&str]) -> Arc<LocalAuthority> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let clock = Arc::new(self.clock.clone());
        LocalAuthority::load_or_create(self.store.clone(), self.keys.field_sealer(), clock, names)
            .await
            .expect("an authority")
    }
}

/// Whether a client that trusts `trust` accepts `authority`'s daemon under `name`; the protocol they agree on.
fn shake_hands(authority: &Arc<LocalAuthority>, trust: &Trust, name: &str) -> Result<String, rustls::Error> {
    let server = resolver::Resolver::new(authority.clone());
    let server = TlsServer::new(server, MinimumVersion::Tls13).expect("a configuration");
    let server_config = server.serving();
    let client_config = Arc::new(client_config(trust, false).expect("a configuration"));
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client_config, name)?;
    let mut server = ServerConnection::new(server_config)?;
    for _ in 0..10 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("memory");
        server.read_tls(&mut bytes.as_slice()).expect("memory");
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).expect("memory");
        client.read_tls(&mut bytes.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking(), "ten rounds are enough");
    let group = client.negotiated_key_exchange_group().expect("a group").name();
    Ok(format!("{:?} {group:?}", client.protocol_version().expect("a version")))
}

#[tokio::test]
async fn whoever_pinned_the_authority_accepts_the_daemon_under_each_of_its_names() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test", "127.0.0.1", "::1"]).await;
    let trust = Trust::Pinned { pin: authority.pin(), authorities: None };
    for name in ["infra.test", "127.0.0.1", "::1"] {
        assert_eq!(shake_hands(&authority, &trust, name).expect(name), "TLSv1_3 X25519MLKEM768");
    }
    let error = shake_hands(&authority, &trust, "other.test").expect_err("not a name of the daemon");
    assert_eq!(untrusted(&error), Some(infra_shared::http::Untrusted::WrongName));
}

#[tokio::test]
async fn the_pem_file_is_trust_too() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    let pem = infra_shared::http::authorities_from_pem(authority.certificate_pem().as_bytes()).expect("PEM");
    assert_eq!(infra_shared::http::pin_of_certificate(&pem[0]), Some(authority.pin()));
    shake_hands(&authority, &Trust::Authorities(pem), "infra.test").expect("accepted");
}

#[tokio::test]
async fn another_daemons_pin_is_refused() {
    let (fixture, other) = (Fixture::new().await, Fixture::new().await);
    let (authority, other) = (fixture.authority(&["a.test"]).await, other.authority(&["a.test"]).await);
    let trust = Trust::Pinned { pin: other.pin(), authorities: None };
    let error = shake_hands(&authority, &trust, "a.test").expect_err("another authority");
    let expected = infra_shared::http::Untrusted::OtherPin { received: authority.pin() };
    assert_eq!(untrusted(&error), Some(expected));
}

#[tokio::test]
async fn authority_and_leaf_survive_a_restart() {
    let fixture = Fixture::new().await;
    let first = fixture.authority(&["infra.test"]).await;
    let second = fixture.authority(&["infra.test"]).await;
    assert_eq!(first.pin(), second.pin());
    assert_eq!(first.key().cert, second.key().cert);
}

#[tokio::test]
async fn other_names_get_another_leaf_from_the_same_authority() {
    let fixture = Fixture::new().await;
    let first = fixture.authority(&["a.test"]).await;
    let second = fixture.authority(&["b.test"]).await;
    assert_eq!(first.pin(), second.pin());
    let trust = Trust::Pinned { pin: first.pin(), authorities: None };
    shake_hands(&second, &trust, "b.test").expect("the new name");
    shake_hands(&second, &trust, "a.test").expect_err("the old name");
}

#[tokio::test]
async fn a_leaf_is_renewed_when_two_thirds_of_its_life_are_over() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    let expires_at = authority.leaf_expires_at();
    fixture.clock.advance(SignedDuration::from_hours(59 * 24));
    assert_eq!(authority.tend().await.expect("an answer"), Tended::Nothing);
    fixture.clock.advance(SignedDuration::from_hours(2 * 24));
    assert_eq!(authority.tend().await.expect("an answer"), Tended::RenewedLeaf);
    assert_eq!(authority.tend().await.expect("an answer"), Tended::Nothing);
    assert_eq!(authority.leaf_expires_at().duration_since(expires_at).as_hours(), 61 * 24);
}

#[tokio::test]
async fn a_name_that_no_certificate_can_hold_is_told() {
    let fixture = Fixture::new().await;
    let clock = Arc::new(fixture.clock.clone());
    let names = vec!["not a name".to_owned()];
    let error =
        LocalAuthority::load_or_create(fixture.store.clone(), fixture.keys.field_sealer(), clock, names)
            .await
            .expect_err("no such certificate");
    assert!(matches!(error, TlsError::Name { .. }), "{error}");
    assert!(fixture.directory.path().exists());
}
