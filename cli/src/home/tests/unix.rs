//! Modes, links and other kinds of files, on Unix.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

impl Fixture {
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
