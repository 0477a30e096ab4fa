//! The copy of the token in the desktop's keyring: optional, and it may be missing, locked, hanging or
//! changed by other programs. It never prevents a login.

use std::os::unix::net::UnixListener;

use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{Call, Ran, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_peers::secret_service::{BusMonitor, SecretService};

/// Alice and a daemon, in a desktop session.
struct Scene {
    provider: Provider,
    daemon: Daemon,
    alice: User,
}

impl Scene {
    fn new() -> Self {
        let provider = Provider::start();
        let daemon = Daemon::start(&provider);
        Self { provider, daemon, alice: User::new() }
    }

    /// `infra login` with the fingerprint and these options, through a browser that signs in.
    fn login<'a>(&'a self, options: &[&str], join: impl FnOnce(Call<'a>) -> Call<'a>) -> Ran {
        let (origin, fingerprint) = (self.daemon.origin(), self.daemon.fingerprint());
        let mut arguments = vec!["login", &origin, "--fingerprint", &fingerprint];
        arguments.extend(options);
        let browser = RecordingBrowser::signing_in("alice", &[self.provider.authority_file()]);
        join(self.alice.infra(arguments)).browser(&browser).run()
    }

    /// A login with `--keyring` that succeeds, even if the copy fails.
    #[track_caller]
    fn log_in_mirrored(&self, service: &SecretService) -> String {
        self.login(&["--keyring"], |call| service.in_session(call)).expect(0);
        let token = login::token(&self.alice);
        assert_eq!(service.entry(&self.daemon.origin()).as_deref(), Some(token.as_str()), "no copy was made");
        token
    }

    /// `infra status --json` in this session: the reported storage, and the whole run.
    #[track_caller]
    fn storage(&self, service: &SecretService) -> (String, Ran) {
        let ran = service.in_session(self.alice.infra(["status", "--json"])).run().expect(0);
        let json = ran.json();
        let storage = json.get("storage").and_then(serde_json::Value::as_str).expect("a storage");
        (storage.to_owned(), ran)
    }
}

/// How often the keyring was asked. A command that a hanging keyring keeps waiting must not ask again.
fn searches(monitor: &BusMonitor<'_>) -> usize {
    let messages = monitor.messages();
    let text = b"SearchItems";
    messages.windows(text.len()).filter(|window| *window == text).count()
}

#[test]
fn keyring_choice_is_remembered_and_logout_removes_copy() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    scene.log_in_mirrored(&service);
    assert_eq!(scene.storage(&service).0, "file+keyring");
    let ran = service.in_session(scene.alice.infra(["status"])).run().expect(0);
    assert!(ran.stdout.contains("with a copy in the keyring"), "{ran}");

    // The choice is remembered, so no option is needed.
    scene.login(&["--force"], |call| service.in_session(call)).expect(0);
    let token = login::token(&scene.alice);
    assert_eq!(service.entry(&scene.daemon.origin()), Some(token));
    let ran = service.in_session(scene.alice.infra(["logout"])).run().expect(0);
    assert!(!ran.stderr.contains("keyring"), "{ran}");
    assert_eq!(service.entry(&scene.daemon.origin()), None);

    scene.login(&[], |call| service.in_session(call)).expect(0);
    assert!(service.entry(&scene.daemon.origin()).is_some(), "a logout forgot what was chosen");
    // `--no-keyring` removes the copy and revokes the choice.
    scene.login(&["--force", "--no-keyring"], |call| service.in_session(call)).expect(0);
    assert_eq!(service.entry(&scene.daemon.origin()), None);
    assert_eq!(scene.storage(&service).0, "file");
    scene.login(&["--force"], |call| service.in_session(call)).expect(0);
    assert_eq!(service.entry(&scene.daemon.origin()), None, "--no-keyring was not remembered");
}

#[test]
fn token_crosses_the_bus_encrypted() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    let monitor = service.monitor();
    let token = scene.log_in_mirrored_quietly(&service);
    service.in_session(scene.alice.infra(["status"])).run().expect(0);
    service.in_session(scene.alice.infra(["logout"])).run().expect(0);

    let mut canaries = Canaries::default();
    canaries.add("token", &token);
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    let messages = monitor.messages();
    assert_eq!(canaries.find(&messages), Vec::<String>::new(), "the token crossed the bus in the clear");
    // Controls: the bus monitor recorded this login, and it would record a plaintext token.
    let has = |text: &str| contains(&messages, text);
    assert!(has(&scene.daemon.origin()) && has("CreateItem") && has("GetSecret"), "nothing was heard");
    // The D-Bus encoding of the argument: its length, its text, its end.
    assert!(
        has("dh-ietf1024-sha256-aes128-cbc-pkcs7") && !has("\u{5}\0\0\0plain\0"),
        "another transport was used"
    );
    monitor.send_plaintext(&token);
    assert!(!canaries.find(&monitor.messages()).is_empty(), "a token in the clear is not heard");
}

