//! `infra doctor` reports correct parts as ok and wrong parts with a hint. It changes nothing and shows no
//! secret.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use infra_harness::authority::Authority;
use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Server};
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::program::{Call, Ran, RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_harness::{login, peers};
use infra_peers::secret_service::SecretService;
use serde_json::{Value, json};

/// Alice, signed in, on a machine that trusts the provider.
struct Scene {
    provider: Provider,
    daemon: Daemon,
    alice: User,
}

impl Scene {
    fn new() -> Self {
        let provider = Provider::start();
        let daemon = Daemon::start(&provider);
        let scene = Self { provider, daemon, alice: User::new() };
        login::succeed(&scene.alice, &scene.daemon, &scene.provider);
        scene
    }

    fn doctor(&self, words: &[&str]) -> Call<'_> {
        let words = ["doctor"].iter().chain(words);
        self.alice.infra(words).env("SSL_CERT_FILE", self.provider.authority_file())
    }

    /// Runs `infra doctor --json`, which must exit with this code, and returns the checks by name.
    #[track_caller]
    fn checks(&self, code: i32, change: impl FnOnce(Call<'_>) -> Call<'_>) -> BTreeMap<String, Value> {
        let ran = change(self.doctor(&["--json"])).run().expect(code);
        assert_eq!(ran.json().get("ok"), Some(&Value::from(code == 0)), "{ran}");
        checks(&ran)
    }

    /// Fails the test unless exactly this check is wrong, with all these words.
    #[track_caller]
    fn only_wrong(&self, name: &str, words: &[&str], change: impl FnOnce(Call<'_>) -> Call<'_>) {
        let checks = self.checks(1, change);
        let wrong: Vec<&String> =
            checks.iter().filter(|(_, check)| check["status"] == "failed").map(|(name, _)| name).collect();
        assert_eq!(wrong, [name], "{checks:#?}");
        let check = checks.get(name).expect("the one that was found");
        assert!(check.get("hint").is_some_and(Value::is_string), "nothing to try: {check}");
        for word in words {
            assert!(check.to_string().contains(word), "it does not say {word:?}: {check}");
        }
    }
}

#[track_caller]
fn checks(ran: &Ran) -> BTreeMap<String, Value> {
    let json = ran.json();
    assert_eq!(json.get("schema"), Some(&Value::from(1)), "{ran}");
    let checks = json.get("checks").and_then(Value::as_array).expect("checks").clone();
    let name = |check: &Value| check.get("name").and_then(Value::as_str).expect("a name").to_owned();
    checks.into_iter().map(|check| (name(&check), check)).collect()
}

#[test]
fn healthy_setup_passes_every_check_without_changes() {
    let scene = Scene::new();
    let before = snapshot(scene.alice.home());
    let checks = scene.checks(0, |call| call);
    let names: Vec<&str> = checks.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["browser", "clock", "files", "keyring", "ports", "provider", "proxy", "server", "trust"]
    );
    assert!(checks.values().all(|check| check["status"] == "ok" && check["hint"].is_null()), "{checks:#?}");
    let ran = scene.doctor(&[]).run().expect(0);
    assert_eq!(ran.stdout.lines().count(), names.len(), "{ran}");
    assert!(ran.stdout.lines().all(|line| line.starts_with("ok     ")), "{ran}");
    scene.doctor(&["--quiet"]).run().expect(0).stdout_is_empty();
    assert_eq!(snapshot(scene.alice.home()), before, "something was changed");
    scene.alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn machine_without_servers_is_checked_without_changes() {
    let alice = User::new();
    let ran = alice.infra(["doctor", "--json"]).run().expect(0);
    let checks = checks(&ran);
    assert_eq!(checks["server"]["status"], "skipped");
    assert!(checks["ports"]["message"].as_str().is_some_and(|what| what.contains("8301")), "{ran}");
    assert_eq!(alice.files(), "", "something was made");
}

#[test]
fn verbose_doctor_shows_no_secret() {
    let scene = Scene::new();
    let token = login::token(&scene.alice);
    let mut canaries = Canaries::default();
    canaries.add("token", &token);
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    canaries.add("proxy password", "canary-of-a-proxy");
    let proxy = "http://alice:canary-of-a-proxy@127.0.0.1:1";
    for words in [&["-vv"][..], &["--json"], &["-vv", "other.test"]] {
        let ran = scene.doctor(words).env("HTTPS_PROXY", proxy).run();
        assert_eq!(canaries.find(ran.to_string().as_bytes()), Vec::<String>::new(), "{ran}");
    }
}

#[test]
fn open_damaged_and_linked_files_are_reported_unchanged() {
    let scene = Scene::new();
    let home = scene.alice.infra_home();
    let (config, sessions) = (home.join("config.json"), home.join("sessions.json"));
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o775)).expect("the user's own");
    scene.only_wrong("files", &["other users can write to", "(mode 0775)"], |call| call);
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).expect("the user's own");
    std::fs::set_permissions(&sessions, std::fs::Permissions::from_mode(0o644)).expect("the user's own");
    let before = snapshot(scene.alice.home());
    scene.only_wrong("files", &["other users (mode 0644 instead of 0600)"], |call| call);
    assert_eq!(snapshot(scene.alice.home()), before, "something was changed");

    std::fs::write(&sessions, "{\"version\":1,").expect("the user's own file");
    scene.only_wrong("files", &["sessions.json is damaged"], |call| call);
    std::fs::remove_file(&sessions).expect("the user's own file");
    std::os::unix::fs::symlink("/etc/hosts", &sessions).expect("a link");
    scene.only_wrong("files", &["sessions.json is a symbolic link"], |call| call);
    assert!(sessions.is_symlink());
    std::fs::remove_file(&sessions).expect("the user's own file");
    std::fs::write(&config, r#"{"version":99,"servers":{}}"#).expect("the user's own file");
    let checks = scene.checks(1, |call| call);
    assert!(
        checks["files"]["cause"].as_str().is_some_and(|why| why.contains("newer `infra`")),
        "{checks:#?}"
    );
}

