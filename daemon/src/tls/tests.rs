//! The daemon's own CA with a real store, a manual clock and the client's verifier.

mod files;
mod members;

use std::sync::Arc;

use futures_util::FutureExt;
use infra_harness::clock::ManualClock;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::http::{Trust, client_config, untrusted};
use jiff::SignedDuration;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::local_authority::Maintenance;
use super::*;
use crate::keys::{Keys, RootKeySettings};
use crate::store::{Job, Store};

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
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
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

/// Handshakes with `resolver` as a client that offers `protocols` for `name`. Returns the purpose and the certificate
/// shown, or an error if the handshake fails.
fn offer(
    resolver: &Arc<resolver::Resolver>,
    protocols: &[&[u8]],
    name: &str,
) -> Result<(Purpose, Vec<u8>), rustls::Error> {
    #[derive(Debug)]
    struct AcceptAny(Arc<rustls::crypto::CryptoProvider>);
    impl rustls::client::danger::ServerCertVerifier for AcceptAny {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AcceptAny(provider)))
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name)?;

    let mut acceptor = rustls::server::Acceptor::default();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    acceptor.read_tls(&mut bytes.as_slice()).expect("memory");
    let accepted = acceptor.accept().map_err(|(error, _)| error)?.expect("a whole ClientHello");
    let server = TlsServer::new(resolver.clone(), MinimumVersion::Tls13).expect("a configuration");
    let accepting = server.accept(&accepted.client_hello()).now_or_never();
    let (purpose, config) = accepting.expect("no other member answers challenges");
    let mut server = accepted.into_connection(config).map_err(|(error, _)| error)?;
    while server.wants_write() {
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).expect("memory");
        client.read_tls(&mut bytes.as_slice()).expect("memory");
        client.process_new_packets()?;
    }
    let shown = client.peer_certificates().and_then(<[_]>::first).expect("a certificate").to_vec();
    Ok((purpose, shown))
}

/// Handshakes as a client that trusts `trust` and connects to `name`. Returns the negotiated protocol.
fn negotiate(authority: &Arc<LocalAuthority>, trust: &Trust, name: &str) -> Result<String, rustls::Error> {
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
async fn pinned_client_accepts_every_name_of_daemon() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test", "127.0.0.1", "::1"]).await;
    let trust = Trust::Pinned { pin: authority.pin(), authorities: None };
    for name in ["infra.test", "127.0.0.1", "::1"] {
        assert_eq!(negotiate(&authority, &trust, name).expect(name), "TLSv1_3 X25519MLKEM768");
    }
    let error = negotiate(&authority, &trust, "other.test").expect_err("not a name of the daemon");
    assert_eq!(untrusted(&error), Some(infra_shared::http::Untrusted::WrongName));
}

#[tokio::test]
async fn ca_file_is_accepted_as_trust_anchor() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    let pem = infra_shared::http::authorities_from_pem(authority.certificate_pem().as_bytes()).expect("PEM");
    assert_eq!(infra_shared::http::pin_of_certificate(&pem[0]), Some(authority.pin()));
    negotiate(&authority, &Trust::Authorities(pem), "infra.test").expect("accepted");
}

#[tokio::test]
async fn pin_of_other_daemon_is_rejected() {
    let (fixture, other) = (Fixture::new().await, Fixture::new().await);
    let (authority, other) = (fixture.authority(&["a.test"]).await, other.authority(&["a.test"]).await);
    let trust = Trust::Pinned { pin: other.pin(), authorities: None };
    let error = negotiate(&authority, &trust, "a.test").expect_err("another authority");
    let expected =
        infra_shared::http::Untrusted::OtherPin { expected: other.pin(), received: authority.pin() };
    assert_eq!(untrusted(&error), Some(expected));
}

#[tokio::test]
async fn authority_and_leaf_survive_restart() {
    let fixture = Fixture::new().await;
    let first = fixture.authority(&["infra.test"]).await;
    let second = fixture.authority(&["infra.test"]).await;
    assert_eq!(first.pin(), second.pin());
    assert_eq!(first.key().cert, second.key().cert);
}

#[tokio::test]
async fn changed_names_get_new_leaf_from_same_authority() {
    let fixture = Fixture::new().await;
    let first = fixture.authority(&["a.test"]).await;
    let second = fixture.authority(&["b.test"]).await;
    assert_eq!(first.pin(), second.pin());
    let trust = Trust::Pinned { pin: first.pin(), authorities: None };
    negotiate(&second, &trust, "b.test").expect("the new name");
    negotiate(&second, &trust, "a.test").expect_err("the old name");
}

