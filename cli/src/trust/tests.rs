//! Tests of server identity with real authorities and a server on loopback.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use infra_harness::authority::{Authority, Leaf};
use infra_harness::https::{Answer, Server};
use infra_shared::ca_rollover::{HEADER, Statement};
use infra_shared::clock::{Clock, SystemClock};
use rustls::pki_types::CertificateDer;
use serde_json::json;

use super::*;
use crate::home::Home;

const TERMINAL: Terminal =
    Terminal { interactive: false, is_terminal_output: false, quiet: true, verbose: 0 };

/// A server with its own authority.
struct Fixture {
    authority: Authority,
    origin: Origin,
    _server: Server,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new();
        let pin = authority.pin();
        let server = Server::start(authority.issue(), move |_| async move {
            let now = "2026-11-23T08:00:00Z";
            Answer::json(200, &json!({"version": "1", "now": now, "providers": [], "pins": [pin]}))
        });
        let origin = format!("https://127.0.0.1:{}", server.port()).parse().expect("an address");
        Self { authority, origin, _server: server }
    }

    fn pinned(&self) -> TrustRecord {
        TrustRecord::Pinned { pin: self.authority.pin() }
    }

    fn establish_trust(
        &self,
        trust_anchors: Vec<TrustRecord>,
        options: Option<TrustRecord>,
    ) -> Result<VerifiedServer, Failure> {
        establish_trust(&self.origin, trust_anchors, &[], given(options), TERMINAL)
    }
}

fn given(record: Option<TrustRecord>) -> TrustOptions {
    TrustOptions { record, sources: vec!["--fingerprint"] }
}

fn another() -> TrustRecord {
    TrustRecord::Pinned { pin: Pin::of_public_key(b"another") }
}

fn settings(fingerprint: Option<Pin>, ca_file: Option<&Path>) -> Settings {
    Settings {
        home: "/nowhere".into(),
        is_home_set: false,
        server: None,
        token: None,
        is_delegated: false,
        fingerprint,
        ca_file: ca_file.map(Path::to_owned),
        browser: None,
        path: None,
        has_desktop: false,
    }
}

fn pem(authority: &Authority) -> String {
    std::fs::read_to_string(authority.file()).expect("a file")
}

#[test]
fn fingerprint_is_found_alone_and_in_daemon_line() {
    let pin = Pin::of_public_key(b"a");
    assert_eq!(find_pin(&format!(" {pin}\n")), Ok(pin));
    assert_eq!(find_pin(&format!("infra login gate.test --fingerprint {pin}")), Ok(pin));
    assert_eq!(find_pin("infra login gate.test"), Err(MalformedPin::Other));
    assert_eq!(find_pin("yes"), Err(MalformedPin::Other));
    let digits = &pin.to_string()["sha256:".len()..];
    assert_eq!(find_pin(&format!("--fingerprint {digits}")), Err(MalformedPin::Unnamed));
}

#[test]
fn login_is_bound_to_pin_of_proved_server() {
    let origin: Origin = "gate.test".parse().expect("an origin");
    let (pin, other) = (Pin::of_public_key(b"a"), Pin::of_public_key(b"b"));
    let bound = |record: &TrustRecord, announced: &[Pin]| binding_pin(&origin, record, announced);
    assert_eq!(bound(&TrustRecord::System, &[]).expect("a public certificate"), None);
    assert_eq!(bound(&TrustRecord::Pinned { pin }, &[other]).expect("the pin"), Some(pin));
    let failure = bound(&TrustRecord::System, &[pin]).expect_err("an authority of its own");
    assert_eq!(failure.exit(), Exit::Untrusted);

    let authority = Authority::new();
    let of_file = TrustRecord::CaFile { certificates: pem(&authority), pin: None };
    assert_eq!(bound(&of_file, &[]).expect("a company's authority"), None);
    assert_eq!(bound(&of_file, &[other, authority.pin()]).expect("it is in the file"), Some(authority.pin()));
    assert_eq!(bound(&of_file, &[other]).expect_err("it is not in the file").exit(), Exit::Untrusted);
    let with_pin = TrustRecord::CaFile { certificates: pem(&authority), pin: Some(pin) };
    assert_eq!(bound(&with_pin, &[other]).expect("the pin"), Some(pin));
}

