//! HTTPS as operators see it: certificate files replaced at run time, plain HTTP, TLS versions, the CA.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use infra_harness::authority::{Authority, Leaf};
use infra_harness::daemon::Daemon;
use infra_harness::documents::repository;
use infra_harness::ports::Ports;
use infra_harness::provider::Provider;
use infra_harness::services::write_private;
use infra_harness::wait;
use infra_shared::http::{Limits, Trust, Way, authorities_from_pem, blocking_client};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;

const BOUND: Duration = Duration::from_mins(1);

fn with_files(provider: &Provider, leaf: &Leaf, more: &str) -> Daemon {
    let mut daemon = Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(provider)], |_| {});
    replace(&daemon, leaf);
    let (certificate, key) = (daemon.directory().join("tls.crt"), daemon.directory().join("tls.key"));
    daemon.change(|configuration| {
        configuration.more = format!(
            "tls: {{files: {{certificate: {}, privateKey: {}}}}}\n{more}",
            certificate.display(),
            key.display()
        );
    });
    daemon.start_again();
    daemon
}

fn replace(daemon: &Daemon, leaf: &Leaf) {
    std::fs::write(daemon.directory().join("tls.crt"), &leaf.chain_pem).expect("written");
    write_private(&daemon.directory().join("tls.key"), &leaf.key_pem);
}

/// Returns the certificate that a client sees that trusts `authority`.
fn shown(daemon: &Daemon, authority: &Authority) -> Option<Vec<u8>> {
    handshake(daemon, authority, &[&TLS13]).ok()
}

fn handshake(
    daemon: &Daemon,
    authority: &Authority,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<Vec<u8>, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions that are spoken")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut socket = TcpStream::connect(("127.0.0.1", daemon.port()))?;
    socket.set_read_timeout(Some(BOUND))?;
    while client.is_handshaking() {
        client.complete_io(&mut socket)?;
    }
    let certificates = client.peer_certificates().expect("a handshake with a certificate");
    Ok(certificates.first().expect("a certificate").to_vec())
}

fn reload(daemon: &Daemon) {
    let process = Pid::from_raw(i32::try_from(daemon.process()).expect("a process id")).expect("a process");
    kill_process(process, Signal::HUP).expect("the daemon runs");
}

fn status(daemon: &Daemon) -> Value {
    let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
    status.pointer("/certificates/0").expect("a certificate").clone()
}

#[test]
fn changed_files_are_reloaded_and_broken_ones_reported() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let ports = Ports::reserve(1);
    let address = format!("127.0.0.1:{}", ports.all()[0]);
    let first = authority.issue();
    let daemon = with_files(&provider, &first, &format!("metrics: {{listen: \"{address}\"}}\n"));
    assert_eq!(shown(&daemon, &authority).as_deref(), Some(first.chain[0].as_ref()));
    assert_eq!(status(&daemon)["source"], "files");

    // The daemon notices changed files automatically.
    let second = authority.issue();
    replace(&daemon, &second);
    let is_second =
        || (shown(&daemon, &authority).as_deref() == Some(second.chain[0].as_ref())).then_some(());
    assert!(wait::until(BOUND, is_second).is_some(), "{}", daemon.log());

    // SIGHUP makes the daemon read them immediately.
    let third = authority.issue();
    replace(&daemon, &third);
    reload(&daemon);
    let is_third = || (shown(&daemon, &authority).as_deref() == Some(third.chain[0].as_ref())).then_some(());
    assert!(wait::until(BOUND, is_third).is_some(), "{}", daemon.log());

    write_private(&daemon.directory().join("tls.key"), &first.key_pem);
    reload(&daemon);
    let is_reported = || status(&daemon)["lastError"].as_str().map(ToOwned::to_owned);
    let message = wait::until(BOUND, is_reported).unwrap_or_else(|| panic!("{}", daemon.log()));
    assert!(message.contains("the private key does not belong to the certificate"), "{message}");
    assert_eq!(shown(&daemon, &authority).as_deref(), Some(third.chain[0].as_ref()), "it keeps serving");
    let metrics = plain_request(&address, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(metrics.contains("infrad_certificate_renewal_failing{source=\"files\"} 1"), "{metrics}");
    assert!(metrics.contains("infrad_certificate_renewal_failing{source=\"daemon_ca\"} 0"), "{metrics}");
    assert!(metrics.contains("infrad_certificate_renewal_pending{source=\"files\"} 0"), "{metrics}");
    assert!(metrics.contains("infrad_certificate_expiry_timestamp_seconds{source=\"files\"} "), "{metrics}");
    let text = daemon.infrad(["status"]).wait().expect(0).stdout;
    assert!(
        text.contains("certificate   from files, valid until")
            && text.contains("failed 1 time since the start"),
        "{text}"
    );
    assert!(!daemon.complete_log().contains("PRIVATE KEY"));
}

