//! The store in a real directory.

mod acme;
mod audience_tokens;
mod rollback;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use infra_shared::api::{LoginMethod, User};
use infra_shared::token_text::{SessionID, SessionToken};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::*;
use crate::keys::{Keys, RootKeySettings};
use crate::store::{
    BegunOrder, CertificateRow, ClientInfo, EndReason, Ended, NewSession, OrderID, ProviderRow,
    SessionSelector, StoredSession, TicketState, TokenHash,
};

struct Fixture {
    directory: TempDir,
    keys: Keys,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        Self { directory, keys }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("data").join(self.keys.database_file())
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(self.path(), self.keys.database_key()).await
    }

    async fn refusal(&self) -> StoreError {
        self.open().await.err().expect("the store is refused")
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

/// A session of the user `subject`, opened at `second`, valid for one hour.
fn session(subject: &str, second: i64) -> NewSession {
    let token = SessionToken::mint();
    NewSession {
        id: token.id().clone(),
        token_hash: TokenHash::of(&token),
        user: User {
            name: Some("Alice Canary".to_owned()),
            email: Some("canary@example.com".to_owned()),
            groups: vec!["engineering".to_owned(), "on \"call\"".to_owned()],
            provider: "okta".to_owned(),
            issuer: "https://okta.test".to_owned(),
            subject: subject.to_owned(),
        },
        email_verified: true,
        client_info: ClientInfo {
            device: Some("laptop".to_owned()),
            login_method: LoginMethod::Paste,
            address: Some("2001:db8::1".parse().expect("an address")),
        },
        refresh_token: None,
        created_at: at(second),
        expires_at: at(second + 3600),
    }
}

/// Revokes one session. Returns `false` if it does not exist or has already ended.
async fn revoke(store: &Store, id: &SessionID, second: i64, reason: EndReason) -> bool {
    let one = SessionSelector::Ids(vec![id.clone()]);
    !store.revoke(one, at(second), reason).await.expect("stored").is_empty()
}

#[tokio::test]
async fn session_survives_reopening_of_store() {
    let fixture = Fixture::new().await;
    let new = session("00u1", 0);
    let store = fixture.open().await.expect("a store");
    assert!(store.find_session(&new.id).await.expect("an answer").is_none());
    store.open_session(new.clone(), 48).await.expect("stored");
    drop(store);

    let found = fixture
        .open()
        .await
        .expect("the store")
        .find_session(&new.id)
        .await
        .expect("an answer")
        .expect("a row");
    assert_eq!((found.user, found.email_verified), (new.user, true));
    assert_eq!((found.created_at, found.expires_at, found.last_used_at), (at(0), at(3600), at(0)));
    assert_eq!(found.ended, None);
}

#[tokio::test]
async fn token_hash_matches_only_its_own_token() {
    let (token, other) = (SessionToken::mint(), SessionToken::mint());
    assert!(TokenHash::of(&token).equals(&TokenHash::of(&token)));
    assert!(!TokenHash::of(&token).equals(&TokenHash::of(&other)));
}

#[tokio::test]
async fn last_used_at_never_moves_back() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    for (touched, expected) in [(100, 100), (50, 100), (101, 101)] {
        let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
        store.touch_session(&found.id, &found.token_hash, at(touched)).await.expect("stored");
        let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
        assert_eq!(found.last_used_at, at(expected));
    }
}

#[tokio::test]
async fn session_ends_once_and_keeps_first_reason() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");

    assert!(revoke(&store, &new.id, 10, EndReason::Logout).await);
    assert!(!revoke(&store, &new.id, 20, EndReason::ConfigurationChanged).await);

    let found = store.find_session(&new.id).await.expect("an answer").expect("a row");
    assert_eq!(found.ended, Some(Ended { at: at(10), reason: EndReason::Logout }));
    assert!(!revoke(&store, SessionToken::mint().id(), 1, EndReason::Logout).await);
}

