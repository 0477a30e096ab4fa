//! Fills the store of a stopped daemon with sessions, through the daemon's own store code.

use infra_daemon::keys::{Keys, RootKeySettings};
use infra_daemon::store::{ClientInfo, NewSession, Store, TokenHash};
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
        let data_dir = daemon.data_dir();
        let root_keys = [RootKeySettings::Native { path: daemon.root_key() }];
        let keys = Keys::open_or_create(&data_dir, &root_keys).await.expect("the daemon's keys");
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("its store");
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
                created_at: now,
                expires_at: now.checked_add(SignedDuration::from_hours(12)).expect("a time"),
            };
            store.open_session(session, 48).await.expect("a session");
            tokens.push(token);
        }
        tokens
    })
}
