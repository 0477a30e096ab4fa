//! Certificates from an ACME server: only for the daemon's own names, only once they resolve to it, and within a budget
//! of orders.

use std::time::{Duration, Instant};

use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::handshake::tls_handshake;
use infra_harness::wait;
use infra_peers::pebble::{Endpoint, ExternalAccount, Options};
use infra_peers::public_daemon::{NAME, PublicDaemon};
use infra_shared::http::pin_of_certificate;
use infra_shared::pin::Pin;
use serde_json::Value;

/// Longer than any step takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn own_name_gets_acme_certificate_and_others_the_daemon_ca() {
    let Some(public) = PublicDaemon::start(Options::default()) else { return };
    let root = public.pebble.root();
    let shown = public.presented_for(NAME);
    assert_eq!(shown.verify(&root, NAME), Ok(()));
    assert_eq!((shown.version.as_str(), shown.key_exchange.as_str()), ("TLSv1_3", "X25519MLKEM768"));
    assert_eq!(public.presented_for("INFRA.example.test").leaf(), shown.leaf());
    for name in ["127.0.0.1", "localhost", "other.example.test", "sub.infra.example.test"] {
        assert_eq!(authority_of(&public, name), Some(public.daemon.pin()), "{name}");
    }

    let status = public.status();
    assert_eq!(status["names"], serde_json::json!([NAME]));
    assert_eq!(
        (&status["failures"], &status["lastError"], &status["waitingFor"]),
        (&0.into(), &Value::Null, &Value::Null)
    );
    assert_eq!(status["daysLeft"], 89, "{status}");
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 1);
}

#[test]
fn acme_tls_is_refused_without_pending_challenge() {
    let Some(public) = PublicDaemon::start(Options::default()) else { return };
    let port = public.daemon.port();
    for name in [NAME, "127.0.0.1", "other.example.test"] {
        let refused = tls_handshake(port, name, &["acme-tls/1"]);
        assert!(refused.is_err(), "{name}: {refused:?}");
        let shown = tls_handshake(port, name, &["acme-tls/1", "http/1.1"]).expect("another protocol");
        assert_eq!(shown.protocol.as_deref(), Some("http/1.1"));
    }
    // The control: the ACME server's challenge was accepted.
    assert!(public.pebble.log().contains("VALID by completed challenge"), "{}", public.pebble.log());
}

#[test]
fn certificate_survives_restart_without_new_order() {
    let Some(mut public) = PublicDaemon::start(Options::default()) else { return };
    let before = public.presented_for(NAME);
    public.daemon.restart();
    assert_eq!(public.presented_for(NAME).leaf(), before.leaf());
    public.daemon.kill();
    public.daemon.start_again();
    assert_eq!(public.presented_for(NAME).leaf(), before.leaf());
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 1);
    assert_eq!(public.pebble.requests(Endpoint::NewAccount), 1);
}

#[test]
fn certificate_is_issued_despite_rejected_nonces() {
    let options = Options { refused_nonces: 50, ..Options::default() };
    let Some(public) = PublicDaemon::start(options) else { return };
    assert_eq!(public.presented_for(NAME).verify(&public.pebble.root(), NAME), Ok(()));
    assert_eq!(public.status()["lastError"], Value::Null);
}

#[test]
fn order_waits_until_name_resolves_to_daemon() {
    let Some(mut public) = PublicDaemon::prepare(Options::default(), "") else { return };
    public.daemon.start_again();
    let waiting = |public: &PublicDaemon| {
        let reported = wait::until(LIMIT, || public.status()["waitingFor"].as_str().map(str::to_owned));
        reported.unwrap_or_else(|| panic!("nothing is awaited\n{}", public.daemon.log()))
    };
    assert!(waiting(&public).contains(NAME), "{}", waiting(&public));
    assert_eq!(authority_of(&public, NAME), Some(public.daemon.pin()), "the own authority serves meanwhile");

    // The name resolves to another TLS server on the same port.
    let elsewhere = format!("127.0.0.9:{}", public.daemon.port());
    let other = Daemon::prepare(vec![ProviderEntry::of(&public.provider)], |configuration| {
        configuration.listen = elsewhere;
    });
    let mut other = other.infrad(["serve"]);
    other.wait_for("that it listens", |stdout, _| stdout.contains("listens on").then_some(()));
    public.set_address("127.0.0.9");
    public.retry_now();
    let meets_another = || waiting(&public).contains("another server").then_some(());
    assert!(wait::until(LIMIT, meets_another).is_some(), "{}", waiting(&public));
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 0);

    public.set_address("127.0.0.1");
    public.wait_for_certificate();
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 1);
    let answered = wait::until(LIMIT, || (public.status()["waitingFor"] == Value::Null).then_some(()));
    assert!(answered.is_some(), "{}", public.status());
}

