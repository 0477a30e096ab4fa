//! The recovery key of a shared store, with a root key that is lost.

use std::path::PathBuf;

use jiff::Timestamp;

use super::*;
use crate::keys::{RowPlace, SharedKeys};

const ORIGIN: &str = "database infra on db1";

struct Place {
    directory: tempfile::TempDir,
    root_keys: Vec<RootKeySettings>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("root.key");
        Self { root_keys: vec![RootKeySettings::Native { path }], directory }
    }

    /// Makes the root key of this place.
    async fn keys(&self) -> StoredKeys {
        StoredKeys::create(&self.root_keys, &self.data_dir()).await.expect("keys")
    }

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    async fn open(&self, stored: &StoredKeys) -> SharedKeys {
        self.try_open(stored).await.expect("the keys")
    }

    async fn try_open(&self, stored: &StoredKeys) -> Result<SharedKeys, KeyError> {
        SharedKeys::open(stored.clone(), ORIGIN, &self.root_keys, &self.data_dir()).await
    }

    async fn adopt(&self, keys: &SharedKeys, stored: &StoredKeys) {
        let adopted = keys.adopt(stored.clone(), &self.root_keys, &self.data_dir()).await;
        assert!(adopted.expect("the keys"), "something is new");
    }
}

/// What the store does with rows: they replace those of the same kind and version.
fn store(stored: &mut StoredKeys, rows: Vec<KeyRow>) {
    for row in rows {
        stored.rows.retain(|other| (other.kind, other.version) != (row.kind, row.version));
        stored.rows.push(row);
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

#[tokio::test]
async fn recovery_key_opens_store_whose_root_key_is_lost() {
    let (lost, next) = (Place::new(), Place::new());
    let mut stored = lost.keys().await;
    let keys = lost.open(&stored).await;
    let sealed = keys.row_keys().seal(&RowPlace::default(), b"alice");
    let (key, rows) = keys.next_recovery(at(100));
    assert_eq!(rows.len(), 2, "the index key and the data key");
    store(&mut stored, rows);
    lost.adopt(&keys, &stored).await;
    assert_eq!(keys.status().recovery_key_created_at, Some(at(100)));
    // A rotation needs only its public key.
    let row = keys.next_data_key(&lost.root_keys, &lost.data_dir()).await.expect("a row");
    stored.rows.push(row);
    stored.current = 2;

    next.keys().await;
    let refused = next.try_open(&stored).await.err().expect("another root key");
    assert!(refused.hint().expect("a hint").contains("infrad key rewrap --recovery"), "{refused}");
    let recovered = RecoveredRows::open(&stored, ORIGIN, &key).expect("the keys");
    let rewrapped = recovered.rewrap(&next.root_keys, &next.data_dir()).await.expect("rows");
    assert_eq!(rewrapped.keys.replaced_root_key, keys.status().root_key);
    store(&mut stored, rewrapped.stored.rows);
    let same = next.open(&stored).await;
    assert_eq!(same.row_keys().open(&RowPlace::default(), &sealed).expect("the row").as_slice(), b"alice");
    assert_eq!(same.status().root_key, rewrapped.keys.keys.root_key);
    assert_eq!(same.status().recovery_key_created_at, Some(at(100)));
    assert!(same.rows_without_recovery().is_empty());
    RecoveredRows::open(&stored, ORIGIN, &key).expect("it opens the store again");
}

#[tokio::test]
async fn replaced_or_foreign_recovery_key_opens_nothing() {
    let place = Place::new();
    let mut stored = place.keys().await;
    let keys = place.open(&stored).await;
    let (first, rows) = keys.next_recovery(at(100));
    let missing = RecoveredRows::open(&stored, ORIGIN, &first).err().expect("no recovery key");
    assert!(matches!(missing, KeyError::NoRecovery { .. }), "{missing}");
    store(&mut stored, rows);
    place.adopt(&keys, &stored).await;
    // A clock that was ahead does not make the first one win.
    let (second, rows) = keys.next_recovery(at(50));
    store(&mut stored, rows);
    place.adopt(&keys, &stored).await;
    assert!(keys.status().recovery_key_created_at > Some(at(100)));
    RecoveredRows::open(&stored, ORIGIN, &second).expect("the keys");
    let replaced = RecoveredRows::open(&stored, ORIGIN, &first).err().expect("it was replaced");
    assert!(matches!(replaced, KeyError::OtherRecoveryKey { .. }), "{replaced}");
    let other = StoredKeys { store: "another".to_owned(), ..stored.clone() };
    assert!(RecoveredRows::open(&other, ORIGIN, &second).is_err());
    let without_data = StoredKeys {
        rows: stored.rows.iter().filter(|row| row.kind == KeyKind::Index).cloned().collect(),
        ..stored
    };
    assert!(RecoveredRows::open(&without_data, ORIGIN, &second).is_err());
}

#[tokio::test]
async fn recovery_key_that_someone_planted_is_not_used() {
    let (place, other) = (Place::new(), Place::new());
    let mut stored = place.keys().await;
    let keys = place.open(&stored).await;
    let (key, rows) = keys.next_recovery(at(100));
    store(&mut stored, rows);
    let before = stored.clone();
    place.adopt(&keys, &stored).await;
    // The attacker has keys of their own, and everything that the tables hold.
    let foreign = other.open(&other.keys().await).await.next_recovery(at(900)).1;
    for row in &mut stored.rows {
        row.recovery = foreign.iter().find(|it| it.kind == row.kind).and_then(|it| it.recovery.clone());
    }
    assert_eq!(place.open(&stored).await.status().recovery_key_created_at, None);
    place.adopt(&keys, &stored).await;
    assert_eq!(keys.status().recovery_key_created_at, Some(at(100)));
    // A member that runs puts its own back: also if it was deleted, or an earlier one was put back.
    store(&mut stored, keys.rows_without_recovery());
    RecoveredRows::open(&stored, ORIGIN, &key).expect("the keys");
    place.adopt(&keys, &stored).await;
    let (later, rows) = keys.next_recovery(at(200));
    store(&mut stored, rows);
    place.adopt(&keys, &stored).await;
    place.adopt(&keys, &before).await;
    let next = keys.next_data_key(&place.root_keys, &place.data_dir()).await.expect("a row");
    let opens = |key| open(&stored, &next, ORIGIN, key).is_ok();
    assert!(opens(&later) && !opens(&key));
    assert_eq!(keys.rows_without_recovery().len(), 2);
}

#[tokio::test]
async fn copy_of_a_store_opens_with_its_recovery_key() {
    let place = Place::new();
    let mut stored = place.keys().await;
    let keys = place.open(&stored).await;
    let (key, rows) = keys.next_recovery(at(100));
    store(&mut stored, rows);
    place.adopt(&keys, &stored).await;
    let recovery = keys.recovery_public_key();
    let copy =
        StoredKeys::create_for(&stored.store, recovery.as_ref(), &place.root_keys, &place.data_dir()).await;
    RecoveredRows::open(&copy.expect("keys"), ORIGIN, &key).expect("the keys of the copy");
    let backup = keys.backup_keys(&place.data_dir()).await.expect("keys");
    let opener = crate::keys::Opener::Recovery(&key);
    crate::keys::BackupKeys::open(&backup.header(), "backup", opener, &place.data_dir())
        .await
        .expect("the backup");
}