#[tokio::test]
async fn oldest_session_ends_when_limit_is_exceeded() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let (first, second, third) = (session("00u1", 0), session("00u1", 1), session("00u1", 2));
    let of_another = session("00u2", 0);
    for new in [&first, &of_another, &second] {
        assert_eq!(store.open_session(new.clone(), 2).await.expect("stored"), []);
    }

    let revoked = store.open_session(third.clone(), 2).await.expect("stored");
    assert_eq!(revoked.iter().map(|session| &session.id).collect::<Vec<_>>(), [&first.id]);

    let found = store.find_session(&first.id).await.expect("an answer").expect("a row");
    assert_eq!(found.ended, Some(Ended { at: at(2), reason: EndReason::SessionLimit }));
    let live = store.live_sessions(at(3), None, 10).await.expect("rows").sessions;
    let live: Vec<_> = live.into_iter().map(|stored| stored.id).collect();
    assert_eq!(live.len(), 3);
    let of_user = store.sessions_of("https://okta.test", &third.user.subject, at(3)).await.expect("rows");
    assert_eq!(of_user.iter().map(|stored| &stored.id).collect::<Vec<_>>(), [&third.id, &second.id]);
    assert_eq!(of_user.first().expect("a row").client_info, third.client_info);
    let after = async |opened: i64, at_most: u32| {
        let user = &third.user.subject;
        let found =
            store.sessions_after("https://okta.test", user, at(opened), at_most, at(3)).await.expect("rows");
        found.into_iter().map(|stored| stored.id).collect::<Vec<_>>()
    };
    assert_eq!(after(0, 1).await, std::slice::from_ref(&third.id));
    assert_eq!(after(1, 100).await, std::slice::from_ref(&third.id));
    assert_eq!(after(2, 100).await, []);
    assert!([second.id, third.id, of_another.id].iter().all(|id| live.contains(id)));
}

#[tokio::test]
async fn pages_contain_each_live_session_once() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let mut expected = Vec::new();
    for second in 0..7 {
        let new = session("00u1", second);
        store.open_session(new.clone(), 48).await.expect("stored");
        if second == 3 {
            revoke(&store, &new.id, 10, EndReason::Logout).await;
        } else {
            expected.push(new.id);
        }
    }
    expected.sort_by(|one, other| one.as_str().cmp(other.as_str()));
    for at_most in [1, 2, 3, 6, 100] {
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            let page = store.live_sessions(at(20), next, at_most).await.expect("an answer");
            assert!(page.sessions.len() <= at_most as usize);
            found.extend(page.sessions.into_iter().map(|stored| stored.id));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{at_most} at once");
    }
    assert_eq!(store.live_sessions(at(3_603), None, 100).await.expect("an answer").sessions.len(), 3);
}

#[tokio::test]
async fn expired_session_does_not_count_towards_limit() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    store.open_session(session("00u1", 0), 1).await.expect("stored");
    assert_eq!(store.open_session(session("00u1", 3600), 1).await.expect("stored"), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ticket_is_consumed_once_under_race() {
    let fixture = Fixture::new().await;
    // Two stores on one file, so that the database decides and not the memory of one.
    let stores = [fixture.open().await.expect("a store"), fixture.open().await.expect("the same store")];
    let tasks: Vec<_> = (0..16)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move { store.consume_ticket([7; 16], at(300)).await.expect("stored") })
        })
        .collect();
    let mut first = 0;
    for task in tasks {
        first += usize::from(task.await.expect("a task") == TicketState::Unused);
    }
    assert_eq!(first, 1);
    drop(stores);
    let reopened = fixture.open().await.expect("the store");
    assert_eq!(reopened.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::AlreadyUsed);
    assert_eq!(reopened.consume_ticket([8; 16], at(300)).await.expect("stored"), TicketState::Unused);
}

#[tokio::test]
async fn purge_deletes_session_one_day_after_expiry() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let new = session("00u1", 0);
    store.open_session(new.clone(), 48).await.expect("stored");
    store.consume_ticket([7; 16], at(300)).await.expect("stored");
    let day_after_expiry = at(3600) + SignedDuration::from_hours(24);

    assert_eq!(store.purge(day_after_expiry - SignedDuration::from_secs(1)).await.expect("a count"), 0);
    assert!(store.find_session(&new.id).await.expect("an answer").is_some());
    assert_eq!(store.purge(day_after_expiry).await.expect("a count"), 1);
    assert!(store.find_session(&new.id).await.expect("an answer").is_none());
}