#[test]
fn trust_options_complete_the_environment_or_agree_with_it() {
    let (pin, other) = (Pin::of_public_key(b"a"), Pin::of_public_key(b"b"));
    let (ours, theirs) = (Authority::new(), Authority::new());
    let read = |fingerprint: Option<Pin>, ca_file: Option<&Authority>, settings: &Settings| {
        let proof = TrustArguments { fingerprint, ca_file: ca_file.map(Authority::file) };
        TrustOptions::read(&proof, settings).expect("some proof").record
    };
    let (nothing, environment) = (settings(None, None), settings(Some(other), None));
    assert_eq!(read(None, None, &nothing), None);
    assert_eq!(read(None, None, &environment), Some(TrustRecord::Pinned { pin: other }));
    assert_eq!(read(Some(other), None, &environment), Some(TrustRecord::Pinned { pin: other }));
    let contradicts = |fingerprint: Option<Pin>, ca_file: Option<&Authority>, settings: &Settings| {
        let proof = TrustArguments { fingerprint, ca_file: ca_file.map(Authority::file) };
        TrustOptions::read(&proof, settings).expect_err("a contradiction").exit() == Exit::Usage
    };
    assert!(contradicts(Some(pin), None, &environment));
    let file = theirs.file();
    let environment = settings(Some(other), Some(&file));
    let of = |authority: &Authority, pin: Pin| TrustRecord::CaFile {
        certificates: pem(authority),
        pin: Some(pin),
    };
    assert_eq!(read(None, None, &environment), Some(of(&theirs, other)));
    assert_eq!(read(Some(other), Some(&theirs), &environment), Some(of(&theirs, other)));
    assert_eq!(read(Some(pin), Some(&ours), &nothing), Some(of(&ours, pin)));
    assert!(contradicts(None, Some(&ours), &environment));
    let alone = TrustRecord::CaFile { certificates: pem(&ours), pin: None };
    assert_eq!(read(None, Some(&ours), &nothing), Some(alone));

    let of_environment = |origin: &str, environment: &Settings| {
        let origin = origin.parse().expect("an origin");
        TrustOptions::from_environment(&origin, environment).expect("some proof").record
    };
    assert_eq!(of_environment("a.test", &environment), Some(of(&theirs, other)));
    let for_a = Settings { server: Some("a.test".parse().expect("an origin")), ..environment };
    assert_eq!(of_environment("a.test", &for_a), Some(of(&theirs, other)));
    assert_eq!(of_environment("b.test", &for_a), None, "the variables belong to INFRA_SERVER");
    assert!(TrustOptions::default().is_empty());
    assert_eq!(TrustOptions::system().record, Some(TrustRecord::System));
}

#[test]
fn ca_file_needs_at_least_one_authority() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("authorities.pem");
    let authorities: Vec<Authority> = (0..10).map(|_| Authority::new()).collect();
    let text: String = authorities.iter().map(pem).collect();
    std::fs::write(&file, &text).expect("a file");
    assert_eq!(read_authorities(&file).expect("authorities"), text);

    let broken = text.replacen("MII", "", 1);
    for damage in ["", "no certificate", broken.as_str()] {
        std::fs::write(&file, damage).expect("a file");
        let failure = read_authorities(&file).expect_err("no authorities");
        assert_eq!(failure.exit(), Exit::Usage, "{damage}");
        assert!(format!("{failure:?}").contains("authorities.pem"), "{failure:?}");
    }
    assert_eq!(read_authorities(directory.path()).expect_err("a directory").exit(), Exit::Usage);
}

#[test]
fn leaf_in_a_ca_file_cannot_announce_a_rollover() {
    let announcing = Announcing::signed_by_the_leaf();
    let certificates = announcing.certificates.clone();
    let record = TrustRecord::CaFile { certificates, pin: None };
    assert_eq!(record.pins(), [announcing.authority.pin()], "the leaf is no authority");
    announcing.contact_as(record);
    assert_eq!(announcing.noted(), None, "the key of the leaf announced something");
}

