//! Fills the store of a stopped daemon with sessions, through the daemon's own store code.

use infra_daemon::config::Config;
use infra_daemon::keys::{Keys, SharedKeys};
use infra_daemon::store::{ClientInfo, MemberID, NewSession, PostgresDatabase, Store, TokenHash};
use infra_harness::daemon::Daemon;
use infra_harness::provider::Provider;
use infra_shared::api::User;
use infra_shared::token_text::SessionToken;
use jiff::{SignedDuration, Timestamp};

/// Below the limit of sessions per user.
const SESSIONS_OF_A_USER: usize = 10;

/// Stores `count` live sessions, spread over as many users as needed, and returns their tokens.
pub(crate) fn fill(daemon: &Daemon, provider: &Provider, count: usize) -> Vec<SessionToken> {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let store = open_store(daemon).await;
        let now = Timestamp::now();
        let mut tokens = Vec::with_capacity(count);
        for number in 0..count {
            let token = SessionToken::mint();
            let user = number / SESSIONS_OF_A_USER;
            let session = NewSession {
                id: token.id().clone(),
                token_hash: TokenHash::of(&token),
                user: User {
                    name: Some(format!("User {user}")),
                    email: Some(format!("user{user}@example.test")),
                    groups: vec!["Everyone".to_owned(), "engineering".to_owned()],
                    provider: "okta".to_owned(),
                    issuer: provider.issuer().to_owned(),
                    subject: format!("00u{user}"),
                },
                email_verified: true,
                client_info: ClientInfo::default(),
                refresh_token: None,
                delegation: None,
                created_at: now,
                expires_at: now.checked_add(SignedDuration::from_hours(12)).expect("a time"),
            };
            store.open_session(session, 48).await.expect("a session");
            tokens.push(token);
        }
        tokens
    })
}

/// Opens the store that the daemon would use.
async fn open_store(daemon: &Daemon) -> Store {
    let config = Config::read(&daemon.configuration_file()).expect("the daemon's configuration");
    let (root_keys, data_dir) = (&config.root_keys, &config.data_dir);
    if let Some(settings) = &config.database {
        let database = PostgresDatabase::new(settings).expect("its database");
        let stored = database.keys().await.expect("the database answers").expect("its keys");
        let keys = SharedKeys::open(stored, database.describe(), root_keys, data_dir).await;
        let row_keys = keys.expect("its keys").row_keys();
        return Store::connect(database, row_keys, MemberID::random()).await.expect("its store");
    }
    let keys = Keys::open_or_create(data_dir, root_keys).await.expect("its keys");
    Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("its store")
}
