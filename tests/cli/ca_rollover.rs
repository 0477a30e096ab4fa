//! A server with a new identity: clients that received its announcement continue, all others are stopped, and
//! an attacker cannot announce an identity.

use std::time::Duration;

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Request, Server};
use infra_harness::login;
use infra_harness::program::{Ran, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_shared::ca_rollover::{HEADER, Statement};
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use serde_json::{Value, json};

/// Long enough for the test's work on a busy machine.
const OVERLAP: &str = "30s";
const TAKEOVER: Duration = Duration::from_mins(2);

#[test]
fn rollover_is_silent_for_informed_clients_and_stops_others() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let [before, during, absent] = [User::new(), User::new(), User::new()];
    login::succeed(&before, &daemon, &provider);
    login::succeed(&absent, &daemon, &provider);
    let old = daemon.fingerprint();

    daemon.infrad(["ca", "rotate", "--overlap", OVERLAP]).wait().expect(0);
    let new = status_of(&daemon)["nextCA"]["pin"].as_str().expect("a pin").to_owned();
    before.infra(["status"]).run().expect(0);
    login::succeed(&during, &daemon, &provider);
    for user in [&before, &during] {
        assert_eq!(server_of(user, &daemon)["caRollover"]["pin"], new, "it was heard");
        assert_eq!(server_of(user, &daemon)["trust"]["pin"], old, "the present one counts until then");
    }

    wait_for_takeover(&daemon);
    for user in [&before, &during] {
        let ran = user.infra(["status"]).run().expect(0).stderr_contains(&["as it had announced"]);
        assert!(!ran.stderr.contains("sha256:"), "nobody is asked to compare anything: {}", ran.stderr);
        assert_eq!(server_of(user, &daemon)["trust"], json!({"kind": "pinned", "pin": new}));
        assert!(!user.infra(["status"]).run().expect(0).stderr.contains("announced"), "told once");
    }
    absent
        .infra(["status"])
        .run()
        .expect(5)
        .stderr_contains(&[&format!("infra trust {}", daemon.origin()), &new]);
    assert_eq!(server_of(&absent, &daemon)["trust"]["pin"], old);

    // Long after, with a restarted daemon, scripts keep passing the old fingerprint.
    daemon.restart();
    before.infra(["login", "--force"]).browser(&signing_in(&provider)).run().expect(0);
    before.infra(["login"]).env("INFRA_FINGERPRINT", &old).run().expect(0);
    before.infra(["login"]).env("INFRA_FINGERPRINT", format!("sha256:{}", "0".repeat(64))).run().expect(5);
    absent.infra(["trust", &daemon.origin(), "--fingerprint", &new]).run().expect(0);
    absent.infra(["status"]).run().expect(0);
}

#[test]
fn login_started_before_takeover_finishes_after_it() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let started = login::Started::at(&daemon);
    let response = started.sign_in(&provider);
    daemon.infrad(["ca", "rotate", "--overlap", "0s"]).wait().expect(0);
    assert_ne!(status_of(&daemon)["identity"]["pin"], daemon.fingerprint());
    assert_eq!(started.finish(&response).status, 201);
}

#[test]
fn compromised_ca_is_replaced_immediately() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    daemon.infrad(["ca", "rotate", "--overlap", "0s"]).wait().expect(0);
    alice.infra(["status"]).run().expect(5).stderr_contains(&["infra trust"]);
}

#[test]
fn public_certificate_works_for_pinned_and_new_clients() {
    let (provider, public) = (Provider::start(), Authority::new());
    let mut daemon = Daemon::start(&provider);
    let [pinned, new] = [User::new(), User::new()];
    login::succeed(&pinned, &daemon, &provider);
    serve_with_files(&mut daemon, &public);

    let json = pinned.infra(["status", "--json"]).run().expect(0).json();
    assert_eq!(json["trust"], "pinned", "the daemon still proves itself by its own authority");
    assert_eq!(server_of(&pinned, &daemon)["caRollover"]["public"], true);
    pinned.infra(["login", "--force"]).browser(&signing_in(&provider)).run().expect(0);

    trusting(&new, &public, &["login", &daemon.origin()], Some(&provider)).expect(0);
    assert_eq!(trusting(&new, &public, &["status", "--json"], None).expect(0).json()["trust"], "system");
    // Without that CA in the system's trust store, the daemon is not trusted.
    new.infra(["status"]).run().expect(5);
}

#[test]
fn informed_client_accepts_public_certificate_after_ca_loss() {
    let (provider, public) = (Provider::start(), Authority::new());
    let mut daemon = Daemon::start(&provider);
    let [informed, uninformed] = [User::new(), User::new()];
    login::succeed(&informed, &daemon, &provider);
    login::succeed(&uninformed, &daemon, &provider);
    serve_with_files(&mut daemon, &public);
    informed.infra(["status"]).run().expect(0);

    // Another host takes over, with the same certificate and its own store.
    daemon.stop();
    let directory = daemon.directory().to_owned();
    daemon.change(|configuration| {
        configuration.data_dir = directory.join("other-data");
        configuration.root_key = directory.join("other-keys").join("root.key");
    });
    daemon.start_again();

    // The sessions were in the old store. What matters is that the daemon could respond.
    trusting(&informed, &public, &["status"], None).expect(3).stderr_contains(&["as it had announced"]);
    assert_eq!(server_of(&informed, &daemon)["trust"], json!({"kind": "system"}));
    trusting(&uninformed, &public, &["status"], None).expect(5).stderr_contains(&["infra trust", "--system"]);
    trusting(&uninformed, &public, &["trust", &daemon.origin(), "--system"], None).expect(0);
    trusting(&uninformed, &public, &["status"], None).expect(3);
}

