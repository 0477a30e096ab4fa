//! What TLS scanners report about the daemon, for each source of certificates, and again after a reload.

use std::path::{Path, PathBuf};

use infra_harness::authority::{Authority, Leaf};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::handshake::tls_handshake;
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::pebble::Options;
use infra_peers::public_daemon::{NAME, PublicDaemon, retry_now};
use infra_peers::scanners::{find_with_sslyze, find_with_testssl};

/// A daemon, the name to scan it under, and the CA that issued its certificate.
struct Scanned {
    daemon: Daemon,
    name: &'static str,
    authority: PathBuf,
    /// Kept alive with the daemon.
    _provider: Provider,
    _rest: Option<Box<dyn std::any::Any>>,
}

fn with_its_own_authority() -> Scanned {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let printed = daemon.infrad(["ca", "print"]).wait().expect(0);
    let authority = daemon.directory().join("authority.pem");
    std::fs::write(&authority, printed.stdout).expect("a file");
    Scanned { daemon, name: "127.0.0.1", authority, _provider: provider, _rest: None }
}

fn with_its_operators_files() -> Scanned {
    let (provider, authority) = (Provider::start(), Authority::new());
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    write(&daemon, &authority.issue_like_public_ca(&[NAME]));
    let (certificate, key) = files(&daemon);
    let tls = format!(
        "tls: {{files: {{certificate: {}, privateKey: {}}}}}\n",
        certificate.display(),
        key.display()
    );
    let url = format!("https://{NAME}:{}", daemon.port());
    daemon.change(|configuration| {
        configuration.public_urls = vec![url];
        configuration.more = tls;
    });
    daemon.start_again();
    let file = authority.file();
    Scanned { daemon, name: NAME, authority: file, _provider: provider, _rest: Some(Box::new(authority)) }
}

fn with_a_public_authority() -> Option<Scanned> {
    let PublicDaemon { daemon, provider, pebble, view } = PublicDaemon::start(Options::default())?;
    let authority = daemon.directory().join("root.pem");
    std::fs::write(&authority, pebble.root()).expect("a file");
    Some(Scanned {
        daemon,
        name: NAME,
        authority,
        _provider: provider,
        _rest: Some(Box::new((pebble, view))),
    })
}

#[test]
fn sslyze_rates_daemon_ca_modern() {
    let scanned = with_its_own_authority();
    assert_modern(&scanned, &scanned.authority);
}

#[test]
fn sslyze_rates_certificate_files_modern_after_reload() {
    let scanned = with_its_operators_files();
    assert_modern(&scanned, &scanned.authority);
    let authority = reload(&scanned);
    assert_modern(&scanned, &authority.file());
}

#[test]
fn sslyze_rates_acme_certificate_modern() {
    let Some(scanned) = with_a_public_authority() else { return };
    let found = find_with_sslyze(scanned.daemon.port(), scanned.name, &scanned.authority);
    // Pebble always signs with RSA.
    let expected_finding = "certificate_signatures: Deployed certificate signatures are {'sha256WithRSAEncryption'}, should have \
                     at least one of ";
    let found: Vec<String> =
        found.unwrap_or_default().into_iter().filter(|found| !found.starts_with(expected_finding)).collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
#[ignore = "a scan takes half a minute or more: `tests/soak/run`"]
fn testssl_finds_nothing_grave_with_daemon_ca() {
    let scanned = with_its_own_authority();
    let found = find_with_testssl(scanned.daemon.port(), scanned.name, &scanned.authority);
    // Clients pin this CA and follow its rollover. It has no place to publish revocations.
    let unavoidable = "cert_revocation: Neither CRL nor OCSP URI provided";
    assert!(found.is_none_or(|found| found == [unavoidable]));
}

#[test]
#[ignore = "a scan takes half a minute or more: `tests/soak/run`"]
fn testssl_finds_nothing_grave_with_files_after_reload() {
    let scanned = with_its_operators_files();
    assert_nothing_grave(&scanned, &scanned.authority);
    let authority = reload(&scanned);
    assert_nothing_grave(&scanned, &authority.file());
}

#[test]
#[ignore = "a scan takes half a minute or more: `tests/soak/run`"]
fn testssl_finds_nothing_grave_with_acme_certificate() {
    let Some(scanned) = with_a_public_authority() else { return };
    assert_nothing_grave(&scanned, &scanned.authority);
}

#[track_caller]
fn assert_modern(scanned: &Scanned, authority: &Path) {
    let found = find_with_sslyze(scanned.daemon.port(), scanned.name, authority);
    assert_eq!(found.unwrap_or_default(), Vec::<String>::new());
}

#[track_caller]
fn assert_nothing_grave(scanned: &Scanned, authority: &Path) {
    let found = find_with_testssl(scanned.daemon.port(), scanned.name, authority);
    assert_eq!(found.unwrap_or_default(), Vec::<String>::new());
}

/// Installs a certificate of another CA, and waits until the daemon serves it.
fn reload(scanned: &Scanned) -> Authority {
    let authority = Authority::new();
    let leaf = authority.issue_like_public_ca(&[NAME]);
    write(&scanned.daemon, &leaf);
    retry_now(&scanned.daemon);
    let is_shown = || {
        let shown = tls_handshake(scanned.daemon.port(), NAME, &["h2"]).expect("a handshake");
        (shown.chain.first() == leaf.chain.first()).then_some(())
    };
    let shown = wait::until(std::time::Duration::from_mins(1), is_shown);
    assert!(shown.is_some(), "the files were not read again\n{}", scanned.daemon.log());
    authority
}

fn write(daemon: &Daemon, leaf: &Leaf) {
    let (certificate, key) = files(daemon);
    std::fs::write(certificate, &leaf.chain_pem).expect("a chain");
    infra_harness::services::write_private(&key, &leaf.key_pem);
}

fn files(daemon: &Daemon) -> (PathBuf, PathBuf) {
    (daemon.directory().join("tls.crt"), daemon.directory().join("tls.key"))
}
