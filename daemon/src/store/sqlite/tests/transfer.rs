//! Copies between a file and a PostgreSQL database of the test's own. Batches have two rows.

use std::collections::BTreeMap;

use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::api::Delegation;
use infra_shared::http::Trust;
use infra_shared::token_text::{AudienceToken, SessionToken};
use rusqlite::types::Value;
use zeroize::Zeroizing;

use super::*;
use crate::keys::{FieldSealer, Keys, Place, Sealed, SharedKeys, StoredKeys};
use crate::store::{
    AudienceTokenRow, AuthorityRows, CertificateRow, ClientInfo, Copied, DatabaseHost, DelegatedSession,
    EndpointHosts, Fill, IssueOutcome, Job, LeaseRequest, MemberDescription, MemberID, NewRefreshToken,
    NextAttempt, PostgresDatabase, PostgresSettings, ProviderRow, RememberedEndpoints, Replaceable,
    StoreState, TokenHash,
};

/// Tables of a file that say something else in a copy.
const OWN_OF_FILE: [&str; 2] = ["rollback_guard", "write_probe"];
/// Tables of a database that no copy brings.
const OWN_OF_DATABASE: [&str; 6] =
    ["acme_challenges", "changes", "leases", "members", "schema_version", "write_probe"];

pub(super) type Rows = BTreeMap<String, Vec<Vec<Value>>>;

/// A file, and a database for it.
pub(super) struct Both {
    pub(super) file: Fixture,
    pub(super) server: PostgreSQL,
}

/// A database that is being filled.
pub(super) struct Target {
    pub(super) store: Store,
    pub(super) keys: SharedKeys,
    fill: Fill,
}

impl Both {
    /// `None` if there is no PostgreSQL, which is reported.
    pub(super) async fn start() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database("infra");
        let both = Self { file: Fixture::new().await, server };
        both.database().create_schema().await.expect("the schema");
        Some(both)
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

    fn source(&self) -> DatabaseFile {
        file(self.file.path(), &self.file.keys)
    }

    async fn begin(&self) -> Result<Target, StoreError> {
        self.begin_for(&self.file.keys.status().store, Replaceable::WithoutLiveSessions).await
    }

    async fn begin_for(&self, store: &str, replaceable: Replaceable) -> Result<Target, StoreError> {
        let (root_keys, data_dir) = ([self.file.keys.root_key()], self.file.directory.path().join("data"));
        let stored = StoredKeys::create_for(store, None, &root_keys, &data_dir).await.expect("keys");
        let database = self.database();
        let fill = database.begin_fill(&stored, replaceable, at(100)).await?;
        let keys = SharedKeys::open(stored, "db", &root_keys, &data_dir).await.expect("the keys");
        let store = Store::connect(database, keys.row_keys(), MemberID::random()).await?;
        Ok(Target { store, keys, fill })
    }

    /// Copies the file to the database.
    pub(super) async fn fill(&self) -> Target {
        let target = self.begin().await.expect("an empty database");
        target.fill(self).await.expect("a copy");
        target
    }

    /// Copies the database to a new file.
    async fn copy_back(&self, target: &Target, keys: &Keys, name: &str) -> (Copied, Rows) {
        let path = self.file.directory.path().join(name);
        let (to, sealer) = (file(path.clone(), keys), target.keys.field_sealer());
        let copied = target.store.copy_to(to, sealer, at(100)).await.expect("a copy").expect("a comparison");
        verify_file(path.clone(), keys.database_key()).await.expect("its digests agree");
        assert!(!fs::exists(path.with_added_extension("wal")).expect("an answer"), "it is one file");
        (copied, rows(&path, keys))
    }
}

impl Target {
    async fn fill(&self, both: &Both) -> Result<Copied, StoreError> {
        self.store.fill(&self.fill, both.source(), self.keys.field_sealer(), at(100)).await
    }
}

pub(super) fn file(path: PathBuf, keys: &Keys) -> DatabaseFile {
    DatabaseFile { path, key: keys.database_key(), sealer: keys.field_sealer() }
}

