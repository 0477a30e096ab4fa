//! Proxies and CAs of organizations: every command respects `HTTPS_PROXY` and `NO_PROXY`, and trust is the
//! same with and without a proxy.
//!
//! Only the proxy can resolve the server's name.

use infra_harness::authority::Authority;
use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Server};
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::login;
use infra_harness::program::{Call, Ran, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::proxy::{Proxy, ProxyMode};
use serde_json::json;

const NAME: &str = "infra.test";
const PASSWORD: &str = "canary-of-the-proxy";

/// Alice in an organization: her machine cannot resolve the daemon's name.
struct Organisation {
    provider: Provider,
    daemon: Daemon,
    alice: User,
}

impl Organisation {
    fn new() -> Self {
        let provider = Provider::start();
        let daemon = Daemon::start_with(&provider, |configuration| {
            let local = configuration.public_urls.first().expect("its own address").clone();
            configuration.public_urls.push(local.replace("127.0.0.1", NAME));
        });
        Self { provider, daemon, alice: User::new() }
    }

    fn server(&self) -> String {
        format!("{NAME}:{}", self.daemon.port())
    }

    fn infra(&self, words: &[&str], environment: &[(&str, &str)]) -> Ran {
        environment.iter().fold(self.alice.infra(words), |call, (name, value)| call.env(name, value)).run()
    }

    /// `infra login` at the name, through a browser that signs in.
    fn login(&self, environment: &[(&str, &str)]) -> Ran {
        let (server, fingerprint) = (self.server(), self.daemon.fingerprint());
        let browser = RecordingBrowser::signing_in("alice", &[self.provider.authority_file()]);
        let words = ["login", &server, "--fingerprint", &fingerprint, "--no-keyring"];
        let call = self.alice.infra(words).browser(&browser);
        environment.iter().fold(call, |call, (name, value)| call.env(name, value)).run()
    }

    /// `infra login` through a proxy with this behaviour, which must fail.
    #[track_caller]
    fn fails_at(&self, value: &str, code: i32) -> Ran {
        let ran = self.login(&[("HTTPS_PROXY", value)]).expect(code).stdout_is_empty();
        assert!(
            ran.stderr.contains("\n  because: ") && ran.stderr.contains("\n  try: "),
            "not in three parts\n{ran}"
        );
        ran
    }
}

#[test]
fn proxy_sees_only_ciphertext_of_every_command() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Tunnel));
    let (address, authorities) = (proxy.address(), organisation.provider.authority_file());
    // The CA variable is for the doctor, which also connects to the provider.
    let environment =
        [("HTTPS_PROXY", address.as_str()), ("SSL_CERT_FILE", authorities.to_str().expect("a path"))];
    // Control: without the proxy, the server is unreachable.
    organisation.login(&[]).expect(4).stdout_is_empty();
    organisation.login(&environment).expect(0);
    organisation.infra(&["status"], &[]).expect(4);
    let token = organisation.infra(&["token"], &[]).expect(0).stdout;
    let mut before = proxy.targets().len();
    assert!(before > 0);
    let (server, fingerprint) = (organisation.server(), organisation.daemon.fingerprint());
    for (words, code) in [
        (&["status"][..], 0),
        (&["status", "--all", "--json"], 0),
        (&["token", "--min-left", "6h"], 2),
        (&["login"], 0),
        (&["trust", &server, "--fingerprint", &fingerprint], 0),
        (&["doctor"], 0),
        (&["logout"], 0),
    ] {
        organisation.infra(words, &environment).expect(code);
        assert!(proxy.targets().len() > before, "{words:?} went another way");
        before = proxy.targets().len();
    }
    assert!(proxy.targets().iter().all(|target| *target == server), "{:?}", proxy.targets());
    let mut canaries = Canaries::default();
    canaries.add("token", token.trim_end());
    canaries.add("e-mail", "alice@example.test");
    canaries.add("path", "/v1/session?use=false");
    assert_eq!(canaries.find(&proxy.bytes()), Vec::<String>::new());
    assert!(proxy.bytes().len() > 10_000, "nothing went through");
}

