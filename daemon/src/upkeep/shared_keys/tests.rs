//! Rotations with two members on a PostgreSQL server of the test's own.

use infra_harness::clock::ManualClock;
use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::api::{LoginMethod, User};
use infra_shared::clock::SystemClock;
use infra_shared::http::Trust;
use infra_shared::token_text::SessionToken;
use tempfile::TempDir;

use super::*;
use crate::keys::{RecoveredRows, StoredKeys};
use crate::store::{
    ClientInfo, DatabaseHost, MemberID, NewSession, PostgresDatabase, PostgresSettings, TokenHash,
};

struct Fixture {
    server: PostgreSQL,
    directory: TempDir,
    root_keys: Vec<RootKeySettings>,
    clock: ManualClock,
}

struct Member {
    id: MemberID,
    keys: SharedKeys,
    store: Store,
}

impl Fixture {
    /// `None` if there is no PostgreSQL, which is reported.
    async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let directory = tempfile::tempdir().expect("a directory");
        let root_keys = vec![RootKeySettings::Native { path: directory.path().join("root.key") }];
        let fixture = Self { server, directory, root_keys, clock: ManualClock::at(SystemClock.now()) };
        let database = fixture.database();
        database.create_schema().await.expect("the schema");
        fixture.server.allow_slow_statements("infra");
        let keys = StoredKeys::create(&fixture.root_keys, &fixture.data_dir()).await.expect("keys");
        let (root_keys, data_dir) = (&fixture.root_keys, fixture.data_dir());
        let opened = SharedKeys::open(keys.clone(), "the database", root_keys, &data_dir).await;
        let row_keys = opened.expect("the keys").row_keys();
        database.add_first_keys(&keys, &row_keys, fixture.clock.now()).await.expect("stored");
        Some(fixture)
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    fn database(&self) -> PostgresDatabase {
        let (directory, port) = (self.server.socket().to_owned(), self.server.port());
        let settings = PostgresSettings {
            hosts: vec![DatabaseHost::Socket { directory, port }],
            name: "infra".to_owned(),
            user: USER.to_owned(),
            password: None,
            client_certificate: None,
            trust: Trust::System,
        };
        PostgresDatabase::new(&settings).expect("a pool")
    }

    /// Starts a member that runs.
    async fn member(&self) -> Member {
        let database = self.database();
        let stored = database.keys().await.expect("an answer").expect("keys");
        let keys = SharedKeys::open(stored, "the database", &self.root_keys, &self.data_dir()).await;
        let (keys, id) = (keys.expect("the keys"), MemberID::random());
        let store = Store::connect(database, keys.row_keys(), id.clone()).await.expect("a store");
        let member = Member { id, keys, store };
        self.beat(&member);
        member
    }

    /// The heartbeat of a member.
    fn beat(&self, member: &Member) {
        let (id, keys) = (&member.id, member.keys.row_keys());
        let (current, newest) = (keys.current_version(), keys.newest_version());
        self.server.sql(
            "infra",
            &format!(
                "INSERT INTO members (id, key_version, sealed, schema, newest_key, known) \
                 VALUES ('{id}', {current}, '', 1, {newest}, 0) ON CONFLICT (id) DO UPDATE \
                 SET key_version = {current}, newest_key = {newest}, seen_at = now()"
            ),
        );
    }

    /// Removes the row of a member, as a member does that stops.
    fn stop(&self, member: &Member) {
        self.server.sql("infra", &format!("DELETE FROM members WHERE id = '{}'", member.id));
    }

    fn operation<'a>(&'a self, member: &'a Member, data_dir: &'a Path) -> SharedKeyOperation<'a> {
        let (keys, store, root_keys) = (&member.keys, &member.store, self.root_keys.as_slice());
        SharedKeyOperation { keys, store, data_dir, root_keys, clock: &self.clock }
    }

    /// Reads the keys, and says so with a heartbeat.
    async fn follow(&self, member: &Member) {
        self.operation(member, &self.data_dir()).follow().await.expect("followed");
        self.beat(member);
    }

    /// Rotates on one member while all follow, and its own upkeep looks for rotations to finish.
    async fn rotate(&self, rotating: &Member, others: &[&Member]) {
        let data_dir = self.data_dir();
        let operation = self.operation(rotating, &data_dir);
        let rotation = operation.rotate();
        tokio::pin!(rotation);
        loop {
            tokio::select! {
                rotated = &mut rotation => return rotated.expect("rotated"),
                () = sleep(Duration::from_millis(50)) => {}
            }
            operation.finish(&mut Dropping::default()).await.expect("left alone");
            self.beat(rotating);
            for other in others {
                self.follow(other).await;
            }
        }
    }

    fn key_versions(&self) -> String {
        self.server.sql(
            "infra",
            "SELECT string_agg(version::text, ' ' ORDER BY version) FROM keys WHERE kind = 'data'",
        )
    }

    /// How many rows of sessions an older data key than the current one seals.
    fn old_sessions(&self) -> String {
        let count = "SELECT count(*) FROM sessions WHERE key_version < (SELECT data_key_version FROM store)";
        self.server.sql("infra", count)
    }
}