/// All rows of a file by table, with opened fields.
fn rows(path: &std::path::Path, keys: &Keys) -> Rows {
    let connection = encryption::open(path, &keys.database_key()).expect("a connection");
    let tables: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("tables");
    let mut all = Rows::new();
    for table in tables.into_iter().filter(|table| !OWN_OF_FILE.contains(&table.as_str())) {
        let mut select = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1")).expect("a table");
        let columns: Vec<String> = select.column_names().map(ToOwned::to_owned).collect();
        let mut found = select.query([]).expect("rows");
        let rows = all.entry(table.clone()).or_default();
        while let Some(row) = found.next().expect("a row") {
            let value = |column: usize| row.get::<_, Value>(column).expect("a value");
            let row = (0..columns.len()).map(|column| {
                let is_sealed = copy::SEALED.iter().any(|it| (it.0, it.2) == (&table, &columns[column]));
                if is_sealed {
                    opened(&table, &columns[column], value(0), value(column), keys)
                } else {
                    value(column)
                }
            });
            rows.push(row.collect());
        }
    }
    all
}

fn opened(table: &str, column: &str, row: Value, sealed: Value, keys: &Keys) -> Value {
    let (Value::Text(row), Value::Blob(sealed)) = (row, sealed) else { panic!("{table}.{column}") };
    let place = Place { table, row: &row, column, version: 1 };
    let field = keys.field_sealer().open(place, &Sealed::from_store(sealed)).expect("a field of this file");
    Value::Blob(field.to_vec())
}

/// Calls the operations that fill every table.
async fn use_everything(store: &Store, sealer: &FieldSealer) {
    let mut ids = Vec::new();
    for number in 0..5 {
        let new = session(&format!("00u{}", number % 3), number);
        let refresh_token = NewRefreshToken {
            provider: "okta".to_owned(),
            sealer: sealer.clone(),
            credential: Zeroizing::new(format!("refresh {number}").into_bytes()),
            due_at: at(60),
        };
        let refresh_token = (number != 1).then_some(refresh_token);
        ids.push(new.id.clone());
        store.open_session(NewSession { refresh_token, ..new }, 48).await.expect("stored");
        store.consume_ticket([u8::try_from(number).expect("a byte"); 16], at(300)).await.expect("stored");
    }
    let plain = session("00u9", 9);
    let user = User { name: None, email: None, groups: Vec::new(), ..plain.user.clone() };
    let client_info = ClientInfo { device: None, address: None, ..plain.client_info.clone() };
    let plain = NewSession { user, client_info, email_verified: false, ..plain };
    store.open_session(plain, 48).await.expect("stored");
    let [one, two, three, ..] = ids.as_slice() else { unreachable!("five sessions") };
    store.touch_session(one, at(40)).await.expect("stored");
    let user = User { groups: vec!["later".to_owned()], ..session("00u0", 0).user };
    store.update_user(one, user, true).await.expect("stored");
    let delegated = SessionToken::mint();
    let delegated = DelegatedSession {
        id: delegated.id().clone(),
        token_hash: TokenHash::of(&delegated),
        delegation: Delegation {
            parent: one.clone(),
            audiences: vec!["wiki".to_owned(), "git".to_owned()],
            label: "agent".to_owned(),
        },
        address: None,
        created_at: at(40),
        expires_at: at(600),
    };
    let opened = store.open_delegated_session(delegated, 9).await.expect("stored");
    assert_eq!(opened, IssueOutcome::Issued);
    revoke(store, two, 41, EndReason::Logout).await;
    let request = LeaseRequest {
        provider: "okta".to_owned(),
        sealer: sealer.clone(),
        now: at(60),
        lease_duration: SignedDuration::from_secs(30),
        max_delay: SignedDuration::from_mins(30),
        limit: 2,
    };
    let leased = store.lease_due_refresh_tokens(request).await.expect("an answer");
    let next = NextAttempt { due_at: at(90), failures: 2, uncertain_since: Some(at(60)) };
    store.release_refresh_token(&leased[0].session_id, next).await.expect("released");
    for id in [one, one, three] {
        let token = AudienceToken::mint();
        let row = AudienceTokenRow {
            id: token.id().clone(),
            token_hash: TokenHash::of_audience_token(&token),
            session: id.clone(),
            audience: "https://service.test".to_owned(),
            created_at: at(42),
            expires_at: at(600),
        };
        store.issue_audience_token(row, 9).await.expect("stored");
    }
    use_settings(store, sealer).await;
}