#[test]
fn broken_files_fail_check_and_start() {
    let (provider, authority, other) = (Provider::start(), Authority::new(), Authority::new());
    let mut daemon = with_files(&provider, &authority.issue(), "");
    daemon.stop();
    daemon.infrad(["check"]).wait().expect(0);
    write_private(&daemon.directory().join("tls.key"), &other.issue().key_pem);
    rejects_files(
        &daemon,
        &["does not belong to the certificate", "tls.crt", "try: replace both files together"],
    );
    replace(&daemon, &authority.issue_expired());
    rejects_files(
        &daemon,
        &["the certificate expired on 20", " UTC\n", "try: replace both files with a renewed certificate"],
    );
    replace(&daemon, &authority.issue_like_public_ca(&["other.test"]));
    rejects_files(
        &daemon,
        &["is not for 127.0.0.1: it names other.test", "try: use a certificate for the first entry"],
    );
}

/// One check fails, and the others are reported all the same.
#[track_caller]
fn rejects_files(daemon: &Daemon, words: &[&str]) {
    for arguments in [&["check"][..], &["check", "--live"]] {
        let checked = daemon.infrad_slice_with_input(arguments, "").wait().expect(1).stdout;
        for words in ["failed   https: certificate ", "root key"].iter().chain(words) {
            assert!(checked.contains(words), "{arguments:?}, {words}: {checked}");
        }
        assert_eq!(checked.matches("failed ").count(), 1, "{checked}");
    }
    let refused = daemon.infrad(["serve"]).wait().expect(1);
    // The error takes lines of its own.
    for words in ["the daemon cannot start"].iter().chain(words) {
        assert!(refused.stderr.contains(words.trim_end()), "{words}: {refused}");
    }
}

#[test]
fn certificate_that_expires_soon_degrades_status() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let daemon = with_files(&provider, &authority.issue_with_days_left(16), "");
    let state = |daemon: &Daemon| daemon.infrad(["status"]).wait().expect(0).stdout;
    assert!(state(&daemon).starts_with("state         ready\n"), "{}", state(&daemon));
    let checked = daemon.infrad(["check"]).wait().expect(0);
    assert!(!checked.stderr.contains("expires on"), "{checked}");

    replace(&daemon, &authority.issue_with_days_left(2));
    reload(&daemon);
    let is_degraded = || {
        Some(state(&daemon)).filter(|it| it.contains("degraded: the certificate from files expires on 20"))
    };
    let shown = wait::until(BOUND, is_degraded).unwrap_or_else(|| panic!("{}", state(&daemon)));
    assert!(shown.contains("replace the files in `tls.files`"), "{shown}");
    for arguments in [&["check"][..], &["check", "--live"]] {
        let checked = daemon.infrad_slice_with_input(arguments, "").wait();
        assert!(
            checked.stderr.contains("warning: the certificate in ")
                && checked.stderr.contains("expires on 20"),
            "{checked}"
        );
        assert!(!checked.stdout.contains("failed   https"), "{checked}");
    }
}

/// `infrad status`, `infrad check` and the alert say so from the same day on.
#[test]
fn alert_has_the_threshold_of_status() {
    let rules = std::fs::read_to_string(repository().join("docs/monitoring/rules.yaml")).expect("the rules");
    let (_, alert) = rules.split_once("- alert: InfradCertificateExpiring\n").expect("the alert");
    let expression =
        alert.lines().find(|line| line.trim_start().starts_with("expr: ")).expect("its expression");
    // As in `daemon/src/tls/validity.rs`, whose own test has the same numbers.
    for words in ["infrad_certificate_issue_timestamp_seconds) / 6 and", "< 14 * 86400"] {
        assert!(expression.contains(words), "{expression}");
    }
}

#[test]
fn tls_key_readable_by_others_is_refused() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let mut daemon = with_files(&provider, &authority.issue(), "");
    daemon.stop();
    let key = daemon.directory().join("tls.key");
    let mode = |mode| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("a mode");
    mode(0o644);
    let message = format!("other users can read this private key: run `chmod 640 {}`", key.display());
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    assert!(checked.contains(&message), "{checked}");
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&["the daemon cannot start", &message]);
    // A group on the host may read the key.
    mode(0o640);
    daemon.infrad(["check"]).wait().expect(0);
    daemon.start_again();

    // At run time, the daemon keeps serving the previous certificate.
    replace(&daemon, &authority.issue());
    mode(0o644);
    reload(&daemon);
    let is_reported = || status(&daemon)["lastError"].as_str().map(ToOwned::to_owned);
    let message = wait::until(BOUND, is_reported).unwrap_or_else(|| panic!("{}", daemon.log()));
    assert!(message.contains("other users can read"), "{message}");
}

#[test]
fn renewal_without_acme_reports_nothing_to_renew() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let own = Daemon::start(&provider);
    own.infrad(["certificate", "renew"])
        .wait()
        .expect(0)
        .stderr_contains(&["issuing a new certificate from the daemon's own CA"]);
    let files = with_files(&provider, &authority.issue(), "");
    let ran = files.infrad(["certificate", "renew"]).wait().expect(2).stdout_is_empty();
    ran.stderr_contains(&["there is nothing to renew", "the files in `tls.files`"]);
}