#[test]
fn trust_option_that_contradicts_record_is_rejected() {
    let origin: Origin = "gate.test".parse().expect("an origin");
    let [known, former, other] =
        [b"a", b"b", b"c"].map(|key| TrustRecord::Pinned { pin: Pin::of_public_key(key) });
    let check = |known: Option<&TrustRecord>, options: Option<&TrustRecord>| {
        check_trust_options(&origin, known, std::slice::from_ref(&former), &given(options.cloned()))
    };
    for (known, options) in [
        (None, None),
        (None, Some(&other)),
        (Some(&known), None),
        (Some(&known), Some(&known)),
        // Scripts may pass the earlier record after an announced change.
        (Some(&known), Some(&former)),
    ] {
        check(known, options).unwrap_or_else(|failure| panic!("{options:?}: {failure:?}"));
    }
    for options in [&other, &TrustRecord::System] {
        assert_eq!(check(Some(&known), Some(options)).expect_err("another").exit(), Exit::Untrusted);
    }
}

#[test]
fn server_is_accepted_by_record_or_trust_option() {
    let fixture = Fixture::new();
    let certificates = pem(&fixture.authority);
    let of_file = TrustRecord::CaFile { certificates, pin: None };
    for (trust_anchors, options) in [
        (vec![fixture.pinned()], None),
        (vec![fixture.pinned()], Some(fixture.pinned())),
        (vec![fixture.pinned()], Some(of_file.clone())),
        (vec![], Some(fixture.pinned())),
        (vec![], Some(of_file)),
    ] {
        let expected = trust_anchors.first().or(options.as_ref()).cloned();
        let verified = fixture.establish_trust(trust_anchors, options).expect("the server");
        assert_eq!(Some(verified.connection.record()), expected.as_ref());
        assert!(!verified.connection.has_rolled_over());
        assert_eq!(verified.server.pins, [fixture.authority.pin()]);
    }
}

#[test]
fn server_that_proves_announced_record_has_moved() {
    let fixture = Fixture::new();
    let verified = fixture.establish_trust(vec![another(), fixture.pinned()], None).expect("the server");
    assert_eq!(verified.connection.record(), &fixture.pinned());
    assert!(verified.connection.has_rolled_over());
}

#[test]
fn unknown_server_is_rejected_without_terminal() {
    let fixture = Fixture::new();
    let failure = fixture.establish_trust(Vec::new(), None).expect_err("no authority vouches for it");
    assert_eq!(failure.exit(), Exit::Untrusted);
    let told = format!("{failure:?}");
    assert!(told.contains("is not known here") && told.contains("--fingerprint sha256:…"), "{told}");
}

#[test]
fn mismatch_shows_expected_and_received_fingerprint() {
    let fixture = Fixture::new();
    let failure = fixture.establish_trust(Vec::new(), Some(another())).expect_err("another fingerprint");
    assert_eq!(failure.exit(), Exit::Untrusted);
    let told = format!("{failure:?}");
    for pin in [Pin::of_public_key(b"another"), fixture.authority.pin()] {
        assert!(told.contains(&pin.to_string()), "{told}");
    }
}

#[test]
fn known_server_with_other_identity_is_rejected() {
    let fixture = Fixture::new();
    for trust_anchors in [vec![another()], vec![another(), TrustRecord::System], vec![TrustRecord::System]] {
        let failure = fixture.establish_trust(trust_anchors.clone(), None).expect_err("another identity");
        assert_eq!(failure.exit(), Exit::Untrusted, "{trust_anchors:?}");
        let told = format!("{failure:?}");
        assert!(
            told.contains("did not prove its identity") && told.contains("infra trust"),
            "{trust_anchors:?}: {told}"
        );
    }
    let record = TrustRecord::CaFile { certificates: "none".to_owned(), pin: None };
    assert_eq!(
        fixture.establish_trust(vec![record], None).expect_err("no server can match").exit(),
        Exit::Untrusted
    );
}

/// A server with an announcement, known to a home by `trust` and reached by its pin.
struct Announcing {
    authority: Authority,
    origin: Origin,
    asked: Arc<AtomicUsize>,
    home: Home,
    /// The server's chain in PEM.
    certificates: String,
    _directory: tempfile::TempDir,
    _server: Server,
}