#[test]
fn ports_are_wrong_only_if_none_is_free() {
    let scene = Scene::new();
    let ports = scene.daemon.redirect_ports();
    let occupy = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).expect("a free port");
    let one = occupy(&ports[0]);
    let checks = scene.checks(0, |call| call);
    let what = checks["ports"]["message"].as_str().expect("a text").to_owned();
    assert!(
        what.contains(&format!("in use: {} ", ports[0])) && what.contains(&ports[1].to_string()),
        "{what}"
    );
    let _others: Vec<TcpListener> = ports[1..].iter().map(occupy).collect();
    let list = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    scene.only_wrong("ports", &[&list, "Address already in use", "ss -ltnp"], |call| call);
    drop(one);
    scene.checks(0, |call| call);
}

#[test]
fn unreachable_daemon_is_wrong_and_its_trust_unknown() {
    let mut scene = Scene::new();
    scene.daemon.stop();
    scene.only_wrong("server", &["cannot be reached", "Connection refused"], |call| call);
    let checks = scene.checks(1, |call| call);
    assert_eq!(checks["trust"]["status"], "skipped");
    // The providers are unknown, so the doctor checks the usual ports.
    assert!(!checks.contains_key("provider"), "{checks:#?}");
}

#[test]
fn impostor_is_reported_as_another_server() {
    let scene = Scene::new();
    let impostor = Impostor::start(Disguise::OtherAuthority, &Authority::new());
    for file in ["config.json", "sessions.json"] {
        let text =
            scene.alice.file(file).expect("a file").replace(&scene.daemon.origin(), &impostor.origin());
        std::fs::write(scene.alice.infra_home().join(file), text).expect("the user's own file");
    }
    scene.only_wrong("trust", &["its identity is not the one stored here", "infra trust"], |call| call);
    assert_eq!(impostor.received(), 0);
    // An unknown server.
    let daemon = Daemon::start(&scene.provider);
    let ran = scene.doctor(&["--json", &daemon.origin()]).run().expect(1);
    assert!(checks(&ran)["trust"]["hint"].as_str().is_some_and(|hint| hint.contains("infra login")), "{ran}");
    let call = scene.doctor(&["--json", &daemon.origin()]).env("INFRA_FINGERPRINT", daemon.fingerprint());
    assert_eq!(checks(&call.run().expect(0))["trust"]["status"], "ok");
}

