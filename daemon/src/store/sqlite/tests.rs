//! What only SQLCipher does: files, keys, schema, connections and the rollback guard.

mod rollback;
mod transfer;
mod written_rows;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use infra_shared::api::User;
use jiff::SignedDuration;

use super::*;
use crate::store::contract::{Fixture, at, revoke, session, session_with_token};
use crate::store::engine::Engine;
use crate::store::{EndReason, NewSession, SessionSelector, Store, StoredSession, TicketState};

/// The engine of `store`.
fn engine(store: &Store) -> &Sqlite {
    let Engine::Sqlite(engine) = &store.engine else { unreachable!("the store is in a file") };
    engine
}

/// Why the store of `fixture` does not open.
async fn refusal(fixture: &Fixture) -> StoreError {
    Store::open(fixture.path(), fixture.keys.database_key()).await.err().expect("the store is refused")
}

#[tokio::test]
async fn files_contain_no_plaintext() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let new = session("subject-canary", 0);
    store.open_session(new.clone(), 48).await.expect("stored");

    let mut seen = 0;
    for entry in fs::read_dir(fixture.directory.path().join("data")).expect("a directory") {
        let path = entry.expect("an entry").path();
        assert_eq!(
            fs::metadata(&path).expect("a file").permissions().mode() & 0o077,
            0,
            "{}",
            path.display()
        );
        let bytes = fs::read(&path).expect("a file");
        seen += bytes.len();
        for canary in [
            b"canary".as_slice(),
            b"SQLite format",
            new.id.as_str().as_bytes(),
            &new.token_hash.0,
            b"okta.test",
        ] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "{}", path.display());
        }
    }
    assert!(seen > 4096, "the rows must be somewhere");
}

#[tokio::test]
async fn unencrypted_database_is_rejected() {
    let fixture = Fixture::new().await;
    let plain = rusqlite::Connection::open(fixture.path()).expect("a database");
    plain.execute_batch("CREATE TABLE sessions (id TEXT)").expect("a table");
    drop(plain);
    assert!(matches!(refusal(&fixture).await, StoreError::File(FileError::NotEncrypted { .. })));
}

#[tokio::test]
async fn wrong_database_key_is_reported_as_such() {
    let (fixture, other) = (Fixture::new().await, Fixture::new().await);
    drop(fixture.open().await);
    let error = Store::open(fixture.path(), other.keys.database_key()).await.err().expect("refused");
    assert!(matches!(error, StoreError::File(FileError::WrongKey { .. })), "{error}");
    assert!(!error.to_string().contains("file is not a database"));
}

#[tokio::test]
async fn damaged_database_is_rejected() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await);
    let mut bytes = fs::read(fixture.path()).expect("a file");
    bytes[100] ^= 1;
    fs::write(fixture.path(), bytes).expect("a file");
    assert!(matches!(refusal(&fixture).await, StoreError::File(FileError::WrongKey { .. })));
}

#[tokio::test]
async fn newer_schema_is_rejected() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await);
    let connection = encryption::open(&fixture.path(), &fixture.keys.database_key()).expect("a connection");
    connection.pragma_update(None, "user_version", 99).expect("a version");
    drop(connection);
    assert!(matches!(refusal(&fixture).await, StoreError::NewerSchema { found: 99, known: 1, .. }));
}

#[tokio::test]
async fn migration_keeps_copy_for_older_infrad() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await);
    let (path, key) = (fixture.path(), fixture.keys.database_key());
    let kept = schema::copy_before(&path, 1);
    assert!(!kept.exists(), "nothing was in the new database");
    // Left over from a start that was killed during the copy.
    fs::write(&kept, "half a copy").expect("a file");

    let [first] = schema::MIGRATIONS;
    let migrations = [first, "CREATE TABLE later (number INTEGER) STRICT", "DROP TABLE providers"];
    let mut connection = encryption::open(&path, &key).expect("a connection");
    schema::migrate(&migrations, &mut connection, &path, &key).expect("migrated");
    drop(connection);
    assert!(matches!(refusal(&fixture).await, StoreError::NewerSchema { found: 3, known: 1, .. }));
    assert!(!schema::copy_before(&path, 2).exists(), "one copy for each start is enough");
    assert_eq!(fs::metadata(&kept).expect("a copy").permissions().mode() & 0o777, 0o600);
    assert!(!fs::read(&kept).expect("a copy").starts_with(b"SQLite format 3"), "it is encrypted");

    // As in `docs/upgrading.md`: replace the database with the copy.
    remove(&path).expect("removed");
    fs::rename(&kept, &path).expect("renamed");
    fixture.open().await.check().await.expect("an answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_scans_delay_no_look_up_write_or_copy() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    let (open_gate, gate) = std::sync::mpsc::channel::<()>();
    let (starting, mut started) = tokio::sync::mpsc::unbounded_channel();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    // More scans than there are readers. Each waits at the gate.
    let scans: Vec<_> = (0..2 * connections::READERS)
        .map(|_| {
            let (store, gate, starting) = (store.clone(), gate.clone(), starting.clone());
            let scan = move |_: &rusqlite::Connection| {
                starting.send(()).expect("the test waits");
                Ok(gate.lock().expect("no panic").recv().is_err())
            };
            tokio::spawn(async move { engine(&store).connections.scan(scan).await })
        })
        .collect();
    started.recv().await.expect("a scan");
    store.touch_session(&new.id, at(7)).await.expect("a write");
    store.verify_sessions().await.expect("a verification");
    let copy = DatabaseFile {
        path: fixture.directory.path().join("copy.db"),
        key: fixture.keys.backup_keys().database_key(),
        sealer: fixture.keys.field_sealer(),
    };
    store.copy_to(copy, fixture.keys.field_sealer(), at(0)).await.expect("a copy");
    assert!(store.find_session(&new.id).await.expect("a look-up").is_some());
    drop(open_gate);
    for scan in scans {
        assert!(scan.await.expect("no panic").expect("an answer"), "the gate was open");
    }
}

#[tokio::test]
async fn token_purged_between_lookups_is_unknown() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await;
    let find = || engine(&store).connections.read(|reader| audience_tokens::find(reader, sessions::DUMMY_ID));
    assert!(find().expect("an answer").is_some());
    let delete = "DELETE FROM audience_tokens";
    engine(&store).connections.writer.lock().expect("the writer").execute(delete, []).expect("deleted");
    assert!(find().expect("not an error").is_none());
}
