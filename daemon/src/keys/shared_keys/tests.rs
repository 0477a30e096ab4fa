//! Keys of a store that several members open.

use std::path::PathBuf;

use super::*;
use crate::keys::RowPlace;

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

    fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    async fn open(&self, stored: StoredKeys) -> Result<SharedKeys, KeyError> {
        SharedKeys::open(stored, ORIGIN, &self.root_keys, &self.data_dir()).await
    }
}

#[tokio::test]
async fn members_with_the_root_key_open_the_same_keys() {
    let place = Place::new();
    let stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let one = place.open(stored.clone()).await.expect("the keys");
    let other = place.open(stored).await.expect("the keys");
    let at = RowPlace { table: "sessions", ..RowPlace::default() };
    let row = one.row_keys().seal(&at, b"alice");
    assert_eq!(other.row_keys().open(&at, &row).expect("the same key").as_slice(), b"alice");
    assert_eq!(one.row_keys().subject_key("a"), other.row_keys().subject_key("a"));
    let ticket = one.ticket_key().seal(b"ticket");
    assert_eq!(other.ticket_key().open(&ticket).expect("the same key").as_slice(), b"ticket");
    let field = super::super::Place { table: "t", row: "r", column: "c", version: 1 };
    let sealed = one.field_sealer().seal(field, b"field");
    assert_eq!(other.field_sealer().open(field, &sealed).expect("the same key").as_slice(), b"field");
}

#[tokio::test]
async fn changed_key_rows_do_not_open() {
    let place = Place::new();
    let stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let edits: [fn(&mut StoredKeys); 6] = [
        |keys| keys.store = "another".to_owned(),
        |keys| keys.current = 2,
        |keys| keys.rows.truncate(1),
        |keys| keys.rows.iter_mut().for_each(|row| row.version = 2),
        |keys| keys.rows.iter_mut().for_each(|row| row.check = [0; 32]),
        |keys| {
            keys.rows.iter_mut().for_each(|row| {
                row.kind = if row.kind == KeyKind::Data { KeyKind::Index } else { KeyKind::Data };
            });
        },
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let mut changed = stored.clone();
        edit(&mut changed);
        let error = place.open(changed).await.err().expect("it does not open");
        assert!(matches!(&error, KeyError::HeaderDamaged { path } if path == ORIGIN), "{number}: {error}");
    }
    let other = Place::new();
    StoredKeys::create(&other.root_keys, &other.data_dir()).await.expect("another root key");
    let error = other.open(stored).await.err().expect("another root key");
    assert!(matches!(error, KeyError::OtherRootKey { .. }), "{error}");
}

#[tokio::test]
async fn member_adopts_rotation_of_another() {
    let place = Place::new();
    let mut stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let keys = place.open(stored.clone()).await.expect("the keys");
    let adopt =
        async |stored: &StoredKeys| keys.adopt(stored.clone(), &place.root_keys, &place.data_dir()).await;
    assert!(!adopt(&stored).await.expect("the keys"), "nothing is new");
    let (field, at) =
        (super::super::Place { table: "t", row: "r", column: "c", version: 1 }, RowPlace::default());
    let (sealed, ticket) = (keys.field_sealer().seal(field, b"old"), keys.ticket_key().seal(b"old"));
    let row = keys.row_keys().seal(&at, b"old");

    // Published: held, but not used yet.
    stored.rows.push(keys.next_data_key(&place.root_keys, &place.data_dir()).await.expect("a row"));
    assert!(adopt(&stored).await.expect("the keys"));
    assert_eq!((keys.row_keys().current_version(), keys.row_keys().newest_version()), (1, 2));
    stored.current = 2;
    assert!(adopt(&stored).await.expect("the keys"));
    assert_eq!((keys.status().data_key_version, keys.row_keys().current_version()), (2, 2));
    assert_eq!(keys.row_keys().open(&at, &row).expect("the older key").as_slice(), b"old");
    assert_eq!(keys.ticket_key().open(&ticket).expect("the older key").as_slice(), b"old");

    // The replaced key is gone: what it sealed does not open, except fields, which are inside of rows.
    stored.rows.retain(|row| row.kind == KeyKind::Index || row.version == 2);
    assert!(adopt(&stored).await.expect("the keys"));
    assert!(keys.row_keys().open(&at, &row).is_err());
    assert!(keys.ticket_key().open(&ticket).is_err());
    assert_eq!(keys.field_sealer().open(field, &sealed).expect("the index key").as_slice(), b"old");
    assert_eq!(place.open(stored).await.expect("the keys").row_keys().current_version(), 2);
}