#[tokio::test]
async fn leaf_is_renewed_after_two_thirds_of_lifetime() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    let expires_at = authority.leaf_expires_at();
    fixture.clock.advance(SignedDuration::from_hours(59 * 24));
    assert_eq!(authority.maintain().await.expect("an answer"), Maintenance::Nothing);
    fixture.clock.advance(SignedDuration::from_hours(2 * 24));
    assert_eq!(authority.maintain().await.expect("an answer"), Maintenance::RenewedLeaf);
    assert_eq!(authority.maintain().await.expect("an answer"), Maintenance::Nothing);
    assert_eq!(authority.leaf_expires_at().duration_since(expires_at).as_hours(), 61 * 24);
}

#[tokio::test]
async fn invalid_certificate_name_is_rejected() {
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

#[tokio::test]
async fn acme_tls_is_negotiated_only_while_challenge_is_pending() {
    let fixture = Fixture::new().await;
    let resolver = resolver::Resolver::new(fixture.authority(&["infra.test", "other.test"]).await);
    let lease = fixture.store.expect_lease(Job::Acme).await.expect("a lease");
    let acme: &[u8] = b"acme-tls/1";
    let refused = |protocols: &[&[u8]], name| match offer(&resolver, protocols, name) {
        Ok(done) => done.0 == Purpose::Serve && protocols.len() > 1,
        Err(error) => matches!(error, rustls::Error::NoApplicationProtocol),
    };
    assert!(refused(&[acme], "infra.test"), "nothing is pending");
    let mark = acme::challenge_answer("infra.test");
    let checking = resolver.answer(resolver::Protocol::SelfCheck, "infra.test", &mark, &lease).await;
    assert!(refused(&[acme], "infra.test"), "a look of the daemon's own is no challenge");
    drop(checking.expect("an answer"));

    let answer = acme::challenge_answer("infra.test");
    let certificate = answer.certificate().to_vec();
    let pending = resolver.answer(resolver::Protocol::AcmeTls, "INFRA.test", &answer, &lease).await;
    let (purpose, shown) = offer(&resolver, &[acme], "infra.test").expect("a handshake");
    assert_eq!(purpose, Purpose::Challenge);
    assert_eq!(shown, certificate);
    assert!(refused(&[acme], "other.test"), "another name");
    assert!(refused(&[acme, b"h2"], "infra.test"), "RFC 8737 §3: it is offered alone");
    let (purpose, shown) = offer(&resolver, &[b"h2"], "infra.test").expect("a handshake");
    assert_eq!(purpose, Purpose::Serve, "everybody else is served as ever");
    assert_ne!(shown, certificate);

    drop(pending.expect("an answer"));
    assert!(refused(&[acme], "infra.test"), "nothing is pending any more");
}

#[tokio::test]
async fn next_authority_takes_over_on_time_after_restart() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    let before = authority.pin();
    authority.rotate(SignedDuration::from_hours(24), false).await.expect("another authority");
    let (next, _) = authority.next().expect("another authority");
    assert_ne!(next, before);
    assert_eq!(authority.pin(), before);
    fixture.clock.advance(SignedDuration::from_hours(23));
    assert_eq!(authority.maintain().await.expect("an answer"), Maintenance::Nothing);
    drop(authority);

    let authority = fixture.authority(&["infra.test"]).await;
    assert_eq!(authority.next().map(|(pin, _)| pin), Some(next));
    fixture.clock.advance(SignedDuration::from_hours(2));
    assert_eq!(authority.maintain().await.expect("an answer"), Maintenance::TookOver);
    assert_eq!((authority.pin(), authority.next()), (next, None));
    let sent = infra_shared::http::pin_of_certificate(&authority.key().cert[1]);
    assert_eq!(sent, Some(next), "its chain is the new authority's");
    assert_eq!(fixture.authority(&["infra.test"]).await.pin(), next);
}

#[tokio::test]
async fn announced_authority_can_be_replaced() {
    let fixture = Fixture::new().await;
    let authority = fixture.authority(&["infra.test"]).await;
    authority.rotate(SignedDuration::from_hours(24), false).await.expect("another authority");
    let (first, _) = authority.next().expect("another authority");
    let refused = authority.rotate(SignedDuration::from_hours(48), false).await;
    assert!(
        matches!(refused, Err(TlsError::AlreadyAnnounced { pin, .. }) if pin == first),
        "it was announced"
    );
    authority.rotate(SignedDuration::from_hours(48), true).await.expect("another authority");
    let (second, _) = authority.next().expect("another authority");
    assert_ne!(first, second);
    authority.rotate(SignedDuration::ZERO, false).await.expect("another authority");
    assert_eq!(authority.next(), None, "without an overlap it takes over at once");
    assert!(![first, second].contains(&authority.pin()));
}
