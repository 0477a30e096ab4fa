//! The dummy session and audience token, read if a token does not exist, so that timing reveals nothing.

use infra_shared::api::{LoginMethod, User};
use jiff::Timestamp;
use tokio_postgres::Transaction;

use super::audience_tokens::AudienceTokenPlace;
use super::session_rows::{DUMMY_ID, session_id};
use super::sessions;
use super::statements::parameters;
use crate::keys::RowKeys;
use crate::store::{ClientInfo, EndReason, NewSession, StoreError, TokenHash, time};

/// Far away, so that no purge deletes the rows: the year 9999.
const NEVER: i64 = 253_402_207_200_000;

/// Also replaces rows that were changed.
const REPLACING: &str = "ON CONFLICT (id) DO UPDATE SET token_mac = excluded.token_mac, key_version = excluded.key_version, \
                         sealed = excluded.sealed, created_at = excluded.created_at, expires_at = excluded.expires_at";

/// Writes the rows. They are sealed, so no migration can.
pub(super) async fn insert(transaction: &Transaction<'_>, keys: &RowKeys) -> Result<(), StoreError> {
    let (created_at, expires_at) = (Timestamp::UNIX_EPOCH, time::from_database(NEVER)?);
    // No token has this hash.
    let token_hash = TokenHash([0; 32]);
    let session = NewSession {
        id: session_id(DUMMY_ID)?,
        token_hash: token_hash.clone(),
        user: User {
            name: Some("Nobody of that name".to_owned()),
            email: Some("nobody@nowhere.invalid".to_owned()),
            groups: vec!["nobody".to_owned(), "engineering".to_owned()],
            provider: String::new(),
            issuer: String::new(),
            subject: String::new(),
        },
        email_verified: true,
        client_info: ClientInfo {
            device: Some("no-machine".to_owned()),
            login_method: LoginMethod::Browser,
            address: None,
        },
        refresh_token: None,
        delegation: None,
        created_at,
        expires_at,
    };
    let of_user = format!("{REPLACING}, user_key = excluded.user_key, parent_id = excluded.parent_id");
    sessions::insert(transaction, keys, &session, &of_user).await?;
    let end = "UPDATE sessions SET ended_at = 0, end_reason = $2 WHERE id = $1";
    transaction.execute_typed(end, parameters![DUMMY_ID, EndReason::Expired.as_str()]).await?;
    AudienceTokenPlace::new(DUMMY_ID, &session.id, [created_at, expires_at])
        .insert(transaction, keys, (&token_hash, "https://nowhere.invalid"), REPLACING)
        .await
}