impl Member {
    async fn open_session(&self, now: Timestamp) -> SessionToken {
        let token = SessionToken::mint();
        let session = NewSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            user: User {
                name: None,
                email: Some("alice@example.com".to_owned()),
                groups: Vec::new(),
                provider: "okta".to_owned(),
                issuer: "https://okta.test".to_owned(),
                subject: "00u1".to_owned(),
            },
            email_verified: true,
            client_info: ClientInfo { device: None, login_method: LoginMethod::Browser, address: None },
            refresh_token: None,
            delegation: None,
            created_at: now,
            expires_at: now.checked_add(SignedDuration::from_hours(12)).expect("a time"),
        };
        self.store.open_session(session, 1000).await.expect("stored");
        token
    }

    /// Reads the session of `token` from the database.
    async fn finds(&self, token: &SessionToken) -> bool {
        self.store.find_session(token.id()).await.expect("an answer").is_some()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_leaves_sessions_of_all_members_valid() {
    let Some(fixture) = Fixture::start().await else { return };
    let (one, other) = (fixture.member().await, fixture.member().await);
    let mut tokens = Vec::new();
    for version in 2..5 {
        for member in [&one, &other] {
            tokens.push(member.open_session(fixture.clock.now()).await);
        }
        fixture.rotate(&one, &[&other]).await;
        assert_eq!(fixture.old_sessions(), "0");
        let new = fixture.member().await;
        for member in [&one, &other, &new] {
            assert_eq!(member.keys.status().data_key_version, version);
            for token in &tokens {
                assert!(member.finds(token).await);
            }
        }
        fixture.stop(&new);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_rotation_continues_on_another_member() {
    let Some(fixture) = Fixture::start().await else { return };
    let data_dir = fixture.data_dir();
    for steps in 1..=4 {
        let (one, other) = (fixture.member().await, fixture.member().await);
        let token = one.open_session(fixture.clock.now()).await;
        let before = one.keys.stored().current;
        // The first member is killed after this number of steps.
        let lease = one.store.expect_lease(Job::KeyRotation).await.expect("a lease");
        let row = one.keys.next_data_key(&fixture.root_keys, &data_dir).await.expect("a row");
        one.store.add_data_key(&row, fixture.clock.now(), &lease).await.expect("published");
        if steps > 1 {
            fixture.follow(&one).await;
            // A busy machine needs time: the lease and the heartbeat are as of now.
            one.store.expect_lease(Job::KeyRotation).await.expect("the same lease");
            fixture.beat(&other);
            let early = one.store.use_data_key(row.version, &lease).await;
            assert!(early.is_err(), "a member does not hold it yet");
            fixture.follow(&other).await;
            one.store.expect_lease(Job::KeyRotation).await.expect("the same lease");
            one.store.use_data_key(row.version, &lease).await.expect("in use");
        }
        if steps > 2 {
            fixture.follow(&one).await;
        }
        if steps > 3 {
            one.store.reseal_some(&lease).await.expect("sealed again");
        }
        one.store.end_job_leases().await.expect("its leases are over");
        fixture.stop(&one);

        assert!(other.finds(&token).await, "after step {steps}");
        fixture.rotate(&other, &[]).await;
        let after = other.keys.stored().current;
        assert!(after > before, "after step {steps}");
        assert_eq!(fixture.old_sessions(), "0", "after step {steps}");
        assert!(other.finds(&token).await, "after step {steps}");
        fixture.server.sql("infra", "DELETE FROM members");
    }
}

/// A member of an earlier version stores data keys without it, and an attacker can delete it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_stored_without_recovery_key_is_wrapped_for_it() {
    let Some(fixture) = Fixture::start().await else { return };
    let (one, other) = (fixture.member().await, fixture.member().await);
    let data_dir = fixture.data_dir();
    let key = fixture.operation(&one, &data_dir).create_recovery().await.expect("a recovery key");
    fixture.follow(&other).await;
    let opens = async || {
        let stored = fixture.database().keys().await.expect("an answer").expect("keys");
        RecoveredRows::open(&stored, "the database", &key).is_ok()
    };
    assert!(opens().await);
    fixture.rotate(&one, &[&other]).await;
    assert!(opens().await, "a rotation keeps it");
    fixture.server.sql("infra", "UPDATE keys SET recovery = NULL");
    assert!(!opens().await);
    fixture.operation(&other, &data_dir).finish(&mut Dropping::default()).await.expect("an answer");
    assert!(opens().await);
    fixture.follow(&one).await;
    for member in [&one, &other, &fixture.member().await] {
        assert!(member.keys.status().recovery_key_created_at.is_some());
        assert!(member.keys.rows_without_recovery().is_empty());
    }
}

/// Someone who writes to the table can add rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_key_does_not_stop_rewrap() {
    let Some(fixture) = Fixture::start().await else { return };
    let one = fixture.member().await;
    let planted = "INSERT INTO keys SELECT kind, 9, root_key, wrapped, check_mac, created_at FROM keys WHERE kind = 'data'";
    fixture.server.sql("infra", planted);
    let data_dir = fixture.data_dir();
    fixture.operation(&one, &data_dir).rewrap().await.expect("rewrapped");
    fixture.operation(&one, &data_dir).create_recovery().await.expect("a recovery key");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replaced_data_key_is_dropped_once_nothing_needs_it() {
    let Some(fixture) = Fixture::start().await else { return };
    let (one, other) = (fixture.member().await, fixture.member().await);
    let token = other.open_session(fixture.clock.now()).await;
    fixture.rotate(&one, &[&other]).await;
    let data_dir = fixture.data_dir();
    let (operation, mut dropping) = (fixture.operation(&other, &data_dir), Dropping::default());
    let mut finish = async || {
        operation.finish(&mut dropping).await.expect("an answer");
        fixture.beat(&other);
        fixture.key_versions()
    };
    assert_eq!(finish().await, "1 2", "a ticket may need it");
    fixture.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(finish().await, "1 2");
    fixture.clock.advance(SignedDuration::from_mins(2));
    // A member that is paused may still seal with it.
    fixture
        .server
        .sql("infra", "INSERT INTO members VALUES ('paused', 1, '', 1, 2, 0, now(), now() - interval '1 h')");
    assert_eq!(finish().await, "1 2");
    fixture.server.sql("infra", "DELETE FROM members WHERE id = 'paused'");
    assert_eq!(finish().await, "2");
    fixture.follow(&one).await;
    for member in [&one, &other, &fixture.member().await] {
        assert!(member.finds(&token).await);
        assert_eq!(member.keys.row_keys().newest_version(), 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_row_does_not_stop_rotation() {
    let Some(fixture) = Fixture::start().await else { return };
    let one = fixture.member().await;
    let token = one.open_session(fixture.clock.now()).await;
    let forged = "UPDATE sessions SET sealed = sealed || '\\x00'::bytea";
    fixture.server.sql("infra", forged);
    fixture.rotate(&one, &[]).await;
    assert_eq!(fixture.old_sessions(), "0");
    assert!(one.store.find_session(token.id()).await.is_err(), "it does not open, as before");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rewrap_changes_no_key_of_running_members() {
    let Some(mut fixture) = Fixture::start().await else { return };
    let (one, other) = (fixture.member().await, fixture.member().await);
    let token = one.open_session(fixture.clock.now()).await;
    let data_dir = fixture.data_dir();
    let before = one.keys.status();
    // The next root key comes first, the one before can be removed afterwards.
    let path = fixture.directory.path().join("next.key");
    let next = RootKeySettings::Native { path };
    StoredKeys::create(std::slice::from_ref(&next), &data_dir).await.expect("another root key");
    fixture.root_keys.insert(0, next);
    fixture.operation(&one, &data_dir).rewrap().await.expect("rewrapped");
    fixture.root_keys.truncate(1);
    fixture.follow(&other).await;
    for member in [&one, &other, &fixture.member().await] {
        let status = member.keys.status();
        assert_ne!(status.root_key, before.root_key);
        assert_eq!(status.data_key_version, before.data_key_version);
        assert!(member.finds(&token).await);
    }
}
