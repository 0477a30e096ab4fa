//! Rows of sessions: what is in clear, what is sealed, and how they are written and read.

use std::collections::HashMap;
use std::sync::OnceLock;

use infra_shared::api::{Delegation, User};
use infra_shared::token_text::SessionID;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use zeroize::Zeroizing;

use super::statements::moment;
use crate::keys::{DecryptError, RowKeys, RowPlace, SealedRow};
use crate::store::{ClientInfo, EndReason, Ended, NewSession, StoreError, StoredSession, TokenHash, time};

/// The ID of the dummy row, read if a session or token does not exist.
pub(super) const DUMMY_ID: &str = "0000000000";

/// Of the table `sessions`, called `s`. Seals over this length are read as empty and do not open.
macro_rules! columns {
    ($largest:literal) => {
        concat!(
            "left(s.id, 64) AS id, s.token_mac, s.user_key, left(s.parent_id, 64) AS parent_id, s.key_version, CASE WHEN octet_length(s.sealed) <= ",
            $largest,
            " THEN s.sealed ELSE '' END AS sealed, s.created_at, s.expires_at, s.last_used_at, s.ended_at, \
             left(s.end_reason, 64) AS end_reason, s.revision"
        )
    };
}

/// 256 groups of 256 bytes fit. A larger row would fill the memory of every daemon. For up to [`LARGE_ROWS`].
pub(super) const COLUMNS: &str = columns!(262_144);
/// For thousands of rows, within the limit of an answer. Rows with larger seals are read again.
pub(super) const COLUMNS_OF_MANY: &str = columns!(4096);
/// Rows with seals of any length that fit in one answer.
pub(super) const LARGE_ROWS: usize = 100;
/// Reads rows again by their IDs.
pub(super) fn select_again() -> String {
    format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = ANY($1)")
}

/// Counts a change. Accepts every stored value, so that a session can always be revoked.
pub(super) const NEXT_REVISION: &str =
    "revision = CASE WHEN s.revision BETWEEN 0 AND 1000000000 THEN s.revision + 1 ELSE 0 END";

/// Rows with other IDs are not of infrad.
pub(super) const HAS_SESSION_ID: &str = "s.id ~ '^[0-9A-Za-z]{10}$'";

/// What the seal of a session binds besides its contents.
pub(super) struct SessionPlace {
    pub(super) id: String,
    pub(super) token_mac: Vec<u8>,
    pub(super) user_key: Vec<u8>,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
}

/// The sealed part of a session, after the token hash.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) provider: String,
    pub(super) name: Option<String>,
    pub(super) email: Option<String>,
    pub(super) email_verified: bool,
    pub(super) groups: Vec<String>,
    pub(super) device: Option<String>,
    pub(super) login_method: String,
    pub(super) address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) delegation: Option<Box<Delegation>>,
}

/// The columns of a new session that depend on its contents.
pub(super) struct KeyedColumns {
    pub(super) subject_key: [u8; 32],
    pub(super) email_key: Option<Vec<u8>>,
    pub(super) has_address: bool,
}

impl SessionPlace {
    pub(super) fn of_new(session: &NewSession, keys: &RowKeys) -> Self {
        let user = &session.user;
        Self {
            id: session.id.as_str().to_owned(),
            token_mac: keys.token_mac(&session.token_hash.0).to_vec(),
            user_key: keys.user_key(&user.issuer, &user.subject).to_vec(),
            created_at: time::to_database(session.created_at),
            expires_at: time::to_database(session.expires_at),
        }
    }

    pub(super) fn of_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("id")?,
            token_mac: row.try_get("token_mac")?,
            user_key: row.try_get("user_key")?,
            created_at: row.try_get("created_at")?,
            expires_at: row.try_get("expires_at")?,
        })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn token_mac(&self) -> &[u8] {
        &self.token_mac
    }

    pub(super) fn user_key(&self) -> &[u8] {
        &self.user_key
    }

    pub(super) fn seal(&self, keys: &RowKeys, token_hash: &TokenHash, contents: &Contents) -> SealedRow {
        let mut plaintext = Zeroizing::new(token_hash.0.to_vec());
        serde_json::to_writer(&mut *plaintext, contents).expect("texts are JSON");
        keys.seal(&self.row_place(), &plaintext)
    }

    pub(super) fn open(&self, keys: &RowKeys, row: &Row) -> Result<(TokenHash, Contents), StoreError> {
        let sealed = SealedRow { key_version: row.try_get("key_version")?, bytes: row.try_get("sealed")? };
        let opened = keys.open(&self.row_place(), &sealed).map_err(|DecryptError| unopened())?;
        let (hash, contents) = opened.split_first_chunk().ok_or_else(unopened)?;
        let contents: Contents = serde_json::from_slice(contents).map_err(|_| unopened())?;
        // A revocation finds it by the column, so a row with another parent there must not be used.
        if contents.parent() != row.try_get::<_, Option<&str>>("parent_id")? {
            return Err(unopened());
        }
        Ok((TokenHash(*hash), contents))
    }

    fn row_place(&self) -> RowPlace<'_> {
        RowPlace {
            table: "sessions",
            id: self.id.as_bytes(),
            token_mac: &self.token_mac,
            user_key: &self.user_key,
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}

