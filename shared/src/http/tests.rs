//! Tests clients against real TLS servers on loopback that count the bytes they receive.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, ServerConnection, Stream};

use super::*;

const BOUND: Duration = Duration::from_secs(10);

/// Validity periods in years, relative to today.
const IN_DATE: (i32, i32) = (2020, 2099);
const EXPIRED: (i32, i32) = (2020, 2021);
const NOT_YET: (i32, i32) = (2098, 2099);

struct Authority {
    certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    fn new((from, to): (i32, i32)) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        (parameters.not_before, parameters.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let certificate = parameters.self_signed(&key).expect("a certificate").der().clone();
        Self { certificate, key }
    }

    fn pin(&self) -> Pin {
        pin_of_certificate(&self.certificate).expect("a certificate")
    }

    /// Issues a server certificate for `name` and returns it with its key.
    fn issue(&self, name: &str, (from, to): (i32, i32)) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (parameters.not_before, parameters.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &self.key).expect("an authority");
        let certificate = parameters.signed_by(&key, &issuer).expect("a certificate").der().clone();
        (certificate, PrivateKeyDer::try_from(key.serialize_der()).expect("a key"))
    }
}

/// A server with one chain that sends `answer` to every request and counts the bytes received inside TLS.
struct Server {
    port: u16,
    received: Arc<AtomicUsize>,
}

impl Server {
    fn start(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>, answer: &'static str) -> Self {
        Self::start_with(chain, key, move |stream| stream.write_all(answer.as_bytes()))
    }