#[test]
fn locked_keyring_is_reported_and_login_succeeds() {
    let Some(service) = SecretService::unlocked() else { return };
    service.lock();
    let scene = Scene::new();
    let ran = scene.login(&["--keyring"], |call| service.in_session(call));
    one_line(&ran.expect(0), &["stored only in the file", "is locked", "unlock it"]);
    assert_eq!(scene.storage(&service).0, "file");
}

#[test]
fn keyring_locked_later_is_not_reported_as_empty() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    scene.log_in_mirrored(&service);
    service.lock();
    let (storage, ran) = scene.storage(&service);
    assert_eq!(storage, "file+keyring");
    one_line(&ran, &["cannot check", "is locked"]);
    let ran = service.in_session(scene.alice.infra(["logout"])).run().expect(0);
    assert!(ran.stderr.contains("from the keyring: the keyring is locked"), "{ran}");
    login_is_needed(&scene.alice);
}

#[test]
fn keyring_without_collection_is_reported_and_login_succeeds() {
    let Some(service) = SecretService::without_collection() else { return };
    let scene = Scene::new();
    let ran = scene.login(&["--keyring"], |call| service.in_session(call));
    one_line(&ran.expect(0), &["stored only in the file", "no default collection", "create"]);
}

#[test]
fn missing_keyring_or_bus_is_reported_and_login_succeeds() {
    let Some(service) = SecretService::without_keyring() else { return };
    let scene = Scene::new();
    let ran = scene.login(&["--keyring"], |call| service.in_session(call));
    one_line(
        &ran.expect(0),
        &["stored only in the file", "no keyring is available", "no service answers on the D-Bus session"],
    );

    let nowhere = scene.alice.home().join("no-bus");
    for address in [String::new(), format!("unix:path={}", nowhere.display()), "nonsense".to_owned()] {
        let ran = scene.login(&["--force"], |call| {
            call.env("DBUS_SESSION_BUS_ADDRESS", &address).env("XDG_RUNTIME_DIR", &nowhere)
        });
        one_line(&ran.expect(0), &["stored only in the file", "no keyring is available", "D-Bus session"]);
    }
}

#[test]
fn hanging_keyring_delays_a_login_once() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    scene.log_in_mirrored(&service);
    service.suspend();
    let monitor = service.monitor();

    // The old copy can be neither replaced nor removed: two operations, but a single wait.
    let ran = scene.login(&["--force"], |call| service.in_session(call));
    assert!(ran.clone().expect(0).stderr.contains("did not answer within 3 s"), "{ran}");
    assert_eq!(searches(&monitor), 1, "the login waited twice");
    login::token(&scene.alice);
    service.in_session(scene.alice.infra(["token"])).run().expect(0);
    assert_eq!(searches(&monitor), 1, "the keyring was asked for a token");
}

#[test]
fn logout_and_status_finish_with_a_hanging_keyring() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    scene.log_in_mirrored(&service);
    service.suspend();
    let monitor = service.monitor();
    let ran = service.in_session(scene.alice.infra(["status", "--json"])).run();
    one_line(&ran.clone().expect(0), &["cannot check", "did not answer within 3 s"]);
    assert_eq!(ran.json()["storage"], "file+keyring");
    assert_eq!(searches(&monitor), 1, "the status waited twice");
    // `--quiet` only needs the exit code, so it does not wait.
    service.in_session(scene.alice.infra(["status", "--quiet"])).run().expect(0);
    assert_eq!(searches(&monitor), 1, "the keyring was asked for a quiet status");

    let ran = service.in_session(scene.alice.infra(["logout"])).run();
    assert!(ran.clone().expect(0).stderr.contains("from the keyring: the keyring did not answer"), "{ran}");
    assert_eq!(searches(&monitor), 2, "the logout waited twice");
    login_is_needed(&scene.alice);
}