#[tokio::test]
async fn expired_ticket_stays_expired_when_clock_is_set_back() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    assert_eq!(store.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::Unused);
    store.purge(at(299)).await.expect("tidied");
    assert_eq!(store.consume_ticket([7; 16], at(300)).await.expect("stored"), TicketState::AlreadyUsed);
    store.purge(at(300)).await.expect("tidied");
    for store in [store, fixture.open().await.expect("the same store")] {
        assert_eq!(
            store.not_before_latest(at(0)),
            at(300),
            "it is judged as expired, whatever the clock shows"
        );
        store.check_clock(at(0)).expect("a small correction of the clock");
        let refusal = store.check_clock(at(-1)).expect_err("a clock that was set back");
        assert!(matches!(refusal, StoreError::ClockBehind { .. }), "{refusal}");
    }
}

#[tokio::test]
async fn certificates_and_providers_are_replaced_by_name() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let sealer = fixture.keys.field_sealer();
    let place = crate::keys::Place { table: "certificates", row: "ca", column: "private_key", version: 1 };
    assert!(store.find_certificate("ca").await.expect("an answer").is_none());
    for contents in [b"one", b"two"] {
        let row = CertificateRow {
            name: "ca".to_owned(),
            certificate: contents.to_vec(),
            private_key: sealer.seal(place, contents),
        };
        store.save_certificate(row).await.expect("stored");
    }
    let found = store.find_certificate("ca").await.expect("an answer").expect("a row");
    assert_eq!(found.certificate, b"two");
    assert_eq!(sealer.open(place, &found.private_key).expect("ours").as_slice(), b"two");

    for _ in 0..2 {
        let row = ProviderRow {
            name: "okta".to_owned(),
            issuer: "https://okta.test".to_owned(),
            allow_policy: "everyone".to_owned(),
            client_secret_reference: sealer.seal(place, b"plaintext:x"),
        };
        store.replace_providers(vec![row]).await.expect("stored");
    }
    let row = |name: &str, issuer: &str, allow_policy: &str| ProviderRow {
        name: name.to_owned(),
        issuer: issuer.to_owned(),
        allow_policy: allow_policy.to_owned(),
        client_secret_reference: sealer.seal(place, b"plaintext:y"),
    };
    let (same, new) =
        (row("okta", "https://okta.test", "everyone"), row("new", "https://new.test", "everyone"));
    assert!(store.covers_stored_providers(&[same, new]).await.expect("an answer"));
    for other in [
        row("new", "https://okta.test", "everyone"),
        row("okta", "https://other.test", "everyone"),
        row("okta", "https://okta.test", "nobody"),
    ] {
        assert!(!store.covers_stored_providers(&[other]).await.expect("an answer"));
    }
    assert!(!store.covers_stored_providers(&[]).await.expect("an answer"));
    store.check().await.expect("it answers");
}

#[tokio::test]
async fn files_contain_no_plaintext() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
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
    assert!(matches!(fixture.refusal().await, StoreError::File(FileError::NotEncrypted { .. })));
}

#[tokio::test]
async fn wrong_database_key_is_reported_as_such() {
    let (fixture, other) = (Fixture::new().await, Fixture::new().await);
    drop(fixture.open().await.expect("a store"));
    let error = Store::open(fixture.path(), other.keys.database_key()).await.err().expect("refused");
    assert!(matches!(error, StoreError::File(FileError::WrongKey { .. })), "{error}");
    assert!(!error.to_string().contains("file is not a database"));
}

#[tokio::test]
async fn damaged_database_is_rejected() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await.expect("a store"));
    let mut bytes = fs::read(fixture.path()).expect("a file");
    bytes[100] ^= 1;
    fs::write(fixture.path(), bytes).expect("a file");
    assert!(matches!(fixture.refusal().await, StoreError::File(FileError::WrongKey { .. })));
}

#[tokio::test]
async fn newer_schema_is_rejected() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await.expect("a store"));
    let connection = encryption::open(&fixture.path(), &fixture.keys.database_key()).expect("a connection");
    connection.pragma_update(None, "user_version", 99).expect("a version");
    drop(connection);
    assert!(matches!(fixture.refusal().await, StoreError::NewerSchema { found: 99, known: 1, .. }));
}

