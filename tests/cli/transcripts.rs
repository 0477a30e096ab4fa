//! What users see: every command with every exit code, compared with the golden files in `tests/transcripts`.

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::login;
use infra_harness::pending_login::PendingLogin;
use infra_harness::program::{Call, RecordingBrowser, Transcript, User};
use infra_harness::provider::{Person, Provider};
use rustix::process::Signal;

/// A user, a daemon and the transcript of their interaction.
struct Scene {
    provider: Provider,
    daemon: Daemon,
    alice: User,
    transcript: Transcript,
}

impl Scene {
    fn new() -> Self {
        Self::at(|_| {})
    }

    fn at(change: impl FnOnce(&mut infra_harness::daemon::Configuration)) -> Self {
        let provider = Provider::start();
        let (daemon, alice) = (Daemon::start_with(&provider, change), User::new());
        let mut transcript = Transcript::new();
        transcript.replace(daemon.fingerprint(), "FINGERPRINT");
        transcript.replace(daemon.origin(), "SERVER");
        transcript.replace(provider.issuer(), "ISSUER");
        transcript.replace(alice.home().display().to_string(), "HOME");
        Self { provider, daemon, alice, transcript }
    }

    fn signed_in() -> Self {
        let scene = Self::new();
        login::succeed(&scene.alice, &scene.daemon, &scene.provider);
        scene
    }

    /// Runs `infra` with these arguments, and adds the run to the transcript.
    #[track_caller]
    fn run(&mut self, arguments: &[&str], code: i32) {
        let ran = self.alice.infra(arguments).run().expect(code);
        self.transcript.add(&ran);
    }

    /// Like [`Self::run`], with a change to the call.
    #[track_caller]
    fn run_with(&mut self, arguments: &[&str], code: i32, change: impl FnOnce(Call<'_>) -> Call<'_>) {
        let ran = change(self.alice.infra(arguments)).run().expect(code);
        self.transcript.add(&ran);
    }

    /// Like [`Self::run`], with the token in the environment.
    #[track_caller]
    fn run_as_script(&mut self, arguments: &[&str], code: i32, token: &str) {
        let server = self.daemon.origin();
        self.run_with(arguments, code, |call| call.env("INFRA_TOKEN", token).env("INFRA_SERVER", server));
    }

    fn browser(&self) -> RecordingBrowser {
        RecordingBrowser::signing_in("alice", &[self.provider.authority_file()])
    }

    /// Signs in with a browser. The fingerprint is known, or among the arguments.
    #[track_caller]
    fn log_in(&mut self, arguments: &[&str], code: i32) {
        let browser = self.browser();
        self.run_with(arguments, code, |call| call.browser(&browser));
    }

    /// Replaces the server at the user's known address with an impostor.
    fn replace_with_impostor(&mut self) -> Impostor {
        let impostor = Impostor::start(Disguise::OtherAuthority, &Authority::new());
        for file in ["config.json", "sessions.json"] {
            if let Some(text) = self.alice.file(file) {
                let text = text.replace(&self.daemon.origin(), &impostor.origin());
                std::fs::write(self.alice.infra_home().join(file), text).expect("the user's own file");
            }
        }
        self.transcript.replace(impostor.origin(), "SERVER");
        self.transcript.note("somebody else answers there now");
        impostor
    }

    /// Changes a text in `sessions.json`.
    fn edit_session(&self, change: impl FnOnce(&mut serde_json::Value)) {
        let path = self.alice.infra_home().join("sessions.json");
        let text = std::fs::read_to_string(&path).expect("a session");
        let mut sessions: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let held = sessions.get_mut("sessions").and_then(serde_json::Value::as_object_mut);
        let session = held.and_then(|sessions| sessions.values_mut().next());
        change(session.expect("a session"));
        std::fs::write(path, sessions.to_string()).expect("the user's own file");
    }
}

/// Moves a time of a stored session into the past.
fn move_to_the_past(session: &mut serde_json::Value, name: &str) {
    let time = session.pointer_mut(&format!("/session/{name}")).expect("a time of the session");
    *time = "2026-01-01T00:00:00Z".into();
}

#[test]
fn login() {
    let mut scene = Scene::new();
    let (server, fingerprint) = (scene.daemon.origin(), scene.daemon.fingerprint());
    let first = ["login", &server, "--fingerprint", &fingerprint, "--no-keyring"];
    scene.run(&["login"], 2);
    scene.run(&["login", "http://infra.example.com"], 2);
    scene.run(&["login", &server], 5);
    scene.run(&["login", &server, "--fingerprint", &format!("sha256:{}", "0".repeat(64))], 5);
    scene.run(&["login", &server, "--fingerprint", &fingerprint, "--provider", "github"], 2);
    scene.run(&["login", &server, "--fingerprint", &fingerprint, "--timeout", "1h"], 2);
    let idle_browser = RecordingBrowser::recording();
    scene.run_with(&["login", &server, "--fingerprint", &fingerprint, "--timeout", "1s"], 6, |call| {
        call.browser(&idle_browser)
    });
    scene.provider.person(Person::Cancels);
    scene.transcript.note("\"Cancel\" on the provider's page");
    scene.log_in(&first, 6);
    scene.provider.person(Person::SignsIn("alice".to_owned()));
    scene.transcript.note("signing in there");
    scene.log_in(&first, 0);
    scene.run(&["login"], 0);
    scene.run(&["login", "--provider", "okta"], 0);
    scene.log_in(&["login", "--force"], 0);
    scene.provider.person(Person::SignsIn("bob".to_owned()));
    scene.transcript.note("the browser is signed in as Bob");
    scene.log_in(&["login", "--force"], 0);
    scene.run_with(&["login", "--server", "https://other.example", &server], 2, |call| call);
    let token = login::token(&scene.alice);
    scene.transcript.note("with INFRA_TOKEN and INFRA_SERVER");
    scene.run_as_script(&["login"], 2, &token);
    let pending = PendingLogin::begin(scene.alice.infra(["login", "--force"]));
    pending.running.signal(Signal::INT);
    scene.transcript.note("Ctrl-C");
    scene.transcript.add(&pending.wait().expect(130));
    scene.transcript.add_files(&scene.alice);
    scene.daemon.stop();
    scene.transcript.note("the daemon is away");
    scene.run(&["login"], 4);
    scene.run(&["login", "--force"], 4);
    scene.transcript.compare("login");
}

#[test]
fn login_not_admitted() {
    let provider = Provider::start();
    let mut entry = infra_harness::daemon::ProviderEntry::of(&provider);
    entry.allow = "{groups: [administrators]}".to_owned();
    let (daemon, alice) = (Daemon::start_for(vec![entry], |_| {}), User::new());
    let mut transcript = Transcript::new();
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.origin(), "SERVER");
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    transcript.add(&login::call(&alice, &daemon).browser(&browser).run().expect(6));
    transcript.add_files(&alice);
    transcript.compare("login-not-admitted");
}