#[test]
fn silent_bus_socket_does_not_block_a_login() {
    let scene = Scene::new();
    let path = scene.alice.home().join("mute");
    let mute = UnixListener::bind(&path).expect("a socket");
    mute.set_nonblocking(true).expect("a socket can be asynchronous");
    let address = format!("unix:path={}", path.display());
    let ran = scene.login(&["--keyring"], |call| call.env("DBUS_SESSION_BUS_ADDRESS", &address));
    one_line(&ran.expect(0), &["stored only in the file", "did not answer within 3 s"]);
    let connections = std::iter::from_fn(|| mute.accept().ok()).count();
    assert_eq!(connections, 1, "the login waited more than once");
}

#[test]
fn keyring_killed_during_status_is_reported_immediately() {
    let scene = Scene::new();
    // On a busy machine, the kill may come after the timeout.
    for _ in 0..5 {
        let Some(mut service) = SecretService::unlocked() else { return };
        scene.login(&["--force", "--keyring"], |call| service.in_session(call)).expect(0);
        service.suspend();
        let monitor = service.monitor();
        let running = service.in_session(scene.alice.infra(["status", "--json"])).start();
        monitor.wait_for("SearchItems");
        drop(monitor);
        service.kill();
        let ran = running.wait().expect(0);
        if !ran.stderr.contains("did not answer within 3 s") {
            return one_line(&ran, &["cannot check", "was lost"]);
        }
    }
    panic!("it always waited for the timeout");
}

#[test]
fn removed_entry_is_not_reported_as_present() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    scene.log_in_mirrored(&service);
    service.remove(&scene.daemon.origin());
    let (storage, ran) = scene.storage(&service);
    assert_eq!(storage, "file");
    one_line(&ran, &["missing from the keyring", "infra login --force"]);
    let ran = service.in_session(scene.alice.infra(["logout"])).run().expect(0);
    assert!(!ran.stderr.contains("warning"), "{ran}");
}

#[test]
fn changed_entry_is_reported_and_kept() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    let token = scene.log_in_mirrored(&service);
    let origin = scene.daemon.origin();
    service.remove(&origin);
    service.add(&origin, "somebody else's");
    let (storage, ran) = scene.storage(&service);
    assert_eq!(storage, "file");
    one_line(&ran, &["another program has replaced", "infra login --force"]);
    assert_eq!(login::token(&scene.alice), token, "the file is the truth");
    let ran = service.in_session(scene.alice.infra(["logout"])).run().expect(0);
    one_line(&ran, &["another program has changed it", "is kept"]);
    assert_eq!(service.entry(&origin).as_deref(), Some("somebody else's"));

    // On request, a login replaces the entry.
    scene.log_in_mirrored(&service);
    assert_eq!(scene.storage(&service).0, "file+keyring");
}

#[test]
fn duplicate_entries_are_reported_and_kept() {
    let Some(service) = SecretService::unlocked() else { return };
    let scene = Scene::new();
    let token = scene.log_in_mirrored(&service);
    service.add(&scene.daemon.origin(), "somebody else's");
    let (storage, ran) = scene.storage(&service);
    assert_eq!(storage, "file+keyring");
    one_line(&ran, &["cannot check", "several entries"]);
    let ran = scene.login(&["--force"], |call| service.in_session(call));
    assert!(ran.clone().expect(0).stderr.contains("several entries"), "{ran}");
    let held = service.entry(&scene.daemon.origin()).expect("an entry");
    assert!(held == token || held == "somebody else's", "an entry was changed");
}

impl Scene {
    /// Like [`Scene::log_in_mirrored`], without reading the keyring, because the bus monitor would record
    /// that, too.
    fn log_in_mirrored_quietly(&self, service: &SecretService) -> String {
        self.login(&["--keyring"], |call| service.in_session(call)).expect(0);
        login::token(&self.alice)
    }
}

/// Fails the test unless there is exactly one warning, on one line with all these words.
#[track_caller]
fn one_line(ran: &Ran, words: &[&str]) {
    let warnings: Vec<&str> = ran.stderr.lines().filter(|line| line.starts_with("warning:")).collect();
    assert_eq!(warnings.len(), 1, "one warning is to be told\n{ran}");
    let line = warnings.first().expect("one");
    for word in words {
        assert!(line.contains(word), "it does not say {word:?}: {line}");
    }
}

fn login_is_needed(user: &User) {
    user.infra(["token"]).run().expect(3).stdout_is_empty();
}

fn contains(messages: &[u8], text: &str) -> bool {
    messages.windows(text.len()).any(|window| window == text.as_bytes())
}