impl Announcing {
    fn to_a_home_that_trusts(trust: impl FnOnce(Pin) -> TrustRecord) -> Self {
        let authority = Authority::new();
        let (trust, leaf) = (trust(authority.pin()), authority.issue());
        let signer = (authority.certificate(), authority.private_key());
        Self::start(authority, leaf, signer, trust)
    }

    /// The announcement is signed by the leaf's key, and the stored CA file contains the whole chain.
    fn signed_by_the_leaf() -> Self {
        let authority = Authority::new();
        let leaf = authority.issue();
        let signer = (leaf.chain.first().expect("a leaf").clone(), leaf.key.secret_der().to_vec());
        let trust = TrustRecord::CaFile { certificates: leaf.chain_pem.clone(), pin: None };
        Self::start(authority, leaf, signer, trust)
    }

    fn start(
        authority: Authority,
        leaf: Leaf,
        (certificate, key): (CertificateDer<'static>, Vec<u8>),
        trust: TrustRecord,
    ) -> Self {
        let asked = Arc::new(AtomicUsize::new(0));
        let (certificates, pin) = (leaf.chain_pem.clone(), authority.pin());
        let count = asked.clone();
        let server = Server::start(leaf, move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            let now = SystemClock.now();
            let statement = Statement {
                servers: vec![request.header("host").expect("a host").parse().expect("an origin")],
                public: Vec::new(),
                pin: Some(Pin::of_public_key(b"the next one")),
                sequence: 7,
                iat: now.as_second(),
                exp: now.as_second() + 3600,
            };
            let statement = statement.sign(&certificate, &key).expect("a P-256 key");
            let mut answer = Answer::json(
                200,
                &json!({"version": "1", "now": now, "providers": [], "pins": [pin], "caRollover": statement}),
            );
            answer.set_header(HEADER, "7");
            std::future::ready(answer)
        });
        let origin: Origin = format!("https://127.0.0.1:{}", server.port()).parse().expect("an address");
        let directory = tempfile::tempdir().expect("a directory");
        let home = Home::new(directory.path().join("infra"), TERMINAL);
        let entry = crate::home::Server {
            trust,
            provider: None,
            keyring: false,
            ca_rollover: None,
            previous_trust: Vec::new(),
        };
        home.update(|state| state.config.servers.insert(origin.clone(), entry)).expect("stored");
        Self { authority, origin, asked, home, certificates, _directory: directory, _server: server }
    }

    /// Contacts the server as known by `record` and stores its announcement. Returns the number of fetches.
    fn contact_as(&self, record: TrustRecord) -> usize {
        let before = self.asked.load(Ordering::Relaxed);
        let trust = infra_shared::http::Trust::Pinned { pin: self.authority.pin(), authorities: None };
        let client = DaemonClient::new(&self.origin, vec![trust]).expect("a client");
        let connection = Connection { client, trust_anchors: vec![record] };
        connection.client.server().expect("an answer");
        store_ca_rollover(&self.home, &self.origin, &connection, SystemClock.now(), TERMINAL)
            .expect("heeded");
        self.asked.load(Ordering::Relaxed) - before
    }

    fn noted(&self) -> Option<u64> {
        let state = self.home.read().expect("files");
        let server = state.config.servers.get(&self.origin).expect("it is known");
        server.ca_rollover.map(|announced| announced.sequence)
    }
}

#[test]
fn announcement_is_fetched_once_per_number() {
    let announcing = Announcing::to_a_home_that_trusts(|pin| TrustRecord::Pinned { pin });
    let record = || TrustRecord::Pinned { pin: announcing.authority.pin() };
    assert_eq!((announcing.contact_as(record()), announcing.noted()), (2, Some(7)));
    assert_eq!((announcing.contact_as(record()), announcing.noted()), (1, Some(7)));
}

#[test]
fn announcement_is_ignored_without_own_authority() {
    let announcing = Announcing::to_a_home_that_trusts(|_| TrustRecord::System);
    assert_eq!((announcing.contact_as(TrustRecord::System), announcing.noted()), (1, None));
}

#[test]
fn announcement_is_ignored_after_trust_changed() {
    let announcing = Announcing::to_a_home_that_trusts(|_| another());
    let record = TrustRecord::Pinned { pin: announcing.authority.pin() };
    assert_eq!((announcing.contact_as(record), announcing.noted()), (1, None));
}