#[test]
fn login_without_free_port() {
    let mut scene = Scene::new();
    let ports = scene.daemon.redirect_ports();
    for port in &ports {
        scene.transcript.replace(port.to_string(), "PORT");
    }
    let occupied: Vec<std::net::TcpListener> =
        ports.into_iter().filter_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok()).collect();
    assert_eq!(occupied.len(), 3);
    let (server, fingerprint) = (scene.daemon.origin(), scene.daemon.fingerprint());
    scene.log_in(&["login", &server, "--fingerprint", &fingerprint], 1);
    scene.transcript.compare("login-no-port");
}

#[test]
fn logout() {
    let mut scene = Scene::new();
    scene.run(&["logout"], 0);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    scene.transcript.note("signed in");
    scene.run(&["logout"], 0);
    scene.run(&["logout"], 0);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    scene.transcript.note("signed in again");
    scene.run(&["logout", "--forget"], 0);
    scene.transcript.add_files(&scene.alice);
    scene.run(&["logout", "--all"], 0);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    let token = login::token(&scene.alice);
    scene.transcript.note("signed in again; the daemon is away");
    scene.daemon.stop();
    scene.run_as_script(&["logout"], 4, &token);
    scene.run(&["logout"], 7);
    scene.run(&["logout"], 7);
    scene.transcript.add_files(&scene.alice);
    scene.daemon.start_again();
    scene.transcript.note("the daemon is back");
    scene.run(&["logout"], 0);
    scene.run_as_script(&["logout", "--all"], 2, &token);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    let _impostor = scene.replace_with_impostor();
    scene.run(&["logout"], 7);
    scene.run(&["logout"], 0);
    scene.transcript.compare("logout");
}

#[test]
fn status() {
    let mut scene = Scene::new();
    let forms = |scene: &mut Scene, code: i32| {
        for form in [&["status"][..], &["status", "--json"], &["status", "--quiet"]] {
            scene.run(form, code);
        }
    };
    forms(&mut scene, 3);
    scene.run(&["status", "--all"], 3);
    scene.run(&["status", "--all", "--json"], 3);
    scene.run(&["status", "infra.example.com"], 3);
    scene.run(&["status", "infra.example.com:0"], 2);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    scene.transcript.note("signed in");
    forms(&mut scene, 0);
    scene.run(&["status", "--offline"], 0);
    scene.run(&["status", "--offline", "--json"], 0);
    scene.run(&["status", "--all"], 0);
    scene.run(&["status", "--all", "--json"], 0);
    let token = login::token(&scene.alice);
    scene.transcript.note("with INFRA_TOKEN and INFRA_SERVER");
    scene.run_as_script(&["status"], 0, &token);
    scene.run_as_script(&["status", "--json"], 0, &token);
    scene.run_as_script(&["status", "--offline"], 4, &token);
    scene.transcript.note("with INFRA_TOKEN alone");
    scene.run_with(&["status"], 2, |call| call.env("INFRA_TOKEN", &token));
    scene.daemon.stop();
    scene.transcript.note("the daemon is away");
    forms(&mut scene, 4);
    scene.run(&["status", "--all"], 4);
    scene.edit_session(|session| move_to_the_past(session, "idleExpiresAt"));
    scene.transcript.note("not used for longer than it may be, as far as is known here");
    scene.run(&["status", "--offline"], 4);
    scene.edit_session(|session| move_to_the_past(session, "expiresAt"));
    scene.transcript.note("at the end of the session's lifetime");
    scene.run(&["status", "--offline"], 3);
    forms(&mut scene, 3);
    scene.daemon.start_again();
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    let token = login::token(&scene.alice);
    assert_eq!(scene.daemon.api().delete_as("/v1/session", &token).status, 204);
    scene.transcript.note("signed in again, and ended by somebody else");
    forms(&mut scene, 3);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    let _impostor = scene.replace_with_impostor();
    forms(&mut scene, 5);
    scene.transcript.add_files(&scene.alice);
    scene.transcript.compare("status");
}