#[test]
fn stolen_leaf_key_cannot_announce_an_identity() {
    let (provider, daemon_authority, thief) = (Provider::start(), Authority::new(), Authority::new());
    let daemon = Daemon::start(&provider);
    for borrowed in [false, true] {
        // The chain includes the pinned CA, which is all that the thief's leaf key provides.
        let alice = User::new();
        login::succeed(&alice, &daemon, &provider);
        let certificate = if borrowed { daemon_authority.certificate() } else { thief.certificate() };
        let (key, pin) = (thief.private_key(), thief.pin());
        let server = Server::start(daemon_authority.issue(), move |request| {
            std::future::ready(announcing(&request, &certificate, &key, pin))
        });
        move_to(&alice, &daemon, &format!("https://127.0.0.1:{}", server.port()), daemon_authority.pin());

        alice
            .infra(["status"])
            .run()
            .expect(0)
            .stderr_contains(&["rejected the new identity that", "report this"]);
        let config = alice.file("config.json").expect("a configuration");
        assert!(!config.contains("caRollover"), "{config}");
        assert!(!config.contains(&thief.pin().to_string()), "{config}");
    }
}

/// Responds like a daemon whose leaf key was stolen, and announces the thief's own pin.
fn announcing(request: &Request, certificate: &[u8], key: &[u8], pin: Pin) -> Answer {
    let server: Origin = request.header("host").expect("a host").parse().expect("an origin");
    let now = SystemClock.now();
    let in_days = |days: i64| (now + jiff::SignedDuration::from_hours(24 * days)).to_string();
    let statement = Statement {
        servers: vec![server],
        public: Vec::new(),
        pin: Some(pin),
        sequence: 1_000,
        iat: now.as_second(),
        exp: now.as_second() + 3_600,
    };
    let body = match request.path.as_str() {
        "/v1/server" => json!({
            "version": "0", "now": now, "providers": [], "pins": [],
            "caRollover": statement.sign(certificate, key).expect("a P-256 key"),
        }),
        _ => json!({
            "session": {"id": "a".repeat(10), "createdAt": now, "expiresAt": in_days(1), "idleExpiresAt": in_days(1)},
            "user": {"name": null, "email": null, "groups": [], "provider": "okta", "issuer": "https://okta.test", "subject": "alice"},
            "now": now,
        }),
    };
    let mut answer = Answer::json(200, &body);
    answer.set_header(HEADER, "1000");
    answer
}

/// Makes `user` know the server at `origin`, with this pin, instead of the daemon.
fn move_to(user: &User, daemon: &Daemon, origin: &str, pin: Pin) {
    for name in ["config.json", "sessions.json"] {
        let text = user.file(name).expect("a file");
        let text = text.replace(&daemon.origin(), origin).replace(&daemon.fingerprint(), &pin.to_string());
        std::fs::write(user.infra_home().join(name), text).expect("the file is the user's own");
    }
}

/// Serves a certificate of `authority` from files, after a restart.
fn serve_with_files(daemon: &mut Daemon, authority: &Authority) {
    daemon.stop();
    let (certificate, key) = (daemon.directory().join("tls.crt"), daemon.directory().join("tls.key"));
    let leaf = authority.issue();
    std::fs::write(&certificate, leaf.chain_pem).expect("a file");
    infra_harness::services::write_private(&key, &leaf.key_pem);
    daemon.change(|configuration| {
        configuration.more = format!(
            "tls: {{files: {{certificate: {}, privateKey: {}, publiclyTrusted: true}}}}\n",
            certificate.display(),
            key.display()
        );
    });
    daemon.start_again();
}

/// Runs `infra` on a machine whose trust store contains only `authority`.
fn trusting(user: &User, authority: &Authority, arguments: &[&str], provider: Option<&Provider>) -> Ran {
    let browser = provider.map(signing_in);
    let call = user.infra(arguments).env("SSL_CERT_FILE", authority.file()).env("SSL_CERT_DIR", "/nowhere");
    match &browser {
        Some(browser) => call.browser(browser).run(),
        None => call.run(),
    }
}

fn signing_in(provider: &Provider) -> RecordingBrowser {
    RecordingBrowser::signing_in("alice", &[provider.authority_file()])
}

fn wait_for_takeover(daemon: &Daemon) {
    let is_over = || status_of(daemon).get("nextCA").is_some_and(Value::is_null).then_some(());
    let taken_over = wait::until(TAKEOVER, is_over);
    assert!(taken_over.is_some(), "the next authority did not take over\n{}", daemon.log());
}

fn status_of(daemon: &Daemon) -> Value {
    daemon.infrad(["status", "--json"]).wait().expect(0).json()
}

/// The stored entry of the daemon.
fn server_of(user: &User, daemon: &Daemon) -> Value {
    let config: Value =
        serde_json::from_str(&user.file("config.json").expect("a configuration")).expect("JSON");
    let server = config.get("servers").and_then(|servers| servers.get(daemon.origin()));
    server.expect("the daemon is known").clone()
}
