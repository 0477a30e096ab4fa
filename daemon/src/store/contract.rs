//! What an engine of the store must do. The tests call public operations only; the fixture alone names the engine.

mod acme;
mod audience_tokens;
mod certificates;
mod providers;
mod refresh_tokens;
mod selection;
mod sessions;
mod tickets;
mod token_cache;

use std::path::PathBuf;

use infra_shared::api::{LoginMethod, User};
use infra_shared::token_text::{SessionID, SessionToken};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::{
    BegunOrder, CertificateRow, ClientInfo, EndReason, Ended, EndpointHosts, LeaseRequest, NewRefreshToken,
    NewSession, NextAttempt, OrderID, ProviderRow, RefreshTokenRow, RememberedEndpoints, SessionSelector,
    Store, StoreError, TicketState, TokenHash, UserFilter,
};
use crate::keys::{Keys, Place, RootKeySettings};

pub(super) struct Fixture {
    pub(super) directory: TempDir,
    pub(super) keys: Keys,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        Self { directory, keys }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.directory.path().join("data").join(self.keys.database_file())
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(self.path(), self.keys.database_key()).await.expect("a store")
    }
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