async fn use_settings(store: &Store, sealer: &FieldSealer) {
    let field = |table: &str, row: &str, column: &str| {
        sealer.seal(Place { table, row, column, version: 1 }, row.as_bytes())
    };
    let provider = |name: &str| ProviderRow {
        name: name.to_owned(),
        issuer: "https://okta.test".to_owned(),
        allow_policy: "everyone".to_owned(),
        client_secret_reference: field("providers", name, "client_secret_reference"),
    };
    let providers = vec![provider("okta"), provider("other")];
    let compared = store.compare_providers(&providers).await.expect("an answer");
    store.replace_providers(providers, &compared).await.expect("stored");
    let hosts = |host: &str| EndpointHosts::from([("token_endpoint".to_owned(), host.to_owned())]);
    for (provider, changed) in [("okta", Some((at(7), hosts("a.test")))), ("other", None)] {
        let endpoints =
            RememberedEndpoints { issuer: "https://okta.test".to_owned(), hosts: hosts("b.test"), changed };
        store.remember_provider_endpoints(provider.to_owned(), endpoints).await.expect("stored");
    }
    let certificate = |name: &str| CertificateRow {
        name: name.to_owned(),
        certificate: format!("certificate of {name}").into_bytes(),
        private_key: field("certificates", name, "private_key"),
    };
    let lease = store.expect_lease(Job::Acme).await.expect("a lease");
    store.save_certificate(certificate("leaf"), &lease).await.expect("stored");
    store.save_token_keys(b"keys", sealer, &lease).await.expect("stored");
    let current = Some(certificate("ca"));
    let rows = AuthorityRows { current, next: Some((certificate("next ca"), at(9_000))) };
    store.save_authorities(rows, None, &lease).await.expect("stored");
    store.number_announcement("announcement".to_owned(), at(7)).await.expect("stored");
    for directory in ["https://b.test/directory", "https://a.test/directory"] {
        let credentials = field("acme_accounts", directory, "credentials");
        store.save_acme_account(directory.to_owned(), credentials, &lease).await.expect("stored");
        store.settle_orders(directory.to_owned(), at(7), &lease).await.expect("stored");
    }
    // Without an account, as after the authority forgot it.
    store.forget_acme_account("https://b.test/directory".to_owned(), &lease).await.expect("stored");
    for second in [10, 11, 12] {
        store.begin_order(at(second), 9, SignedDuration::from_hours(1), &lease).await.expect("begun");
    }
    store.pause_orders(at(500)).await.expect("stored");
}