    fn start_with(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        answer: impl Fn(&mut dyn Write) -> std::io::Result<()> + Clone + Send + 'static,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        // Unchecked, because a hostile server may lack the key of the certificate that it shows.
        let key = provider.key_provider.load_private_key(key).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))));
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::new(AtomicUsize::new(0));
        let counter = received.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut tcp, config, counter, answer) =
                    (stream.expect("a connection"), config.clone(), counter.clone(), answer.clone());
                tcp.set_read_timeout(Some(BOUND)).expect("a limit");
                thread::spawn(move || {
                    let mut tls = ServerConnection::new(config).expect("a connection");
                    let mut stream = Stream::new(&mut tls, &mut tcp);
                    let mut bytes = [0; 4096];
                    let Ok(count) = stream.read(&mut bytes) else { return };
                    counter.fetch_add(count, Ordering::SeqCst);
                    // The client may have closed the connection already.
                    let _ = answer(&mut stream);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Self { port, received }
    }

    fn get(&self, trust: &Trust) -> Result<reqwest::blocking::Response, reqwest::Error> {
        let client = blocking_client(trust, limits(), false, Way::Direct).expect("a client");
        client.get(format!("https://127.0.0.1:{}/", self.port)).send()
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";

fn limits() -> Limits {
    Limits { connect: BOUND, total: BOUND }
}

fn pinned(authority: &Authority) -> Trust {
    Trust::Pinned { pin: authority.pin(), authorities: None }
}

/// Asserts that `trust` rejects a server with this chain for `reason` and sends it nothing.
fn assert_refused(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trust: &Trust,
    reason: &Untrusted,
) {
    let server = Server::start(chain, key, HELLO);
    let error = server.get(trust).expect_err("the server is refused");
    assert_eq!(untrusted(&error).as_ref(), Some(reason));
    assert!(nothing_was_sent(&error));
    assert_eq!(server.received.load(Ordering::SeqCst), 0);
}

#[test]
fn pinned_or_listed_authority_is_accepted() {
    let authority = Authority::new(IN_DATE);
    let both = Trust::Pinned { pin: authority.pin(), authorities: Some(vec![authority.certificate.clone()]) };
    for trust in [pinned(&authority), Trust::Authorities(vec![authority.certificate.clone()]), both] {
        let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
        let server = Server::start(vec![leaf, authority.certificate.clone()], key, HELLO);
        let answer = server.get(&trust).expect("an answer");
        assert_eq!(read_body_blocking(answer, 5).expect("a body"), b"hello");
        assert!(server.received.load(Ordering::SeqCst) > 0, "the counter counts");
    }
}

#[test]
fn other_authority_is_rejected() {
    let (ours, other) = (Authority::new(IN_DATE), Authority::new(IN_DATE));
    let chain = |leaf| vec![leaf, other.certificate.clone()];
    let (leaf, key) = other.issue("127.0.0.1", IN_DATE);
    assert_refused(
        chain(leaf),
        key,
        &pinned(&ours),
        &Untrusted::OtherPin { expected: ours.pin(), received: other.pin() },
    );
    let (leaf, key) = other.issue("127.0.0.1", IN_DATE);
    let trust = Trust::Authorities(vec![ours.certificate.clone()]);
    assert_refused(chain(leaf), key, &trust, &Untrusted::UnknownAuthority);
    let (leaf, key) = other.issue("127.0.0.1", IN_DATE);
    assert_refused(chain(leaf), key, &Trust::Authorities(Vec::new()), &Untrusted::UnknownAuthority);
    let (leaf, key) = other.issue("127.0.0.1", IN_DATE);
    let both = Trust::Pinned { pin: other.pin(), authorities: Some(vec![ours.certificate.clone()]) };
    assert_refused(chain(leaf), key, &both, &Untrusted::UnknownAuthority);
}

#[test]
fn server_without_the_key_of_its_certificate_is_rejected() {
    let authority = Authority::new(IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    let (_, other_key) = authority.issue("127.0.0.1", IN_DATE);
    let listed = Trust::Authorities(vec![authority.certificate.clone()]);
    for trust in [pinned(&authority), listed, Trust::Certificate(leaf.clone())] {
        let chain = vec![leaf.clone(), authority.certificate.clone()];
        Server::start(chain.clone(), key.clone_key(), HELLO).get(&trust).expect("the holder of the key");
        let thief = Server::start(chain, other_key.clone_key(), HELLO);
        let error = thief.get(&trust).expect_err("the server is refused");
        assert!(nothing_was_sent(&error), "{error:?}");
        assert_eq!(thief.received.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn only_the_one_trusted_certificate_is_accepted() {
    let authority = Authority::new(IN_DATE);
    let (trusted, _) = authority.issue("127.0.0.1", IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    let server = Server::start(vec![leaf, trusted.clone()], key, HELLO);
    let error = server.get(&Trust::Certificate(trusted)).expect_err("the server is refused");
    assert!(nothing_was_sent(&error), "{error:?}");
    assert_eq!(server.received.load(Ordering::SeqCst), 0);
}

#[test]
fn private_authority_is_rejected_by_system_trust() {
    let authority = Authority::new(IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    // On a machine without root CAs the client cannot be built, which also refuses the connection.
    if client_config(&Trust::System, false).is_ok() {
        let chain = vec![leaf, authority.certificate.clone()];
        assert_refused(chain, key, &Trust::System, &Untrusted::UnknownAuthority);
    }
}

#[test]
fn pinned_authority_outside_the_chain_is_rejected() {
    let (ours, other) = (Authority::new(IN_DATE), Authority::new(IN_DATE));
    let (leaf, key) = other.issue("127.0.0.1", IN_DATE);
    let chain = vec![leaf, other.certificate.clone(), ours.certificate.clone()];
    let server = Server::start(chain, key, HELLO);
    let error = server.get(&pinned(&ours)).expect_err("the server is refused");
    assert!(untrusted(&error).is_some(), "{error:?}");
    assert_eq!(server.received.load(Ordering::SeqCst), 0);
}

#[test]
fn chain_without_authority_and_pinned_leaf_are_rejected() {
    let authority = Authority::new(IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    assert_refused(vec![leaf], key, &pinned(&authority), &Untrusted::NoAuthoritySent);

    let (other_leaf, _) = authority.issue("127.0.0.1", IN_DATE);
    let trust =
        Trust::Pinned { pin: pin_of_certificate(&other_leaf).expect("a certificate"), authorities: None };
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    assert_refused(vec![leaf, other_leaf], key, &trust, &Untrusted::Unacceptable);
}

#[test]
fn wrong_name_and_date_out_of_range_are_rejected() {
    let authority = Authority::new(IN_DATE);
    for (name, dates, reason) in [
        ("localhost", IN_DATE, Untrusted::WrongName),
        ("127.0.0.1", EXPIRED, Untrusted::Expired),
        ("127.0.0.1", NOT_YET, Untrusted::NotYetValid),
    ] {
        let (leaf, key) = authority.issue(name, dates);
        assert_refused(vec![leaf, authority.certificate.clone()], key, &pinned(&authority), &reason);
    }
    for (dates, reason) in [(EXPIRED, Untrusted::Expired), (NOT_YET, Untrusted::NotYetValid)] {
        let authority = Authority::new(dates);
        for trust in [pinned(&authority), Trust::Authorities(vec![authority.certificate.clone()])] {
            let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
            assert_refused(vec![leaf, authority.certificate.clone()], key, &trust, &reason);
        }
    }
}

#[test]
fn refused_connection_is_not_a_trust_failure() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let client =
        blocking_client(&Trust::Authorities(Vec::new()), limits(), false, Way::Direct).expect("a client");
    let error = client.get(format!("https://127.0.0.1:{port}/")).send().expect_err("nobody listens");
    assert_eq!(untrusted(&error), None);
    assert!(nothing_was_sent(&error));
}

#[test]
fn truncated_response_counts_as_request_sent() {
    let authority = Authority::new(IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    let server = Server::start(vec![leaf, authority.certificate.clone()], key, "");
    let error = server.get(&pinned(&authority)).expect_err("no answer");
    assert!(!nothing_was_sent(&error));
}

#[test]
fn body_over_limit_is_rejected_with_and_without_length() {
    const UNANNOUNCED: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
    let authority = Authority::new(IN_DATE);
    for answer in [HELLO, UNANNOUNCED] {
        let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
        let server = Server::start(vec![leaf, authority.certificate.clone()], key, answer);
        let trust = pinned(&authority);
        let read = |limit| read_body_blocking(server.get(&trust).expect("an answer"), limit);
        assert_eq!(read(5).expect("a body"), b"hello");
        assert!(matches!(read(4), Err(BodyError::TooLarge { limit: 4 })));
    }
}

#[test]
fn redirect_is_not_followed() {
    const REDIRECT: &str =
        "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let authority = Authority::new(IN_DATE);
    let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
    let server = Server::start(vec![leaf, authority.certificate.clone()], key, REDIRECT);
    assert_eq!(server.get(&pinned(&authority)).expect("an answer").status(), 302);
}

#[test]
fn text_without_certificates_has_no_authority() {
    for text in ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        assert_eq!(authorities_from_pem(text.as_bytes()), Err(NoAuthorities::NoCertificate), "{text}");
    }
}

/// The total timeout also covers headers and bodies that arrive one byte at a time.
#[test]
fn slow_response_is_aborted_at_total_timeout() {
    const DRIPS: usize = 60;
    let authority = Authority::new(IN_DATE);
    let limits = Limits { connect: BOUND, total: Duration::from_secs(1) };
    let client = blocking_client(&pinned(&authority), limits, false, Way::Direct).expect("a client");
    let body = format!("HTTP/1.1 200 OK\r\nContent-Length: {DRIPS}\r\nConnection: close\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nX: ".to_owned();
    for (at_once, end) in [(body, ""), (head, "\r\nContent-Length: 0\r\n\r\n")] {
        let (leaf, key) = authority.issue("127.0.0.1", IN_DATE);
        let chain = vec![leaf, authority.certificate.clone()];
        let server = Server::start_with(chain, key, move |stream| {
            stream.write_all(at_once.as_bytes())?;
            for _ in 0..DRIPS {
                stream.write_all(b"a")?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(100));
            }
            stream.write_all(end.as_bytes())
        });
        let sent = client.get(format!("https://127.0.0.1:{}/", server.port)).send();
        let is_given_up = match sent {
            Ok(answer) => read_body_blocking(answer, 1024).is_err(),
            Err(error) => error.is_timeout(),
        };
        assert!(is_given_up, "it was waited for the last byte");
    }
}