#[tokio::test]
async fn member_keeps_keys_when_store_is_replaced() {
    let place = Place::new();
    let stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let keys = place.open(stored.clone()).await.expect("the keys");
    let copied = StoredKeys::create_for(&stored.store, None, &place.root_keys, &place.data_dir()).await;
    let adopted = keys.adopt(copied.expect("keys"), &place.root_keys, &place.data_dir()).await;
    assert!(matches!(adopted, Err(KeyError::StoreReplaced { .. })), "{adopted:?}");
    assert_eq!(keys.stored(), stored);
}

#[tokio::test]
async fn rows_of_someone_else_bring_no_data_key_back() {
    let (place, other) = (Place::new(), Place::new());
    let mut stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let keys = place.open(stored.clone()).await.expect("the keys");
    let foreign = StoredKeys::create(&other.root_keys, &other.data_dir()).await.expect("other keys");
    let mut foreign = foreign.rows.into_iter().find(|row| row.kind == KeyKind::Data).expect("a data key");
    foreign.version = 9;
    stored.rows.push(foreign);
    let opened = place.open(stored.clone()).await.expect("the others open");
    assert_eq!(opened.row_keys().newest_version(), 1);
    stored.rows.pop();

    stored.rows.push(keys.next_data_key(&place.root_keys, &place.data_dir()).await.expect("a row"));
    stored.current = 2;
    let adopt =
        async |stored: &StoredKeys| keys.adopt(stored.clone(), &place.root_keys, &place.data_dir()).await;
    assert!(adopt(&stored).await.expect("the keys"));
    stored.current = 1;
    assert!(matches!(adopt(&stored).await, Err(KeyError::HeaderDamaged { .. })));
    assert_eq!(keys.row_keys().current_version(), 2);
}

#[tokio::test]
async fn member_keeps_keys_when_root_key_is_replaced() {
    let (place, next) = (Place::new(), Place::new());
    let mut stored = StoredKeys::create(&place.root_keys, &place.data_dir()).await.expect("keys");
    let keys = place.open(stored.clone()).await.expect("the keys");
    StoredKeys::create(&next.root_keys, &next.data_dir()).await.expect("another root key");
    stored.rows = keys.rewrapped(&next.root_keys, &next.data_dir()).await.expect("rows");
    // This member has the keys in memory, and does not need the new root key.
    assert!(keys.adopt(stored.clone(), &place.root_keys, &place.data_dir()).await.expect("the keys"));
    let same = next.open(stored).await.expect("the keys");
    let at = RowPlace::default();
    assert!(same.row_keys().open(&at, &keys.row_keys().seal(&at, b"row")).is_ok());
    assert_eq!(same.status().root_key, keys.status().root_key);

    // It does not wrap them back, but a member with the key may, also if its file is lost by now.
    let refused = keys.rewrapped(&place.root_keys, &place.data_dir()).await.expect_err("refused");
    assert!(matches!(&refused, KeyError::WrappedElsewhere { .. }), "{refused}");
    let both = [&place.root_keys[..], &next.root_keys[..]].concat();
    keys.rewrapped(&both, &place.data_dir()).await.expect("it has the key now");
    same.rewrapped(&place.root_keys, &place.data_dir()).await.expect("it used the key");
}