#[test]
fn tls_1_2_is_accepted_only_if_configured() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let mut daemon = with_files(&provider, &authority.issue(), "");
    handshake(&daemon, &authority, &[&TLS12]).expect_err("TLS 1.3 alone");
    daemon.stop();
    daemon.change(|configuration| {
        configuration.more = configuration.more.replace("tls: {", "tls: {minVersion: \"1.2\", ");
    });
    daemon.start_again();
    handshake(&daemon, &authority, &[&TLS12]).expect("TLS 1.2");
    handshake(&daemon, &authority, &[&TLS13]).expect("TLS 1.3");
}

#[test]
fn plain_http_only_redirects_to_https() {
    let provider = Provider::start();
    let ports = Ports::reserve(1);
    let address = format!("127.0.0.1:{}", ports.all()[0]);
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.more = format!("tls: {{redirectHTTP: \"{address}\"}}\n");
    });
    for request in [
        "GET /v1/server?token=canary-9d1 HTTP/1.1\r\nHost: evil.test\r\n",
        "POST /v1/logins HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 0\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n",
    ] {
        let answer = plain_request(&address, &format!("{request}Connection: close\r\n\r\n"));
        let location = format!("location: {}/", daemon.origin());
        assert!(answer.starts_with("HTTP/1.1 308 ") && answer.contains(&location), "{answer}");
        for unwanted in ["canary", "evil", "strict-transport-security", "providers"] {
            assert!(!answer.contains(unwanted), "{unwanted}: {answer}");
        }
    }
    let answer = daemon.api().get("/v1/server");
    assert_eq!(answer.headers["strict-transport-security"], "max-age=63072000");
    let log = daemon.complete_log();
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn printed_ca_verifies_daemon_whether_it_runs_or_not() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let running = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
    let client = |pem: &str| {
        let trust = Trust::Authorities(authorities_from_pem(pem.as_bytes()).expect("PEM"));
        blocking_client(&trust, Limits { connect: BOUND, total: BOUND }, false, Way::Direct)
            .expect("a client")
    };
    let is_verified =
        |pem: &str, daemon: &Daemon| client(pem).get(format!("{}/healthz", daemon.origin())).send().is_ok();
    assert!(is_verified(&running, &daemon));
    daemon.infrad(["ca", "print", "--next"]).wait().expect(1).stderr_contains(&["infrad ca rotate"]);

    daemon.stop();
    assert_eq!(daemon.infrad(["ca", "print"]).wait().expect(0).stdout, running);
    let message = daemon.infrad(["ca", "rotate", "--overlap", "0s"]).wait().expect(0).stderr;
    let after = daemon.infrad(["ca", "print"]).wait().expect(0).stdout;
    assert_ne!(after, running);
    daemon.start_again();
    assert!(message.contains(&daemon.fingerprint()), "{message}");
    assert!(is_verified(&after, &daemon) && !is_verified(&running, &daemon));
    daemon.infrad(["ca", "rotate", "--overlap", "2y"]).wait().expect(2);
    daemon.infrad(["ca", "rotate"]).wait().expect(0);
    let next = daemon.infrad(["ca", "print", "--next"]).wait().expect(0).stdout;
    daemon.infrad(["ca", "rotate"]).wait().expect(1).stderr_contains(&["is already announced"]);
    assert_eq!(daemon.infrad(["ca", "print", "--next"]).wait().expect(0).stdout, next);
    daemon.infrad(["ca", "rotate", "--replace"]).wait().expect(0);
    assert_ne!(daemon.infrad(["ca", "print", "--next"]).wait().expect(0).stdout, next);
}

#[test]
fn certificate_is_renewed_on_demand() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let daemon = Daemon::start(&provider);
    let before = status(&daemon)["expiresAt"].clone();
    // Expiry times in certificates have whole seconds.
    let is_later = || {
        let text = daemon.infrad(["certificate", "renew"]).wait().expect(0).stdout;
        assert!(text.starts_with("certificate   of the daemon's own CA, valid until"), "{text}");
        (status(&daemon)["expiresAt"] != before).then_some(())
    };
    assert!(wait::until(BOUND, is_later).is_some());
    assert!(daemon.infrad(["fingerprint"]).wait().expect(0).stdout.contains(&daemon.fingerprint()));
    assert!(shown(&daemon, &authority).is_none());
}

#[test]
fn every_configuration_on_https_page_is_accepted() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/https.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(&provider)], |_| {});
    let authority = Authority::new();
    replace(&daemon, &authority.issue());
    let directory = daemon.directory().display().to_string();
    let mut accepted = 0;
    for block in page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        let block = block.replace("/etc/infra/tls.", &format!("{directory}/tls."));
        daemon.change(|configuration| {
            if block.starts_with("version:") {
                configuration.verbatim = Some(block.clone());
            } else {
                (configuration.verbatim, configuration.more) = (None, block.clone());
            }
        });
        // Whether this machine has its files does not matter here.
        let checked = daemon.infrad(["check"]).wait();
        assert!(checked.stdout.contains("configuration is valid"), "{checked}");
        accepted += 1;
    }
    assert_eq!(accepted, 2);
}

/// Sends `request` over plain HTTP and returns the answer.
fn plain_request(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(BOUND)).expect("a limit");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer to the end");
    answer
}