#[test]
fn proxy_variables_apply_in_both_cases_before_all_proxy() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Tunnel));
    let address = proxy.address();
    let (host_and_port, with_slash) = (address.replace("http://", ""), format!("{address}/"));
    organisation.login(&[("https_proxy", &address)]).expect(0);
    for environment in [
        &[("HTTPS_PROXY", address.as_str())][..],
        &[("ALL_PROXY", &address)],
        &[("all_proxy", &address)],
        &[("https_proxy", &host_and_port)],
        &[("https_proxy", &with_slash)],
        &[("HTTPS_PROXY", &address), ("ALL_PROXY", "http://127.0.0.1:1")],
        &[("HTTPS_PROXY", &address), ("NO_PROXY", "example.test, .other.test,fra.test,127.0.0.1")],
    ] {
        let before = proxy.targets().len();
        organisation.infra(&["status"], environment).expect(0);
        assert!(proxy.targets().len() > before, "{environment:?}");
    }
    let before = proxy.targets().len();
    for (name, value) in [
        ("NO_PROXY", NAME),
        ("no_proxy", NAME),
        ("NO_PROXY", "a.test, .test"),
        ("no_proxy", "test"),
        ("NO_PROXY", "*"),
    ] {
        // Without the proxy, the server is unreachable.
        organisation.infra(&["status"], &[("HTTPS_PROXY", &address), (name, value)]).expect(4);
    }
    // These variables only apply to plain HTTP.
    organisation.infra(&["status"], &[("HTTP_PROXY", &address), ("http_proxy", &address)]).expect(4);
    assert_eq!(proxy.targets().len(), before, "what was exempt went through the proxy");
}

/// Tests each list with curl and with `infra`: both must use the proxy, or both must bypass it.
#[test]
fn no_proxy_is_parsed_like_curl() {
    let (organisation, open) = (Organisation::new(), Proxy::start(ProxyMode::Tunnel));
    organisation.login(&[("HTTPS_PROXY", &open.address())]).expect(0);
    let proxy = Proxy::start(ProxyMode::Reject);
    let (address, server) = (proxy.address(), organisation.server());
    let with_port = server.clone();
    let mut ways = Vec::new();
    for list in [
        NAME,
        "test",
        ".test",
        "INFRA.Test",
        "infra.test.",
        ".infra.test",
        "fra.test",
        "other.test infra.test",
        "other.test,  infra.test",
        "other.test\tinfra.test,",
        "*",
        "localhost,*",
        "*.test",
        "inf*.test",
        "https://infra.test",
        &with_port,
        "127.0.0.0/8",
    ] {
        let before = proxy.targets().len();
        let mut curl = std::process::Command::new("curl");
        curl.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HTTPS_PROXY", &address);
        curl.env("NO_PROXY", list).args(["--silent", "--max-time", "10", &format!("https://{server}/")]);
        if curl.status().is_err() {
            return infra_harness::skip::report("curl is not installed");
        }
        let of_curl = proxy.targets().len() > before;
        let before = proxy.targets().len();
        organisation.infra(&["status"], &[("HTTPS_PROXY", &address), ("NO_PROXY", list)]).expect(4);
        let of_infra = proxy.targets().len() > before;
        assert_eq!(of_infra, of_curl, "NO_PROXY={list:?}: through the proxy?");
        ways.push(of_infra);
    }
    assert!(ways.contains(&true) && ways.contains(&false), "{ways:?}");
}

#[test]
fn doctor_names_no_proxy_entries_that_match_nothing() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Tunnel));
    let doctor = |list: &str| {
        let environment = [("HTTPS_PROXY", proxy.address()), ("NO_PROXY", list.to_owned())];
        let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
        organisation.infra(&["doctor", &organisation.server()], &environment)
    };
    let ran = doctor("localhost, *.test,infra.test:443").expect(1);
    for words in ["entries of NO_PROXY: `*.test`, `infra.test:443`", "try: write names without port"] {
        assert!(ran.stdout.contains(words), "it does not say {words:?}\n{ran}");
    }
    let ran = doctor("localhost .corp.test,10.0.0.0/8");
    assert!(!ran.stdout.contains("NO_PROXY"), "{ran}");
}

