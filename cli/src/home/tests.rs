//! Tests on real directories: damage, locks and concurrency, on every system.

#[cfg(unix)]
mod unix;

use std::fs;

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use tempfile::TempDir;

use super::*;

const TERMINAL: Terminal =
    Terminal { interactive: false, is_terminal_output: false, quiet: true, verbose: 0 };

struct Fixture {
    directory: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("infra")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn home(&self) -> Home {
        Home::new(self.path(), TERMINAL)
    }
}

fn origin(text: &str) -> Origin {
    text.parse().expect("an origin")
}

fn add(home: &Home, server: &str) {
    let trust = TrustRecord::Pinned { pin: Pin::of_public_key(server.as_bytes()) };
    let entry =
        Server { trust, provider: None, keyring: false, ca_rollover: None, previous_trust: Vec::new() };
    home.update(|state| state.config.servers.insert(origin(server), entry)).expect("stored");
}

#[test]
fn reading_creates_nothing() {
    let fixture = Fixture::new();
    assert!(fixture.home().read().expect("nothing").config.servers.is_empty());
    assert!(!fixture.path().exists());
}

#[test]
fn damaged_file_is_renamed_and_replaced() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    for (number, damage) in
        ["", "{", "[]", "null", r#"{"version":1,"servers":7}"#, "\u{0}\u{0}"].iter().enumerate()
    {
        fs::write(fixture.file("config.json"), damage).expect("a file");
        assert!(fixture.home().read().expect("a state").config.servers.is_empty());
        let aside = fixture.file(&format!("config.json.damaged-{}", number + 1));
        assert_eq!(fs::read_to_string(aside).expect("kept"), *damage);
        add(&fixture.home(), "b.test");
        assert!(fixture.home().read().expect("a state").config.servers.contains_key(&origin("b.test")));
    }
}

#[test]
fn file_of_newer_version_is_rejected_and_kept() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    let newer = r#"{"version":2,"servers":"in another form"}"#;
    fs::write(fixture.file("config.json"), newer).expect("a file");
    assert!(matches!(fixture.home().read(), Err(HomeError::Newer { version: 2, .. })));
    assert!(matches!(fixture.home().update(|_| ()), Err(HomeError::Newer { version: 2, .. })));
    assert_eq!(fs::read_to_string(fixture.file("config.json")).expect("a file"), newer);
}

#[test]
fn unfinished_files_of_killed_processes_are_removed() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    fs::write(fixture.file(".new-a1b2c3"), "infra_").expect("a file");
    add(&fixture.home(), "b.test");
    assert!(!fixture.file(".new-a1b2c3").exists());
}

#[test]
fn concurrent_changes_are_all_kept() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for number in 0..20 {
            let home = fixture.home();
            scope.spawn(move || {
                for round in 0..5 {
                    add(&home, &format!("host-{number}-{round}.test"));
                }
            });
        }
    });
    assert_eq!(fixture.home().read().expect("a state").config.servers.len(), 100);
    for entry in fs::read_dir(fixture.path()).expect("a directory") {
        let path = entry.expect("an entry").path();
        assert!(!path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".new-")));
        let metadata = fs::metadata(&path).expect("a file");
        assert_eq!(platform::open_to_others(&path, &metadata).expect("known"), None, "{}", path.display());
    }
}

#[test]
fn login_lock_is_exclusive_and_shows_its_url() {
    let fixture = Fixture::new();
    let LoginLockAttempt::Acquired(mut lock) = fixture.home().try_login_lock().expect("an answer") else {
        panic!("nobody else logs in")
    };
    assert!(matches!(fixture.home().try_login_lock(), Ok(LoginLockAttempt::Held { url: None })));
    lock.share_url("https://okta.test/authorize?state=a");
    match fixture.home().try_login_lock() {
        Ok(LoginLockAttempt::Held { url }) => {
            assert_eq!(url.as_deref(), Some("https://okta.test/authorize?state=a"));
        }
        other => panic!("the turn is taken: {other:?}"),
    }
    drop(lock);
    assert!(matches!(fixture.home().try_login_lock(), Ok(LoginLockAttempt::Acquired(_))));
    assert_eq!(fs::read(fixture.file("login.lock")).expect("a file"), b"");
}