impl Contents {
    pub(super) fn of_new(session: &NewSession) -> Self {
        let (user, client) = (&session.user, &session.client_info);
        Self {
            issuer: user.issuer.clone(),
            subject: user.subject.clone(),
            provider: user.provider.clone(),
            name: user.name.clone(),
            email: user.email.clone(),
            email_verified: session.email_verified,
            groups: user.groups.clone(),
            device: client.device.clone(),
            login_method: client.login_method_text().to_owned(),
            address: client.address.map(|address| address.to_string()),
            delegation: session.delegation.clone(),
        }
    }

    /// The session that delegated it.
    pub(super) fn parent(&self) -> Option<&str> {
        self.delegation.as_ref().map(|delegation| delegation.parent.as_str())
    }

    /// The same session with new claims. Its identity and provider stay.
    pub(super) fn with_claims(self, user: User, email_verified: bool) -> Self {
        Self { name: user.name, email: user.email, groups: user.groups, email_verified, ..self }
    }

    pub(super) fn without_address(self) -> Self {
        Self { address: None, ..self }
    }

    pub(super) fn columns(&self, keys: &RowKeys) -> KeyedColumns {
        KeyedColumns {
            subject_key: keys.subject_key(&self.subject),
            email_key: self.email.as_deref().map(|email| keys.email_key(email).to_vec()),
            has_address: self.address.is_some(),
        }
    }
}

/// Reads a row of [`COLUMNS`].
pub(super) fn stored(keys: &RowKeys, row: &Row) -> Result<StoredSession, StoreError> {
    let place = SessionPlace::of_row(row)?;
    let (token_hash, contents) = place.open(keys, row)?;
    let ended = match (moment(row.try_get("ended_at")?)?, row.try_get::<_, Option<&str>>("end_reason")?) {
        (Some(at), Some(reason)) => Some(Ended { at, reason: EndReason::parse(reason)? }),
        _ => None,
    };
    Ok(StoredSession {
        id: session_id(&place.id)?,
        token_hash,
        user: User {
            name: contents.name,
            email: contents.email,
            groups: contents.groups,
            provider: contents.provider,
            issuer: contents.issuer,
            subject: contents.subject,
        },
        email_verified: contents.email_verified,
        client_info: ClientInfo::parse(contents.device, &contents.login_method, contents.address)?,
        delegation: contents.delegation,
        created_at: time::from_database(place.created_at)?,
        expires_at: time::from_database(place.expires_at)?,
        last_used_at: time::from_database(row.try_get("last_used_at")?)?,
        ended,
        revision: u32::try_from(row.try_get::<_, i32>("revision")?).unwrap_or_default(),
        cached_json: OnceLock::new(),
        is_admitted: OnceLock::new(),
    })
}

/// The IDs of rows of [`COLUMNS_OF_MANY`] whose seals in these columns were not read.
pub(super) fn unread(rows: &[Row], columns: &[&str]) -> Result<Vec<String>, StoreError> {
    let mut ids = Vec::new();
    for row in rows {
        for column in columns {
            if row.try_get::<_, Option<&[u8]>>(column)?.is_some_and(<[u8]>::is_empty) {
                ids.push(row.try_get("id")?);
                break;
            }
        }
    }
    Ok(ids)
}

/// Replaces rows by the same ones that were read again.
pub(super) fn replace(rows: &mut [Row], again: Vec<Row>) -> Result<(), StoreError> {
    let mut complete = HashMap::with_capacity(again.len());
    for row in again {
        complete.insert(row.try_get::<_, String>("id")?, row);
    }
    for row in rows {
        if let Some(found) = complete.remove(row.try_get::<_, &str>("id")?) {
            *row = found;
        }
    }
    Ok(())
}

/// Reads rows of lists. A row that does not open is left out, because it cannot be used for anything.
pub(super) fn stored_rows(keys: &RowKeys, rows: &[Row]) -> Result<Vec<StoredSession>, StoreError> {
    let mut sessions = Vec::with_capacity(rows.len());
    for row in rows {
        match stored(keys, row) {
            Ok(session) => sessions.push(session),
            Err(StoreError::UnexpectedRow(what)) => {
                let id: &str = row.try_get("id")?;
                tracing::error!(session = id, what, "left out a session that infrad did not write like this");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(sessions)
}

pub(super) fn session_id(text: &str) -> Result<SessionID, StoreError> {
    SessionID::parse(text).ok_or(StoreError::UnexpectedRow("session id"))
}

fn unopened() -> StoreError {
    StoreError::UnexpectedRow("a session that was forged, damaged or sealed under another key")
}