#[test]
fn pin_is_checked_through_a_proxy() {
    let organisation = Organisation::new();
    let (impostor, honest) =
        (Impostor::start(Disguise::OtherAuthority, &Authority::new()), Proxy::start(ProxyMode::Tunnel));
    organisation.login(&[("HTTPS_PROXY", &honest.address())]).expect(0);
    let port = impostor.origin().rsplit_once(':').expect("a port").1.parse().expect("a number");
    let proxy = Proxy::start(ProxyMode::ConnectTo(port));
    let address = proxy.address();
    for words in [&["status"][..], &["login", "--force"]] {
        let ran = organisation.infra(words, &[("HTTPS_PROXY", &address)]).expect(5);
        assert!(ran.stderr.contains("did not prove its identity"), "{ran}");
    }
    organisation.infra(&["logout"], &[("HTTPS_PROXY", &address)]).expect(7);
    assert!(impostor.connections() > 0);
    assert_eq!(impostor.received(), 0, "{:?}", impostor.in_the_clear());
}

#[test]
fn proxy_credentials_are_sent_but_never_shown() {
    let (organisation, proxy) =
        (Organisation::new(), Proxy::start(ProxyMode::RequireCredentials("alice:canary-of-the-proxy")));
    let address = proxy.address();
    let ran = organisation.fails_at(&address, 4);
    assert_stderr_contains(
        &ran,
        &[&format!("the proxy {address} requires credentials (407)"), "USER:PASSWORD"],
    );
    let wrong = format!("http://alice:x{PASSWORD}@127.0.0.1:{}", proxy.port());
    let ran = organisation.fails_at(&wrong, 4);
    assert_stderr_contains(&ran, &[&format!("the proxy {address} rejected the credentials")]);

    let right = format!("http://alice:{PASSWORD}@127.0.0.1:{}", proxy.port());
    let mut said = vec![ran, organisation.login(&[("HTTPS_PROXY", &right)]).expect(0)];
    let doctor = organisation.infra(&["doctor", "-vv"], &[("HTTPS_PROXY", &right)]);
    assert!(doctor.stdout.contains(&format!("used: {address}")), "{doctor}");
    said.push(doctor);
    for (value, code) in [(&right, 0), (&wrong, 4)] {
        for words in [&["status", "-vv"][..], &["status", "--json"]] {
            said.push(organisation.infra(words, &[("HTTPS_PROXY", value)]).expect(code));
        }
    }
    said.push(organisation.infra(&["logout", "-vv"], &[("HTTPS_PROXY", &wrong)]).expect(7));
    let mut canaries = Canaries::default();
    canaries.add("password", PASSWORD);
    for ran in said {
        assert_eq!(canaries.find(ran.to_string().as_bytes()), Vec::<String>::new(), "{ran}");
    }
}

#[test]
fn failing_proxy_is_named() {
    let organisation = Organisation::new();
    let refuses = Proxy::start(ProxyMode::Reject);
    assert_stderr_contains(
        &organisation.fails_at(&refuses.address(), 4),
        &[&format!("the proxy {} refused to connect", refuses.address())],
    );
    let closes = Proxy::start(ProxyMode::Close);
    assert_stderr_contains(
        &organisation.fails_at(&closes.address(), 4),
        &[&closes.address(), "unexpected end of file"],
    );
    let unused = infra_harness::ports::Ports::reserve(1);
    let closed_address = format!("http://127.0.0.1:{}", unused.all()[0]);
    assert_stderr_contains(
        &organisation.fails_at(&closed_address, 4),
        &[&closed_address, "Connection refused", "NO_PROXY"],
    );
    let unknown = "http://proxy.invalid:3128";
    assert_stderr_contains(&organisation.fails_at(unknown, 4), &[unknown]);
    for value in ["ftp://proxy.test:21", "http://", "http://user:canary@ proxy:1"] {
        let ran = organisation.fails_at(value, 4);
        assert_stderr_contains(&ran, &["HTTPS_PROXY is not the address of a proxy"]);
        assert!(!ran.stderr.contains("canary"), "{ran}");
    }
    assert_stderr_contains(
        &organisation.fails_at("https://127.0.0.1:1", 4),
        &["uses TLS, which is not supported", "http://HOST:PORT"],
    );
}