#[test]
fn token() {
    let mut scene = Scene::new();
    scene.run(&["token"], 3);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    scene.transcript.note("signed in");
    scene.run(&["token"], 0);
    scene.run(&["token", "--min-left", "10m"], 0);
    scene.run(&["token", "--min-left", "24h"], 2);
    scene.run(&["token", "--min-left", "soon"], 2);
    let token = login::token(&scene.alice);
    scene.daemon.stop();
    scene.transcript.note("the daemon is away");
    scene.run(&["token"], 0);
    scene.edit_session(|session| move_to_the_past(session, "idleExpiresAt"));
    scene.transcript.note("not used for longer than it may be, as far as is known here");
    scene.run(&["token"], 4);
    scene.daemon.start_again();
    assert_eq!(scene.daemon.api().delete_as("/v1/session", &token).status, 204);
    scene.transcript.note("the daemon is back; ended by somebody else");
    scene.run(&["token"], 3);
    scene.run(&["logout"], 0);
    scene.run(&["token"], 3);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    let _impostor = scene.replace_with_impostor();
    scene.run(&["token", "--min-left", "5h"], 5);
    scene.transcript.compare("token");
}

#[test]
fn use_and_trust() {
    let mut scene = Scene::new();
    let server = scene.daemon.origin();
    scene.run(&["use"], 2);
    scene.run(&["use", &server], 2);
    scene.run(&["trust", &server], 2);
    login::succeed(&scene.alice, &scene.daemon, &scene.provider);
    scene.transcript.note("signed in");
    scene.run(&["use", &server], 0);
    scene.run(&["use", "other.example"], 2);
    scene.run(&["trust", &server], 2);
    let (right, wrong) = (scene.daemon.fingerprint(), format!("sha256:{}", "0".repeat(64)));
    scene.run(&["trust", &server, "--fingerprint", "sha256:12"], 2);
    scene.run(&["trust", &server, "--fingerprint", &wrong], 5);
    scene.run(&["trust", &server, "--fingerprint", &right], 0);
    scene.run(&["trust", &server, "--ca-file", "nowhere.pem"], 2);
    scene.run(&["status", "--quiet"], 0);
    scene.daemon.stop();
    scene.transcript.note("the daemon is away");
    scene.run(&["trust", &server, "--fingerprint", &right], 4);
    scene.run(&["use", &server], 0);
    scene.transcript.compare("use-trust");
}

#[test]
fn help() {
    let mut scene = Scene::new();
    scene.run(&[], 2);
    scene.run(&["--help"], 0);
    scene.run(&["--version"], 0);
    for command in ["login", "logout", "status", "token", "use", "trust", "doctor", "completions"] {
        scene.run(&[command, "--help"], 0);
    }
    scene.run(&["logni"], 2);
    scene.run(&["login", "--pasword", "x"], 2);
    scene.run(&["completions", "tcsh"], 2);
    scene.transcript.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    scene.transcript.compare("help");
}

#[test]
fn foreign_and_damaged_files() {
    use std::os::unix::fs::PermissionsExt;

    let mut scene = Scene::signed_in();
    let home = scene.alice.infra_home();
    for mode in [0o777, 0o1777] {
        std::fs::set_permissions(&home, std::fs::Permissions::from_mode(mode)).expect("chmod");
        scene.transcript.note(&format!("~/.infra has mode {mode:04o}"));
        scene.run(&["status", "--offline", "--quiet"], 1);
    }
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    std::fs::write(home.join("sessions.json"), "{\"version\":1,").expect("the user's own file");
    scene.transcript.note("sessions.json is torn");
    scene.run(&["status"], 3);
    std::fs::write(home.join("config.json"), "[]").expect("the user's own file");
    scene.transcript.note("config.json is something else");
    scene.run(&["status"], 3);
    std::fs::write(home.join("config.json"), r#"{"version":99,"servers":{}}"#).expect("the user's own file");
    scene.transcript.note("config.json is of a later version");
    scene.run(&["status"], 1);
    std::fs::remove_file(home.join("config.json")).expect("the user's own file");
    std::os::unix::fs::symlink("/etc/hosts", home.join("config.json")).expect("a link");
    scene.transcript.note("config.json is a link");
    scene.run(&["status"], 1);
    scene.transcript.add_files(&scene.alice);
    scene.transcript.compare("files");
}