#[tokio::test]
async fn migration_keeps_copy_for_older_infrad() {
    let fixture = Fixture::new().await;
    drop(fixture.open().await.expect("a store"));
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
    assert!(matches!(fixture.refusal().await, StoreError::NewerSchema { found: 3, known: 1, .. }));
    assert!(!schema::copy_before(&path, 2).exists(), "one copy for each start is enough");
    assert_eq!(fs::metadata(&kept).expect("a copy").permissions().mode() & 0o777, 0o600);
    assert!(!fs::read(&kept).expect("a copy").starts_with(b"SQLite format 3"), "it is encrypted");

    // As in `docs/upgrading.md`: replace the database with the copy.
    remove(&path).expect("removed");
    fs::rename(&kept, &path).expect("renamed");
    fixture
        .open()
        .await
        .expect("a store in the form that this infrad knows")
        .check()
        .await
        .expect("an answer");
}

/// A session and its token.
fn session_with_token(subject: &str, second: i64) -> (SessionToken, NewSession) {
    let token = SessionToken::mint();
    let session =
        NewSession { id: token.id().clone(), token_hash: TokenHash::of(&token), ..session(subject, second) };
    (token, session)
}

#[tokio::test]
async fn cached_session_ends_at_once_here_and_with_entry_elsewhere() {
    let fixture = Fixture::new().await;
    // The entries of the second store expire at once.
    let here = fixture.open().await.expect("a store").with_cache_life(Duration::MAX);
    let elsewhere = fixture.open().await.expect("the same store").with_cache_life(Duration::ZERO);
    let (token, new) = session_with_token("00u1", 0);
    here.open_session(new.clone(), 48).await.expect("stored");
    let found = async |store: &Store| {
        store.find_token(token.expose()).await.expect("an answer").expect("a row").session
    };
    for store in [&here, &elsewhere] {
        assert_eq!(found(store).await.ended, None);
    }
    here.touch_session(&new.id, &new.token_hash, at(7)).await.expect("stored");
    assert_eq!(found(&here).await.last_used_at, at(7));
    revoke(&here, &new.id, 8, EndReason::Logout).await;
    for store in [&here, &elsewhere] {
        assert!(found(store).await.ended.is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_scans_delay_no_look_up_write_or_copy() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
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
            tokio::spawn(async move { store.connections.scan(scan).await })
        })
        .collect();
    started.recv().await.expect("a scan");
    store.touch_session(&new.id, &new.token_hash, at(7)).await.expect("a write");
    store.verify_sessions().await.expect("a verification");
    let copy = fixture.directory.path().join("copy.db");
    store.copy_to(copy, fixture.keys.backup_keys().database_key()).await.expect("a copy");
    assert!(store.find_session(&new.id).await.expect("a look-up").is_some());
    drop(open_gate);
    for scan in scans {
        assert!(scan.await.expect("no panic").expect("an answer"), "the gate was open");
    }
}

#[tokio::test]
async fn session_ended_by_limit_leaves_cache() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new, 1).await.expect("stored");
    let found = async || store.find_token(token.expose()).await.expect("an answer").expect("a row").session;
    assert_eq!(found().await.ended, None);
    store.open_session(session("00u1", 1), 1).await.expect("stored");
    assert!(found().await.ended.is_some());
}

#[tokio::test]
async fn cached_session_is_not_found_with_wrong_secret() {
    let fixture = Fixture::new().await;
    let store = fixture.open().await.expect("a store");
    let (token, new) = session_with_token("00u1", 0);
    store.open_session(new, 48).await.expect("stored");
    assert!(store.find_token(token.expose()).await.expect("an answer").is_some());
    let mut text = token.expose().to_owned();
    let last = if text.pop() == Some('a') { 'b' } else { 'a' };
    text.push(last);
    let forged = SessionToken::parse(&text).expect("a token");
    assert_eq!(forged.id(), token.id());
    assert!(store.find_token(forged.expose()).await.expect("an answer").is_none());
}