#[test]
fn hanging_proxy_times_out_and_is_named() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Hang));
    let ran = organisation.fails_at(&proxy.address(), 4);
    assert_stderr_contains(&ran, &[&format!("no response in time through the proxy {}", proxy.address())]);
}

#[test]
fn socks_proxy_is_supported() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Socks));
    let address = format!("socks5h://127.0.0.1:{}", proxy.port());
    organisation.login(&[("ALL_PROXY", &address)]).expect(0);
    organisation.infra(&["status"], &[("ALL_PROXY", &address)]).expect(0);
    assert!(proxy.targets().contains(&organisation.server()), "{:?}", proxy.targets());
}

#[test]
fn loopback_address_bypasses_the_proxy() {
    let (organisation, proxy) = (Organisation::new(), Proxy::start(ProxyMode::Reject));
    let browser = RecordingBrowser::signing_in("alice", &[organisation.provider.authority_file()]);
    let address = proxy.address();
    let call: Call<'_> = login::call(&organisation.alice, &organisation.daemon);
    // Without the exception, the test's browser would use the proxy.
    let exempt = call.env("HTTPS_PROXY", &address).browser(&browser).env("NO_PROXY", "127.0.0.1");
    exempt.run().expect(0);
    organisation.infra(&["status"], &[("HTTPS_PROXY", &address)]).expect(0);
    assert_eq!(proxy.targets(), Vec::<String>::new());
}

#[test]
fn organization_ca_is_trusted_from_system_or_file() {
    let (authority, alice) = (Authority::new(), User::new());
    let server = Server::start(authority.issue(), |_| {
        let body = json!({"version": "0", "now": "2026-01-01T00:00:00Z", "pins": [], "providers": []});
        std::future::ready(Answer::json(200, &body))
    });
    let origin = format!("https://localhost:{}", server.port());
    let trust = |variables: &[(&str, &str)]| {
        let call = alice.infra(["doctor", &origin, "--json"]);
        let ran = variables.iter().fold(call, |call, (name, value)| call.env(name, value)).run().expect(1);
        let checks = ran.json()["checks"].as_array().expect("checks").clone();
        let check = checks.into_iter().find(|check| check["name"] == "trust").expect("a check of the trust");
        (
            check["status"].as_str().expect("a status").to_owned(),
            check["message"].as_str().expect("a text").to_owned(),
        )
    };
    let file = authority.file();
    let file = file.to_str().expect("a path");
    assert_eq!(trust(&[]).0, "failed");
    let (status, what) = trust(&[("SSL_CERT_FILE", file)]);
    assert!(status == "ok" && what.contains("the system's"), "{what}");
    let (status, what) = trust(&[("INFRA_CA_FILE", file)]);
    assert!(status == "ok" && what.contains("CA file"), "{what}");
    // With a CA file, the system's trust store no longer applies.
    let other = Authority::new();
    let other = other.file();
    assert_eq!(
        trust(&[("SSL_CERT_FILE", file), ("INFRA_CA_FILE", other.to_str().expect("a path"))]).0,
        "failed"
    );
}

#[track_caller]
fn assert_stderr_contains(ran: &Ran, words: &[&str]) {
    for word in words {
        assert!(ran.stderr.contains(word), "it does not say {word:?}\n{ran}");
    }
}