#[test]
fn announcement_counts_only_for_trust_it_was_made_under() {
    let origin: Origin = "a.test".parse().expect("an origin");
    let [old, next, new] = [b"a", b"b", b"c"].map(|key| TrustRecord::Pinned { pin: Pin::of_public_key(key) });
    let announced =
        |sequence| CARolloverRecord { sequence, pin: Some(Pin::of_public_key(b"b")), public: false };
    let mut state = State::default();
    let server = |trust: &TrustRecord| Server {
        trust: trust.clone(),
        provider: None,
        keyring: false,
        ca_rollover: None,
        previous_trust: Vec::new(),
    };
    state.config.servers.insert(origin.clone(), server(&old));
    assert!(!state.complete_ca_rollover(&origin, &next), "nothing was announced");
    assert!(state.record_ca_rollover(&origin, &old, announced(7)));
    assert!(!state.record_ca_rollover(&origin, &old, announced(6)), "something newer is known");
    assert_eq!(state.trust_anchors(&origin), [old.clone(), next.clone()]);

    // Meanwhile, the user accepts another identity by `infra trust`.
    let mut trusting = state.clone();
    trusting.config.servers.insert(origin.clone(), server(&new));
    assert!(!trusting.record_ca_rollover(&origin, &old, announced(8)));
    assert!(!trusting.complete_ca_rollover(&origin, &next));
    assert_eq!(trusting.trust_anchors(&origin), [new]);

    assert!(state.complete_ca_rollover(&origin, &next));
    assert_eq!(state.trust_anchors(&origin), std::slice::from_ref(&next));
    assert_eq!(state.previous_trust(&origin), std::slice::from_ref(&old));
    assert!(!state.record_ca_rollover(&origin, &next, announced(6)), "what was said before is over");
    assert!(!state.complete_ca_rollover(&origin, &old), "there is no way back");
}

#[test]
fn file_over_4_mib_is_rejected_and_kept() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    let text = fs::read_to_string(fixture.file("config.json")).expect("a file");
    let write = |size: usize| {
        let padding = " ".repeat(size - text.len());
        fs::write(fixture.file("config.json"), format!("{text}{padding}")).expect("a file");
    };
    write(4 * 1024 * 1024);
    assert!(fixture.home().read().expect("a state").config.servers.contains_key(&origin("a.test")));
    write(4 * 1024 * 1024 + 1);
    for refused in [fixture.home().read().map(|_| ()), fixture.home().update(|_| ()).map(|_| ())] {
        let path = fixture.file("config.json").display().to_string();
        assert!(
            matches!(&refused, Err(HomeError::TooLarge { path: named }) if *named == path),
            "{refused:?}"
        );
    }
    assert_eq!(fs::metadata(fixture.file("config.json")).expect("a file").len(), 4 * 1024 * 1024 + 1);
}

#[test]
fn completed_announcement_has_no_successors() {
    let origin = origin("a.test");
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    let known = fixture.home().read().expect("a state").trust(&origin).cloned().expect("a server");
    let pin = Pin::of_public_key(b"b");
    let announced = CARolloverRecord { sequence: 7, pin: Some(pin), public: true };
    let (mut state, _) =
        fixture.home().update(|state| state.record_ca_rollover(&origin, &known, announced)).expect("stored");
    assert_eq!(state.trust_anchors(&origin), [known, TrustRecord::Pinned { pin }, TrustRecord::System]);
    assert!(state.complete_ca_rollover(&origin, &TrustRecord::System));
    assert_eq!(state.trust_anchors(&origin), [TrustRecord::System]);
    assert_eq!(announced.completed(), CARolloverRecord { sequence: 7, pin: None, public: false });
}
