//! Session rows: insert, look up, delete addresses.

use std::net::IpAddr;

use infra_shared::api::User;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio_postgres::{Row, Transaction};

use super::revocation::{Revocation, RevokedPage};
use super::session_rows::{
    COLUMNS, Contents, HAS_SESSION_ID, LARGE_ROWS, NEXT_REVISION, SessionPlace, session_id, stored,
};
use super::statements::parameters;
use super::transactions::in_transaction;
use super::{Postgres, changes, refresh_tokens};
use crate::addresses::client_key;
use crate::keys::RowKeys;
use crate::store::sessions::over_limit;
use crate::store::{EndReason, NewSession, RevokedSession, SessionSelector, StoreError, StoredSession, time};

impl Postgres {
    pub(in crate::store) async fn open_session(
        &self,
        session: NewSession,
        max_per_user: u32,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        let keys = &*self.rows;
        let page =
            in_transaction!(self, transaction => open(&transaction, keys, &session, max_per_user).await)?;
        let Some(page) = page else { return Ok(Vec::new()) };
        self.recent.add(&page, EndReason::SessionLimit);
        Ok(page.revoked)
    }

    /// Like [`Self::find_session`], in the queue of look-ups that anyone can cause.
    pub(in crate::store) async fn look_up_session(
        &self,
        id: &SessionID,
        client: IpAddr,
    ) -> Result<Option<StoredSession>, StoreError> {
        let _permit = self.look_ups.acquire(client_key(client)).await?;
        self.find_session(id).await
    }

    pub(in crate::store) async fn find_session(
        &self,
        id: &SessionID,
    ) -> Result<Option<StoredSession>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = $1");
        let row = self.read_one(&select, parameters![id.as_str()]).await?;
        row.map(|row| stored(&self.rows, &row)).transpose()
    }

    pub(in crate::store) async fn update_user(
        &self,
        id: &SessionID,
        user: User,
        email_verified: bool,
    ) -> Result<Vec<SessionID>, StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => {
            update_user(&transaction, keys, id, user.clone(), email_verified).await
        })
    }

    pub(in crate::store) async fn forget_addresses(&self, at_most: u32) -> Result<usize, StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => forget_addresses(&transaction, keys, at_most).await)
    }
}

/// Returns the user's oldest sessions beyond `max_per_user`, which it revoked.
async fn open(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    session: &NewSession,
    max_per_user: u32,
) -> Result<Option<RevokedPage>, StoreError> {
    let user_key = keys.user_key(&session.user.issuer, &session.user.subject);
    lock_user(transaction, &user_key).await?;
    insert(transaction, keys, session, "").await?;
    if let Some(refresh_token) = &session.refresh_token {
        refresh_tokens::insert(transaction, keys, &session.id, refresh_token, session.expires_at).await?;
    }
    let live = live_of_user(transaction, &user_key, session.created_at).await?;
    let oldest = over_limit(live, &session.id, max_per_user);
    if oldest.is_empty() {
        return Ok(None);
    }
    let oldest = SessionSelector::Ids(oldest);
    let ended =
        Revocation { keys, selector: &oldest, at: session.created_at, reason: EndReason::SessionLimit };
    ended.run_page(transaction, "").await.map(Some)
}

/// Lets one session of a user be opened at a time, by any member: a count would not see the others. Ends with the
/// transaction.
async fn lock_user(transaction: &Transaction<'_>, user_key: &[u8; 32]) -> Result<(), StoreError> {
    let lock = i64::from_be_bytes(*user_key.first_chunk().expect("32 bytes have 8"));
    transaction.execute_typed("SELECT pg_advisory_xact_lock($1)", parameters![lock]).await?;
    Ok(())
}

/// `conflict` is what to do if there is a session with this ID.
pub(super) async fn insert(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    session: &NewSession,
    conflict: &str,
) -> Result<(), StoreError> {
    let (place, contents) = (SessionPlace::of_new(session, keys), Contents::of_new(session));
    let (sealed, columns) = (place.seal(keys, &session.token_hash, &contents), contents.columns(keys));
    transaction
        .execute_typed(
            &format!(
                "INSERT INTO sessions (id, token_mac, user_key, subject_key, email_key, key_version, sealed, has_address, \
                 created_at, expires_at, last_used_at, parent_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $9, $11) {conflict}"
            ),
            parameters![
                place.id(),
                place.token_mac(),
                place.user_key(),
                columns.subject_key.as_slice(),
                columns.email_key,
                sealed.key_version,
                sealed.bytes,
                columns.has_address,
                time::to_database(session.created_at),
                time::to_database(session.expires_at),
                contents.parent(),
            ],
        )
        .await?;
    Ok(())
}

