//! Keys in a real directory: created once, reopened, and rejected if anything does not match.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::platform::PlatformError;

struct Directories {
    directory: TempDir,
}

impl Directories {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("data")).expect("a directory");
        Self { directory }
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn root_key(&self) -> PathBuf {
        self.directory.path().join("keys/root.key")
    }

    async fn open(&self) -> Result<Keys, KeyError> {
        let settings = RootKeySettings::Native { path: self.root_key() };
        Keys::open_or_create(&self.data_dir(), &[settings]).await
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

async fn refusal(place: &Directories) -> KeyError {
    place.open().await.err().expect("the keys are refused")
}

#[tokio::test]
async fn keys_are_created_once_and_reopened() {
    let place = Directories::new();
    let first = place.open().await.expect("new keys");
    assert_eq!(mode(&place.root_key()), 0o400);
    assert_eq!(mode(&place.data_dir().join("keys.json")), 0o600);

    let second = place.open().await.expect("the same keys");
    assert_eq!(first.database_key().expose(), second.database_key().expose());
    assert_eq!(first.database_file(), second.database_file());
}

#[tokio::test]
async fn root_key_readable_by_group_is_rejected() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    fs::set_permissions(place.root_key(), Permissions::from_mode(0o440)).expect("a mode");
    assert!(matches!(refusal(&place).await, KeyError::RootKeyFile(PlatformError::TooOpen { .. })));
}

#[tokio::test]
async fn root_key_linked_into_data_directory_is_rejected() {
    let place = Directories::new();
    std::os::unix::fs::symlink(place.data_dir(), place.directory.path().join("keys")).expect("a link");
    assert!(matches!(refusal(&place).await, KeyError::RootKeyBesideData { .. }));
}

#[tokio::test]
async fn missing_root_key_is_not_recreated() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    fs::remove_file(place.root_key()).expect("a file");
    assert!(matches!(refusal(&place).await, KeyError::RootKeyGone { .. }));
    assert!(!place.root_key().exists());
}

#[tokio::test]
async fn missing_next_root_key_does_not_block_current_one() {
    let place = Directories::new();
    let keys = place.open().await.expect("new keys");
    let next = RootKeySettings::Native { path: place.directory.path().join("next/root.key") };
    let now = RootKeySettings::Native { path: place.root_key() };
    let opened = Keys::open_or_create(&place.data_dir(), &[next, now]).await.expect("the second one fits");
    assert_eq!(opened.database_file(), keys.database_file());
}

#[tokio::test]
async fn only_first_start_creates_root_key() {
    let place = Directories::new();
    let keys = place.open().await.expect("new keys");
    let next = [RootKeySettings::Native { path: place.directory.path().join("next/root.key") }];
    let status = keys.status();
    let rotated = keys.begin_rotation(&next, Timestamp::UNIX_EPOCH).await.map(drop);
    let backup = keys.backup_keys();
    let restored = backup.begin_restore(&place.directory.path().join("elsewhere"), &next).await.map(drop);
    for refused in [keys.rewrap(&next).await.map(drop), rotated, restored] {
        let error = refused.expect_err("a root key that is missing");
        assert!(matches!(&error, KeyError::RootKeyMissing { .. }), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("head -c 32 /dev/urandom")), "{error}");
    }
    assert!(!place.directory.path().join("next").exists());
    assert_eq!(keys.status(), status);
    assert!(keys.root_key().missing_file().is_none());
    fs::remove_file(place.root_key()).expect("a file");
    assert_eq!(keys.root_key().missing_file(), Some(place.root_key()));
}

#[tokio::test]
async fn other_root_key_is_reported_as_such() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    fs::remove_file(place.root_key()).expect("a file");
    crate::platform::create_file(&place.root_key(), &[7; 32], 0o400).expect("another key");
    let error = refusal(&place).await;
    assert!(matches!(error, KeyError::OtherRootKey { .. }), "{error}");
}

#[tokio::test]
async fn root_key_with_wrong_length_is_rejected() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    fs::remove_file(place.root_key()).expect("a file");
    crate::platform::create_file(&place.root_key(), &[7; 31], 0o400).expect("a short key");
    assert!(matches!(refusal(&place).await, KeyError::RootKeyLength { bytes: 31, .. }));
}

#[tokio::test]
async fn changed_header_is_rejected() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    let path = place.data_dir().join("keys.json");
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a header")).expect("JSON");
    for (member, value) in [
        ("wrappedDataKey", serde_json::json!("AAAA")),
        ("check", serde_json::json!("00")),
        ("database", serde_json::json!("other.db")),
        ("database", serde_json::json!("../infrad.db")),
        ("extra", serde_json::json!(1)),
    ] {
        let mut changed = good.clone();
        changed[member] = value;
        fs::write(&path, changed.to_string()).expect("a header");
        assert!(matches!(refusal(&place).await, KeyError::HeaderDamaged { .. }), "{member}");
    }
    let mut newer = good;
    newer["version"] = serde_json::json!(2);
    fs::write(&path, newer.to_string()).expect("a header");
    assert!(matches!(refusal(&place).await, KeyError::HeaderNewer { version: 2, known: 1, .. }));
}

#[tokio::test]
async fn database_without_header_gets_no_new_keys() {
    let place = Directories::new();
    place.open().await.expect("new keys");
    fs::write(place.data_dir().join("infrad.db"), "rows").expect("a database");
    fs::remove_file(place.data_dir().join("keys.json")).expect("a header");
    assert!(matches!(refusal(&place).await, KeyError::HeaderGone { .. }));
}