#[test]
fn fifty_crashes_with_unreachable_challenge_make_three_orders() {
    let Some(mut public) = PublicDaemon::prepare(Options::default(), "selfCheck: false") else { return };
    // The ACME server connects to an address where nothing listens.
    public.set_address("127.0.0.9");
    for crash in 0..50 {
        public.daemon.start_again();
        let tried = wait::until(LIMIT, || {
            let status = public.status();
            (status["lastError"].is_string() || status["waitingFor"].is_string()).then_some(())
        });
        assert!(tried.is_some(), "crash {crash}: nothing was tried\n{}", public.daemon.log());
        public.daemon.kill();
    }
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 3, "{}", public.pebble.log());
    assert_eq!(public.pebble.requests(Endpoint::NewAccount), 1);
}

#[test]
fn unknown_names_cause_no_acme_request() {
    const NAMES: usize = 10_000;
    let Some(public) = PublicDaemon::start(Options::default()) else { return };
    // Excludes the directory, which the daemon polls for renewal information.
    let requests = || public.pebble.all_requests() - public.pebble.requests(Endpoint::Directory);
    let before = requests();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let port = public.daemon.port();
            scope.spawn(move || {
                for number in (worker..NAMES).step_by(4) {
                    let name = format!("name-{number}.example.test");
                    tls_handshake(port, &name, &["h2"]).unwrap_or_else(|error| panic!("{name}: {error}"));
                }
            });
        }
    });
    println!("{NAMES} handshakes took {:?}", begin.elapsed());
    public.retry_now();
    assert_eq!(public.status()["names"], serde_json::json!([NAME]));
    assert_eq!(requests(), before, "{}", public.pebble.log());
    assert!(public.pebble.requests(Endpoint::Directory) < 10, "{}", public.pebble.log());
}

#[test]
fn external_account_is_bound_only_with_its_own_key() {
    let external = ExternalAccount {
        key_id: "kid-1".to_owned(),
        hmac_key: "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W".to_owned(),
    };
    let options = Options { external_account: Some(external.clone()), ..Options::default() };
    let keys = tempfile::tempdir().expect("a directory");
    let key = private_file(keys.path(), "hmac", &"A".repeat(64));
    let binding = format!("externalAccountBinding: {{keyID: kid-1, hmacKey: \"file:{}\"}}", key.display());
    let Some(mut public) = PublicDaemon::prepare(options, &binding) else { return };
    public.set_address("127.0.0.1");
    public.daemon.start_again();
    let reported = wait::until(LIMIT, || public.status()["lastError"].as_str().map(str::to_owned));
    let reported =
        reported.unwrap_or_else(|| panic!("the wrong key is not reported\n{}", public.daemon.log()));
    assert!(reported.contains("external account"), "{reported}");
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), 0);

    // The daemon reads the right key without a restart.
    private_file(keys.path(), "hmac", &external.hmac_key);
    public.retry_now();
    public.wait_for_certificate();
    assert!(!public.daemon.complete_log().contains(&external.hmac_key));
}

#[test]
fn private_keys_and_chains_are_not_stored_in_plain_text() {
    let Some(mut public) = PublicDaemon::start(Options::default()) else { return };
    let shown = public.presented_for(NAME);
    let mut canaries = Canaries::default();
    canaries.add("certificate", shown.leaf());
    canaries.add("issuer", shown.chain.get(1).expect("a chain"));
    canaries.add("PEM", "-----BEGIN CERTIFICATE-----");
    canaries.add("PEM key", "-----BEGIN PRIVATE KEY-----");
    canaries.add("PKCS #8 key", PKCS8_OF_P256);
    // The control: the daemon holds them in memory.
    if let Some(found) = canaries.find_in_memory(public.daemon.process()) {
        assert!(found.iter().any(|name| name.contains("certificate")), "{found:?}");
    }
    let data = public.daemon.data_dir();
    assert_eq!(canaries.find_in_files(&data, &[]), Vec::<String>::new());
    public.daemon.stop();
    assert_eq!(canaries.find_in_files(&data, &[]), Vec::<String>::new());
    assert_eq!(canaries.find(public.daemon.complete_log().as_bytes()), Vec::<String>::new());
}

/// The first bytes of a P-256 private key in PKCS #8 (RFC 5958, RFC 5915).
const PKCS8_OF_P256: [u8; 27] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// Returns the pin of the CA at the end of the chain served for `name`.
fn authority_of(public: &PublicDaemon, name: &str) -> Option<Pin> {
    public.presented_for(name).chain.last().and_then(pin_of_certificate)
}

fn private_file(directory: &std::path::Path, name: &str, contents: &str) -> std::path::PathBuf {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = directory.join(name);
    let file = std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(contents.as_bytes())).expect("a file");
    path
}
