//! Tests on real directories: modes, links, damage and concurrency.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

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

    /// Names and modes of the files.
    fn files(&self) -> Vec<(String, u32)> {
        let mut files: Vec<_> = fs::read_dir(self.path())
            .expect("a directory")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let mode = entry.metadata().expect("a file").permissions().mode() & 0o777;
                (entry.file_name().to_string_lossy().into_owned(), mode)
            })
            .collect();
        files.sort();
        files
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
fn stored_state_is_read_back_and_private() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    assert!(fixture.home().read().expect("a state").config.servers.contains_key(&origin("a.test")));
    assert_eq!(fs::metadata(fixture.path()).expect("a directory").permissions().mode() & 0o777, 0o700);
    assert_eq!(fixture.files(), [("config.json".to_owned(), 0o600), ("lock".to_owned(), 0o600)]);
}

#[test]
fn open_files_are_tightened_and_the_directory_unchanged() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    for mode in [0o700, 0o711, 0o755, 0o1755, 0o2750] {
        fs::set_permissions(fixture.path(), Permissions::from_mode(mode)).expect("a mode");
        fs::set_permissions(fixture.file("config.json"), Permissions::from_mode(0o644)).expect("a mode");
        fixture.home().read().expect("a state");
        assert_eq!(mode_of(&fixture.path()), mode);
        assert_eq!(fixture.files()[0], ("config.json".to_owned(), 0o600));
    }
}

#[test]
fn directory_that_others_can_write_to_is_refused_unchanged() {
    for mode in [0o1777, 0o777, 0o775, 0o770, 0o702] {
        let fixture = Fixture::new();
        fs::create_dir(fixture.path()).expect("a directory");
        fs::set_permissions(fixture.path(), Permissions::from_mode(mode)).expect("a mode");
        for refused in [fixture.home().read().map(drop), fixture.home().update(|_| ()).map(drop)] {
            let Err(error @ HomeError::WritableByOthers { .. }) = refused else { panic!("{refused:?}") };
            let failure = Failure::from(error);
            let remedy = if mode == 0o1777 { "/infra: `infra` creates it" } else { "chmod go-w" };
            assert!(failure.hint_text().is_some_and(|hint| hint.contains(remedy)), "{failure:?}");
        }
        assert_eq!(mode_of(&fixture.path()), mode);
        assert_eq!(fs::read_dir(fixture.path()).expect("a directory").count(), 0);
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).expect("a directory").permissions().mode() & 0o7777
}

#[test]
fn links_are_rejected_and_their_targets_unchanged() {
    let fixture = Fixture::new();
    let elsewhere = tempfile::tempdir().expect("a directory");
    symlink(elsewhere.path(), fixture.path()).expect("a link");
    assert!(matches!(fixture.home().update(|_| ()), Err(HomeError::Link { .. })));

    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    let target = elsewhere.path().join("target");
    fs::write(&target, "keep").expect("a file");
    for name in ["config.json", "sessions.json", "lock"] {
        let _ = fs::remove_file(fixture.file(name));
        symlink(&target, fixture.file(name)).expect("a link");
        assert!(matches!(fixture.home().update(|_| ()), Err(HomeError::Link { .. })), "{name}");
        fs::remove_file(fixture.file(name)).expect("a link");
    }
    assert_eq!(fs::read_to_string(&target).expect("a file"), "keep");
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
fn pipe_instead_of_file_does_not_block() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    fs::remove_file(fixture.file("config.json")).expect("a file");
    let status =
        std::process::Command::new("mkfifo").arg(fixture.file("config.json")).status().expect("mkfifo");
    assert!(status.success());
    assert!(matches!(fixture.home().read(), Err(HomeError::OtherKind { .. })));
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
    assert!(fixture.files().iter().all(|(name, mode)| !name.starts_with(".new-") && *mode == 0o600));
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
fn lossy_read_returns_state_and_repairs_nothing() {
    let fixture = Fixture::new();
    let servers = || Home::read_lossy(&fixture.path()).config.servers;
    assert!(servers().is_empty() && !fixture.path().exists());
    add(&fixture.home(), "a.test");
    fs::set_permissions(fixture.file("config.json"), Permissions::from_mode(0o644)).expect("a mode");
    assert!(servers().contains_key(&origin("a.test")));
    let text = fs::read(fixture.file("config.json")).expect("a file");
    assert_eq!(fixture.files()[0], ("config.json".to_owned(), 0o644));

    fs::write(fixture.file("elsewhere"), &text).expect("a file");
    fs::remove_file(fixture.file("config.json")).expect("a file");
    symlink(fixture.file("elsewhere"), fixture.file("config.json")).expect("a link");
    assert!(servers().is_empty(), "a link is not followed");
    fs::remove_file(fixture.file("config.json")).expect("a link");
    fs::write(fixture.file("config.json"), &text[..text.len() / 2]).expect("a file");
    assert!(servers().is_empty());
    assert_eq!(fs::read(fixture.file("config.json")).expect("as it was"), text[..text.len() / 2]);
}

#[test]
fn socket_instead_of_file_is_not_called_a_link() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    fs::remove_file(fixture.file("config.json")).expect("a file");
    let _socket = std::os::unix::net::UnixListener::bind(fixture.file("config.json")).expect("a socket");
    assert!(matches!(fixture.home().read(), Err(HomeError::Io { .. })));
}

