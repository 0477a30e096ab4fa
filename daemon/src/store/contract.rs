//! What an engine of the store must do. The tests call public operations only, and each runs on each engine; the fixture
//! alone names the engine.

/// Runs each contract test of a file on each engine.
macro_rules! on_each_engine {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name($crate::store::contract::Fixture::new().await).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    if let Some(fixture) = $crate::store::contract::Fixture::on_postgres().await {
                        super::$name(fixture).await;
                    }
                }
            )*
        }
    };
}

mod acme;
mod audience_tokens;
mod certificates;
mod delegation;
mod leases;
mod providers;
mod refresh_tokens;
mod selection;
mod sessions;
mod tickets;
mod token_cache;
mod token_keys;

use std::path::PathBuf;
use std::sync::Arc;

use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::api::{Delegation, LoginMethod, User};
use infra_shared::http::Trust;
use infra_shared::token_text::{SessionID, SessionToken};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{
    AuthorityRows, BegunOrder, CertificateRow, ClientInfo, DatabaseHost, EndReason, Ended, EndpointHosts,
    Job, LeaseRequest, MemberID, NewRefreshToken, NewSession, NextAttempt, OrderID, PostgresDatabase,
    PostgresSettings, ProviderChange, ProviderRow, RefreshTokenRow, RememberedEndpoints, SessionSelector,
    Store, StoreError, TicketState, TokenHash, UserFilter,
};
use crate::keys::{Keys, Place, RootKeySettings, RowKeys, StoredKeys};

const DATABASE: &str = "infra";

pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) keys: Keys,
    /// `None` for a store in a file.
    server: Option<PostgreSQL>,
}

impl Fixture {
    /// A store in a file.
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        Self { directory, keys, server: None }
    }

    /// A store on a server of its own. `None` if there is no PostgreSQL, which is reported, and fails in CI.
    async fn on_postgres() -> Option<Self> {
        let server = PostgreSQL::start()?;
        server.create_database(DATABASE);
        let shared = database(&server);
        shared.create_schema().await.expect("the schema");
        shared.add_first_keys(&StoredKeys::fixed(), &RowKeys::fixed(), at(0)).await.expect("stored");
        server.allow_slow_statements(DATABASE);
        Some(Self { server: Some(server), ..Self::new().await })
    }

    /// The database file.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("data").join(self.keys.database_file())
    }

    pub(super) async fn open(&self) -> Store {
        let opened = match &self.server {
            None => Store::open(self.path(), self.keys.database_key()).await,
            Some(server) => {
                Store::connect(database(server), Arc::new(RowKeys::fixed()), MemberID::random()).await
            }
        };
        opened.expect("a store")
    }

    /// Opens the store once for each daemon that can use it at the same time: one for a file.
    async fn open_members(&self) -> Vec<Store> {
        let count = if self.server.is_some() { 3 } else { 1 };
        let mut members = Vec::new();
        for _ in 0..count {
            members.push(self.open().await);
        }
        members
    }
}

fn database(server: &PostgreSQL) -> PostgresDatabase {
    let settings = PostgresSettings {
        hosts: vec![DatabaseHost::Socket { directory: server.socket().to_owned(), port: server.port() }],
        name: DATABASE.to_owned(),
        user: USER.to_owned(),
        password: None,
        client_certificate: None,
        trust: Trust::System,
    };
    PostgresDatabase::new(&settings).expect("a pool")
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

/// A session of the user `subject`, opened at `second`, valid for one hour.
pub(super) fn session(subject: &str, second: i64) -> NewSession {
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
        delegation: None,
        created_at: at(second),
        expires_at: at(second + 3600),
    }
}

/// Revokes one session. Returns `false` if it does not exist or has already ended.
pub(super) async fn revoke(store: &Store, id: &SessionID, second: i64, reason: EndReason) -> bool {
    let one = SessionSelector::Ids(vec![id.clone()]);
    !store.revoke(one, at(second), reason).await.expect("stored").is_empty()
}

/// A session and its token.
pub(super) fn session_with_token(subject: &str, second: i64) -> (SessionToken, NewSession) {
    let token = SessionToken::mint();
    let session =
        NewSession { id: token.id().clone(), token_hash: TokenHash::of(&token), ..session(subject, second) };
    (token, session)
}