/// A file with rows in every table.
pub(super) async fn used(both: &Both) -> Rows {
    let store = both.file.open().await;
    use_everything(&store, &both.file.keys.field_sealer()).await;
    drop(store);
    let rows = rows(&both.file.path(), &both.file.keys);
    for (table, rows) in &rows {
        // More than what the schema inserts.
        let inserted = usize::from(["sessions", "audience_tokens"].contains(&table.as_str()));
        assert!(rows.len() > inserted, "{table} is empty");
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_survives_move_to_database_and_back() {
    let Some(both) = Both::start().await else { return };
    let before = used(&both).await;
    let target = both.fill().await;
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    for table in both.server.sql("infra", tables).lines() {
        let count = both.server.sql("infra", &format!("SELECT count(*) FROM {table}"));
        assert!(count != "0" || OWN_OF_DATABASE.contains(&table), "{table} is empty");
    }
    target.store.finish_fill(Fill(target.fill.0.clone())).await.expect("ready");
    let other = Fixture::new().await;
    let (copied, after) = both.copy_back(&target, &other.keys, "back").await;
    assert_eq!(after, before);
    assert_eq!(copied, Copied { sessions: 7, live: 6, left_out: 0, corrected: 0 });
    let counters = |path: &std::path::Path, keys: &Keys| {
        let connection = encryption::open(path, &keys.database_key()).expect("a connection");
        connection
            .query_row("SELECT counter, latest_time FROM rollback_guard", [], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
            })
            .expect("a row")
    };
    let was = counters(&both.file.path(), &both.file.keys);
    let is = counters(&both.file.directory.path().join("back"), &other.keys);
    assert!(is.0 > was.0 && is.1 == was.1, "{was:?} {is:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interrupted_copy_completes_when_repeated() {
    let Some(both) = Both::start().await else { return };
    let before = used(&both).await;
    let other = Fixture::new().await;
    let fail = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space'; END $$";
    both.server.sql("infra", fail);
    for table in ["sessions", "audience_tokens", "consumed_tickets", "acme_orders"] {
        let trigger = format!(
            "CREATE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW \
             WHEN (NEW.id::text <> '{}') EXECUTE FUNCTION fail()",
            sessions::DUMMY_ID
        );
        both.server.sql("infra", &trigger);
        let target = both.begin().await.expect("it may be replaced");
        target.fill(&both).await.expect_err("it fails");
        assert_eq!(target.store.state().await.expect("an answer"), StoreState::Filling, "{table}");
        both.server.sql("infra", &format!("DROP TRIGGER fail ON {table}"));
    }
    let target = both.fill().await;
    let (_, after) = both.copy_back(&target, &other.keys, "back").await;
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_command_stops_copy_of_first() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let (one, other) = (both.begin().await.expect("begun"), both.begin().await.expect("begun"));
    let stopped = one.fill(&both).await.expect_err("taken over");
    assert!(matches!(stopped, StoreError::TakenOver { .. }), "{stopped}");
    other.fill(&both).await.expect("a copy");
    one.store.finish_fill(one.fill).await.expect_err("taken over");
    other.store.finish_fill(other.fill).await.expect("ready");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_that_differs_is_noticed() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let change = "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  NEW.last_used_at := NEW.last_used_at + 1; RETURN NEW; END $$; \
                  CREATE TRIGGER change BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION change()";
    both.server.sql("infra", change);
    let target = both.begin().await.expect("begun");
    let differs = target.fill(&both).await.expect_err("another row");
    assert!(matches!(differs, StoreError::CopyDiffers { .. }), "{differs}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_row_is_left_out_of_copy() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let target = both.fill().await;
    let longer = "UPDATE sessions SET expires_at = expires_at + 1 WHERE ended_at IS NULL AND id = \
                  (SELECT max(id) FROM sessions WHERE ended_at IS NULL)";
    both.server.sql("infra", longer);
    let (copied, _) = both.copy_back(&target, &Fixture::new().await.keys, "back").await;
    assert_eq!(copied, Copied { sessions: 6, live: 5, left_out: 1, corrected: 0 });
    // A data key that this member has not read yet is no sign of a planted row.
    both.server.sql("infra", "UPDATE sessions SET key_version = 2; UPDATE store SET data_key_version = 2");
    let (to, sealer) = (both.file.directory.path().join("other"), target.keys.field_sealer());
    let to = file(to, &both.file.keys);
    target.store.copy_to(to, sealer, at(100)).await.expect_err("not all rows can be read");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_in_use_is_not_replaced() {
    let Some(both) = Both::start().await else { return };
    used(&both).await;
    let description = MemberDescription {
        name: "auth1".to_owned(),
        address: "127.0.0.1:8300".to_owned(),
        version: "1".to_owned(),
    };
    let target = both.fill().await;
    let refused = target.store.heartbeat(&description).await.expect_err("the copy is unfinished");
    assert!(matches!(refused, StoreError::NotReady { state: StoreState::Filling, .. }), "{refused}");
    target.store.finish_fill(target.fill).await.expect("ready");
    target.store.heartbeat(&description).await.expect("it runs");
    for replaceable in [Replaceable::WithoutLiveSessions, Replaceable::SameStore] {
        let refused = both.begin_for(&both.file.keys.status().store, replaceable).await.err();
        assert!(matches!(refused, Some(StoreError::InUse { members: 1, .. })), "{refused:?}");
    }
    let refused = target.store.begin_move().await.expect_err("it runs");
    assert!(matches!(refused, StoreError::InUse { .. }), "{refused}");
    target.store.leave_members().await.expect("stopped");
    let refused = both.begin().await.err();
    assert!(matches!(refused, Some(StoreError::HasSessions { live: 6, .. })), "{refused:?}");
    let refused = both.begin_for("another", Replaceable::SameStore).await.err();
    assert!(matches!(refused, Some(StoreError::OtherStore { .. })), "{refused:?}");
    assert_eq!(target.store.begin_move().await.expect("nobody uses it"), None);
    target.store.expect_file("file").await.expect("recorded");
    let refused = target.store.heartbeat(&description).await.expect_err("it moves");
    assert!(matches!(refused, StoreError::NotReady { state: StoreState::Moving, .. }), "{refused}");
    assert_eq!(target.store.begin_move().await.expect("again").as_deref(), Some("file"));
    target.store.finish_move().await.expect("moved");
    target.store.begin_move().await.expect_err("it was moved");
    // Its live sessions are those of the file.
    both.begin().await.expect("it may be replaced");
}