#[test]
fn private_file_keeps_its_mode() {
    let fixture = Fixture::new();
    add(&fixture.home(), "a.test");
    for mode in [0o400, 0o600, 0o700] {
        fs::set_permissions(fixture.file("config.json"), Permissions::from_mode(mode)).expect("a mode");
        fixture.home().read().expect("a state");
        assert_eq!(fixture.files()[0], ("config.json".to_owned(), mode));
    }
}

#[test]
fn equal_or_wider_trust_option_agrees_with_record() {
    let (ours, next) =
        (infra_harness::authority::Authority::new(), infra_harness::authority::Authority::new());
    let pem = |authority: &infra_harness::authority::Authority| {
        fs::read_to_string(authority.file()).expect("a file")
    };
    let (pin, other) = (ours.pin(), Pin::of_public_key(b"another"));
    let pinned = |pin: Pin| TrustRecord::Pinned { pin };
    let file = |certificates: String, pin: Option<Pin>| TrustRecord::CaFile { certificates, pin };
    let (small, large) = (file(pem(&ours), None), file(pem(&ours) + &pem(&next), None));
    let garbage = file("none".to_owned(), None);

    assert_eq!(TrustRecord::System.pins(), []);
    assert_eq!(pinned(other).pins(), [other]);
    assert_eq!(file(pem(&ours), Some(other)).pins(), [other]);
    assert_eq!(large.pins(), [pin, next.pin()]);
    assert_eq!(garbage.pins(), []);
    assert_eq!(
        [TrustRecord::System.name(), pinned(pin).name(), small.name()],
        ["system", "pinned", "ca_file"]
    );
    for (known, offered) in [
        (&TrustRecord::System, &TrustRecord::System),
        (&pinned(pin), &pinned(pin)),
        (&garbage, &garbage),
        (&small, &large),
        (&small, &file(format!("{}\n", pem(&ours)), None)),
        (&file(pem(&ours), Some(pin)), &file(pem(&ours) + &pem(&next), Some(pin))),
        (&pinned(pin), &small),
        (&pinned(pin), &large),
    ] {
        assert!(known.agrees_with(offered), "{known:?} {offered:?}");
    }
    for (known, offered) in [
        (&TrustRecord::System, &pinned(pin)),
        (&pinned(pin), &TrustRecord::System),
        (&pinned(pin), &pinned(other)),
        (&large, &small),
        (&small, &file(pem(&next), None)),
        (&garbage, &small),
        (&small, &garbage),
        (&small, &file(pem(&ours), Some(pin))),
        (&file(pem(&ours), Some(pin)), &small),
        (&pinned(other), &large),
        (&pinned(pin), &file(pem(&ours), Some(other))),
        (&small, &pinned(pin)),
    ] {
        assert!(!known.agrees_with(offered), "{known:?} {offered:?}");
    }
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