#[test]
fn clock_difference_is_reported_with_direction() {
    for (year, direction) in [("2016", "ahead of"), ("2056", "behind")] {
        let (authority, alice) = (Authority::new(), User::new());
        let server = Server::start(authority.issue(), move |_| {
            let body = json!({"version": "0", "now": format!("{year}-01-01T00:00:00Z"), "providers": []});
            std::future::ready(Answer::json(200, &body))
        });
        let origin = format!("https://127.0.0.1:{}", server.port());
        let call = alice.infra(["doctor", "--json", &origin]);
        let ran = call.env("INFRA_FINGERPRINT", authority.pin().to_string()).run().expect(1);
        let check = &checks(&ran)["clock"];
        assert!(
            check["status"] == "failed"
                && check["message"].as_str().is_some_and(|what| what.contains(direction)),
            "{ran}"
        );
    }
}

#[test]
fn each_provider_fault_is_identified() {
    let scene = Scene::new();
    scene.only_wrong("provider", &["not trusted on this machine"], |call| {
        call.env("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    });
    // For example, the sign-in page of a network.
    scene.provider.misbehave(Misbehaviour::default().answer(Endpoint::Discovery, |answer| {
        *answer = Answer::text(200, "<h1>Welcome to the hotel</h1>");
    }));
    scene.only_wrong("provider", &["not from this identity provider", "no metadata"], |call| call);
    scene.provider.misbehave(Misbehaviour::default().json(Endpoint::Discovery, |metadata| {
        metadata["issuer"] = "https://other.test".into();
    }));
    scene.only_wrong("provider", &["not from this identity provider", "https://other.test"], |call| call);
    scene.provider.behave();
    let Scene { provider, daemon, alice } = scene;
    let issuer = provider.issuer().to_owned();
    drop(provider);
    let ran = alice.infra(["doctor", "--json"]).run().expect(1);
    let check = &checks(&ran)["provider"];
    assert!(check["subject"].as_str().is_some_and(|subject| subject.contains(&issuer)), "{ran}");
    assert!(check["cause"].as_str().is_some_and(|why| why.contains("Connection refused")), "{ran}");
    drop(daemon);
}

#[test]
fn certificate_dates_are_judged_by_known_times() {
    if peers::find_program("faketime").is_none() {
        return;
    }
    let scene = Scene::new();
    for (wrong, named, told) in [
        ("-400d", "clock", ["is not valid yet", "you signed in later than that"]),
        ("+4000d", "certificate", ["has expired", "compare this machine's clock"]),
    ] {
        let words = [told[0], told[1], "by the clock of this machine", "NTP"];
        scene.only_wrong(named, &words, |call| call.under(["faketime", "-f", wrong]));
        let ran = scene.doctor(&[]).under(["faketime", "-f", wrong]).run().expect(1);
        assert!(!ran.stdout.contains("fingerprint"), "{ran}");
    }
    scene.only_wrong("clock", &["ahead of the server's"], |call| call.under(["faketime", "-f", "+2h"]));
}

#[test]
fn expired_certificate_is_named_if_clock_was_right() {
    let scene = Scene::new();
    let authority = Authority::new();
    let server = Server::start(authority.issue_expired(), |_| std::future::ready(Answer::text(200, "")));
    for file in ["config.json", "sessions.json"] {
        let text = scene.alice.file(file).expect("a file");
        let text = text.replace(&scene.daemon.origin(), &format!("https://127.0.0.1:{}", server.port()));
        let text = text.replace(&scene.daemon.fingerprint(), &authority.pin().to_string());
        std::fs::write(scene.alice.infra_home().join(file), text).expect("the user's own file");
    }
    let words = ["has expired", "the clock agreed with the server's", "tell the server's operator"];
    scene.only_wrong("certificate", &words, |call| call);
    scene.alice.edit_session(|session| session["clockOffsetSeconds"] = (-7200).into());
    scene.only_wrong("clock", &["has expired", "the clock is 2 h ahead of the server's", "NTP"], |call| call);
    // The clock may have been set since.
    scene.alice.edit_session(|session| session["bootTime"] = 1.into());
    scene.only_wrong("certificate", &["has expired", "compare this machine's clock"], |call| call);
}

#[test]
fn doctor_looks_for_the_browser_of_a_login() {
    let scene = Scene::new();
    for named in ["firefoxx", "/nowhere/firefox", "/etc/passwd", "/usr"] {
        scene.only_wrong("browser", &[&format!("`{named}`"), "BROWSER"], |call| call.env("BROWSER", named));
    }
    scene.only_wrong("browser", &["no program that opens addresses", "xdg-open"], |call| {
        call.env("DISPLAY", ":9").env("PATH", scene.alice.home())
    });
    let browser = RecordingBrowser::recording();
    let checks = scene.checks(0, |call| call.browser(&browser));
    assert!(
        checks["browser"]["message"].as_str().is_some_and(|what| what.contains("record-browser")),
        "{checks:#?}"
    );
    assert_eq!(browser.opened(), Vec::<String>::new());
    let checks = scene.checks(0, |call| call.env("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"));
    assert!(checks["browser"]["message"].as_str().is_some_and(|what| what.contains("prints the address")));
}

#[test]
fn keyring_is_wrong_only_if_a_copy_is_requested() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    let checks = scene.checks(0, |call| service.in_session(call));
    assert!(
        checks["keyring"]["message"].as_str().is_some_and(|what| what.contains("unlocked")),
        "{checks:#?}"
    );
    let browser = RecordingBrowser::signing_in("alice", &[scene.provider.authority_file()]);
    let call = scene.alice.infra(["login", "--force", "--keyring"]).browser(&browser);
    service.in_session(call).run().expect(0);
    let checks = scene.checks(0, |call| service.in_session(call));
    assert!(
        checks["keyring"]["message"].as_str().is_some_and(|what| what.contains("holds the copy")),
        "{checks:#?}"
    );
    service.remove(&scene.daemon.origin());
    scene.only_wrong("keyring", &["is missing", "infra login --force"], |call| service.in_session(call));
    service.add(&scene.daemon.origin(), "somebody else's");
    scene.only_wrong("keyring", &["another program has replaced"], |call| service.in_session(call));
    scene.only_wrong("keyring", &["no D-Bus session"], |call| call);
    service.suspend();
    scene.only_wrong("keyring", &["did not answer within 3 s"], |call| service.in_session(call));
    service.in_session(scene.alice.infra(["logout"])).run().expect(0);
    // The next login would need the keyring and hit the same problem.
    scene.only_wrong("keyring", &["the next sign-in", "did not answer"], |call| service.in_session(call));
}

#[test]
fn hanging_servers_time_out_together() {
    /// A request that waits, counted until the client closes its connection.
    struct Waiting(Arc<AtomicUsize>);
    impl Drop for Waiting {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let (authority, alice) = (Authority::new(), User::new());
    let (waiting, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let hang = || {
        let (waiting, most) = (Arc::clone(&waiting), Arc::clone(&most));
        Server::start(authority.issue(), move |_| {
            most.fetch_max(waiting.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let waiting = Waiting(Arc::clone(&waiting));
            async move {
                let _waiting = waiting;
                std::future::pending::<Answer>().await
            }
        })
    };
    let (one, another) = (hang(), hang());
    let servers: serde_json::Map<String, Value> = [&one, &another]
        .into_iter()
        .map(|server| {
            let trust = json!({"trust": {"kind": "pinned", "pin": authority.pin().to_string()}});
            (format!("https://127.0.0.1:{}", server.port()), trust)
        })
        .collect();
    alice.plant("config.json", &json!({"version": 1, "current": null, "servers": servers}));

    let ran = alice.infra(["doctor"]).run().expect(1);
    assert_eq!(most.load(Ordering::SeqCst), 2, "one waited for the other\n{ran}");
    assert_eq!(ran.stdout.matches("it cannot be reached").count(), 2, "{ran}");
}

/// Everything below `directory`: names, modes, modification times and contents.
fn snapshot(directory: &Path) -> BTreeMap<String, (u32, i64, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let metadata = entry.path().symlink_metadata().expect("it is there");
        let contents =
            if metadata.is_file() { std::fs::read(entry.path()).expect("a file") } else { Vec::new() };
        let seen = (metadata.mode(), metadata.mtime(), metadata.ctime_nsec(), contents);
        found.insert(entry.path().display().to_string(), seen);
        if metadata.is_dir() {
            found.extend(snapshot(&entry.path()));
        }
    }
    found
}