/// The live sessions of logins of a user at `now`.
async fn live_of_user(
    transaction: &Transaction<'_>,
    user_key: &[u8],
    now: Timestamp,
) -> Result<Vec<(Timestamp, SessionID)>, StoreError> {
    let rows = transaction
        .query_typed(
            "SELECT created_at, id FROM sessions WHERE user_key = $1 AND ended_at IS NULL AND expires_at > $2 \
             AND parent_id IS NULL",
            parameters![user_key, time::to_database(now)],
        )
        .await?;
    let mut live = Vec::with_capacity(rows.len());
    for row in &rows {
        // A row with invalid values must not block sign-ins.
        let (created_at, id) = (time::from_database(row.try_get("created_at")?), row.try_get("id")?);
        if let (Ok(created_at), Ok(id)) = (created_at, session_id(id)) {
            live.push((created_at, id));
        }
    }
    Ok(live)
}

async fn update_user(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    id: &SessionID,
    user: User,
    email_verified: bool,
) -> Result<Vec<SessionID>, StoreError> {
    // Locked until the commit, because the new row is made from this one.
    let select =
        format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = $1 AND s.ended_at IS NULL FOR NO KEY UPDATE");
    let Some(row) = transaction.query_typed_opt(&select, parameters![id.as_str()]).await? else {
        return Ok(Vec::new());
    };
    update_claims(transaction, keys, &row, user.clone(), email_verified).await?;
    let mut updated = vec![id.as_str().to_owned()];
    // After the lock, which a session that is delegated meanwhile waits for. Those that expired stay for a day, so there may be
    // more than may live.
    let delegated = format!(
        "SELECT {COLUMNS} FROM sessions s WHERE s.parent_id = $1 AND s.id > $2 AND s.ended_at IS NULL AND {HAS_SESSION_ID} \
         ORDER BY s.id LIMIT $3 FOR NO KEY UPDATE"
    );
    let at_most = i64::try_from(LARGE_ROWS).expect("a few rows");
    let mut after = String::new();
    loop {
        let page = transaction.query_typed(&delegated, parameters![id.as_str(), after, at_most]).await?;
        let Some(last) = page.last() else { break };
        after = last.try_get("id")?;
        for row in &page {
            match update_claims(transaction, keys, row, user.clone(), email_verified).await {
                Ok(()) => updated.push(row.try_get("id")?),
                // It cannot be used for anything.
                Err(StoreError::UnexpectedRow(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    changes::record(transaction, &updated.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    updated.iter().map(|id| session_id(id)).collect()
}

async fn update_claims(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    row: &Row,
    user: User,
    email_verified: bool,
) -> Result<(), StoreError> {
    let place = SessionPlace::of_row(row)?;
    let (token_hash, contents) = place.open(keys, row)?;
    let contents = contents.with_claims(user, email_verified);
    let (sealed, columns) = (place.seal(keys, &token_hash, &contents), contents.columns(keys));
    transaction
        .execute_typed(
            &format!(
                "UPDATE sessions s SET email_key = $2, key_version = $3, sealed = $4, {NEXT_REVISION} WHERE s.id = $1"
            ),
            parameters![place.id(), columns.email_key, sealed.key_version, sealed.bytes],
        )
        .await?;
    Ok(())
}

async fn forget_addresses(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    at_most: u32,
) -> Result<usize, StoreError> {
    let select = format!(
        "SELECT {COLUMNS} FROM sessions s WHERE s.has_address AND {HAS_SESSION_ID} ORDER BY s.id LIMIT $1 FOR NO KEY UPDATE SKIP LOCKED"
    );
    let at_most = i64::from(at_most).min(i64::try_from(LARGE_ROWS).expect("a few rows"));
    let rows = transaction.query_typed(&select, parameters![at_most]).await?;
    for row in &rows {
        let place = SessionPlace::of_row(row)?;
        // A row that does not open has no address for anyone.
        let sealed = match place.open(keys, row) {
            Ok((token_hash, contents)) => Some(place.seal(keys, &token_hash, &contents.without_address())),
            Err(StoreError::UnexpectedRow(_)) => None,
            Err(error) => return Err(error),
        };
        let (key_version, sealed) = sealed.map(|it| (it.key_version, it.bytes)).unzip();
        transaction
            .execute_typed(
                "UPDATE sessions SET has_address = false, key_version = coalesce($2, key_version), \
                 sealed = coalesce($3, sealed) WHERE id = $1",
                parameters![place.id(), key_version, sealed],
            )
            .await?;
    }
    Ok(rows.len())
}
