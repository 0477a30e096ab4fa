//! The rows of sessions: opened, found, used, ended, dropped.

mod end_reason;
mod ending;
mod expiry;
mod listing;
mod opening;

use std::sync::{Arc, OnceLock};

use infra_shared::api::User;
use infra_shared::token_text::{SessionID, SessionToken};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde_json::value::RawValue;

use super::guard::{Change, GUARDED};
use super::{AudienceGrant, NewRefreshToken, Store, StoreError, TokenHash, refresh_tokens, time};

pub use end_reason::{EndReason, Ended};
pub use ending::{EndedSession, Which};
pub use opening::Opening;

/// A session about to be opened.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: SessionID,
    pub token_hash: TokenHash,
    pub user: User,
    /// Whether the provider vouched for the user's e-mail: only then may a rule use it.
    pub email_verified: bool,
    pub opening: Opening,
    /// What the provider can be asked with again, where that is wanted.
    pub refresh_token: Option<NewRefreshToken>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// A session as it is stored, ended ones included until they are purged.
#[derive(Debug, Clone)]
pub struct StoredSession {
    pub id: SessionID,
    pub token_hash: TokenHash,
    pub user: User,
    pub email_verified: bool,
    pub opening: Opening,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub last_used_at: Timestamp,
    pub ended: Option<Ended>,
    /// How often it was changed since it was opened.
    pub(super) revision: u32,
    /// What is told of it again and again, made when it is told first.
    pub told: OnceLock<Told>,
}

/// A session and its user, as JSON.
#[derive(Debug, Clone)]
pub struct Told {
    pub session: Box<RawValue>,
    pub user: Box<RawValue>,
}

/// A token that is known: its session, and for a token for one audience whose it is.
#[derive(Debug, Clone)]
pub struct FoundToken {
    pub token_hash: TokenHash,
    pub session: Arc<StoredSession>,
    /// `None` for the session's own token.
    pub grant: Option<Arc<AudienceGrant>>,
}

/// What is read in the place of a session, or of a token, that is not there: rows of the first migration.
pub(super) const NOBODY: &str = "0000000000";

const COLUMNS: &str = "id, token_hash, issuer, subject, provider, name, email, email_verified, groups, device, \
                       opened_by, address, created_at, expires_at, last_used_at, ended_at, end_reason, revision";

impl Store {
    /// Stores a session and ends the user's oldest ones beyond `max_per_user` (1 or more); answers which were ended.
    pub async fn open_session(
        &self,
        session: NewSession,
        max_per_user: u32,
    ) -> Result<Vec<SessionID>, StoreError> {
        let recent = self.recent.clone();
        let open = move |transaction: &Transaction<'_>, change: &mut Change<'_>| {
            change.see_time(session.created_at);
            insert(transaction, change, &session)?;
            if let Some(refresh_token) = &session.refresh_token {
                refresh_tokens::insert(transaction, &session.id, refresh_token, session.expires_at)?;
            }
            end_oldest(transaction, change, &session, max_per_user)
        };
        let known = move |ended: &Vec<SessionID>| {
            if !ended.is_empty() {
                recent.changed(ended);
            }
        };
        self.change(open, known).await
    }

    /// The session of exactly this token, as it was within the last second; ended ones are told as soon as they have. The
    /// work and the answer are the same for an id that is not known and for a wrong secret, so that nobody learns which
    /// ids exist: where it is not this token, the row of nobody is read.
    pub fn find_session_of(&self, token: &SessionToken) -> Result<Option<FoundToken>, StoreError> {
        let hash = TokenHash::of(token);
        self.guard.check()?;
        if let Some(found) = self.recent.find(&hash) {
            return Ok(Some(found));
        }
        let reading = self.recent.begin();
        let expected = self.guard.expected(token.id().as_str());
        let found = self.connections.read(|reader| {
            let is_it = stored_hash(reader, token.id())?.equals(&hash);
            let session = find(reader, if is_it { token.id().as_str() } else { NOBODY })?;
            Ok(session.filter(|_| is_it).map(|session| FoundToken {
                token_hash: hash,
                session: Arc::new(session),
                grant: None,
            }))
        })?;
        if let Some(found) = &found {
            self.guard.check_session(&found.session, expected)?;
            if found.session.ended.is_none() {
                self.recent.remember(found, reading);
            }
        }
        Ok(found)
    }

    /// What exactly this token stands for, where that is known from the last second. Nothing is read.
    pub fn recall(&self, token: &str) -> Option<FoundToken> {
        if !self.guard.is_intact() {
            return None;
        }
        self.recent.find(&TokenHash::of_text(token))
    }

    /// Looks a session up by its id, as it is now; in-line and fast, for the validation path.
    pub fn find_session(&self, id: &SessionID) -> Result<Option<StoredSession>, StoreError> {
        self.guard.check()?;
        let expected = self.guard.expected(id.as_str());
        let found = self.connections.read(|reader| find(reader, id.as_str()))?;
        if let Some(session) = &found {
            self.guard.check_session(session, expected)?;
        }
        Ok(found)
    }

    /// Moves `last_used_at` forward to `at`, never back, after the token with this hash was used.
    pub async fn touch_session(
        &self,
        id: &SessionID,
        token_hash: &TokenHash,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        // Known before it is written: who asks meanwhile does not write it again.
        self.recent.touched(token_hash, at);
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached("UPDATE sessions SET last_used_at = max(last_used_at, ?2) WHERE id = ?1")?
                    .execute(params![id.as_str(), time::to_database(at)])?;
                Ok(())
            })
            .await
    }

    /// Ends a session; durable when it returns. `false` when there is none that was not ended before.
    pub async fn end_session(
        &self,
        id: &SessionID,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<bool, StoreError> {
        let ended = self.end_sessions(Which::One(id.clone()), at, reason, |_| ()).await?;
        Ok(!ended.is_empty())
    }

    /// Keeps what the provider says of a user now, for a session that has not ended; known at once.
    pub async fn update_user(
        &self,
        id: &SessionID,
        user: User,
        email_verified: bool,
    ) -> Result<(), StoreError> {
        let (row, id, recent) = (id.clone(), id.clone(), self.recent.clone());
        self.change(
            move |transaction, change| {
                let groups = serde_json::to_string(&user.groups).expect("a list of strings is JSON");
                transaction
                    .prepare_cached(&format!(
                        "SELECT {GUARDED} FROM sessions WHERE id = ?1 AND ended_at IS NULL"
                    ))?
                    .query_and_then([row.as_str()], |row| change.state(row))?
                    .collect::<Result<Vec<_>, _>>()?
                    .iter()
                    .try_for_each(|before| change.remove(before))?;
                transaction
                    .prepare_cached(&format!(
                        "UPDATE sessions SET name = ?2, email = ?3, email_verified = ?4, groups = ?5, \
                         revision = revision + 1 WHERE id = ?1 AND ended_at IS NULL RETURNING {GUARDED}"
                    ))?
                    .query_and_then(
                        params![row.as_str(), user.name, user.email, email_verified, groups],
                        |row| change.state(row),
                    )?
                    .collect::<Result<Vec<_>, _>>()?
                    .iter()
                    .for_each(|after| change.add(after));
                Ok(())
            },
            move |()| recent.changed(&[id]),
        )
        .await
    }

    /// Forgets the addresses that up to `at_most` sessions came from; answers of how many.
    pub async fn forget_addresses(&self, at_most: u32) -> Result<usize, StoreError> {
        self.connections
            .write(move |transaction| {
                Ok(transaction.execute(
                    "UPDATE sessions SET address = NULL WHERE id IN \
                     (SELECT id FROM sessions WHERE address IS NOT NULL LIMIT ?1)",
                    [at_most],
                )?)
            })
            .await
    }

    /// Ends every session; answers how many.
    pub async fn end_all_sessions(&self, at: Timestamp, reason: EndReason) -> Result<usize, StoreError> {
        Ok(self.end_sessions(Which::All, at, reason, |_| ()).await?.len())
    }
}

fn insert(
    transaction: &Transaction<'_>,
    change: &mut Change<'_>,
    session: &NewSession,
) -> Result<(), StoreError> {
    let user = &session.user;
    let groups = serde_json::to_string(&user.groups).expect("a list of strings is JSON");
    let created_at = time::to_database(session.created_at);
    let inserted = transaction
        .prepare_cached(&format!(
            "INSERT INTO sessions (id, token_hash, issuer, subject, provider, name, email, email_verified, groups, \
             device, opened_by, address, created_at, expires_at, last_used_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?13) RETURNING {GUARDED}"
        ))?
        .query_and_then(params![
            session.id.as_str(),
            session.token_hash.0,
            user.issuer,
            user.subject,
            user.provider,
            user.name,
            user.email,
            session.email_verified,
            groups,
            session.opening.device,
            opening::opened_by_text(session.opening.opened_by),
            session.opening.address.map(|address| address.to_string()),
            created_at,
            time::to_database(session.expires_at),
        ], |row| change.state(row))?
        .collect::<Result<Vec<_>, _>>()?;
    for state in &inserted {
        change.add(state);
    }
    Ok(())
}

/// Ends what `session`'s user has beyond `max_per_user`, oldest first; the new session counts and stays.
fn end_oldest(
    transaction: &Transaction<'_>,
    change: &mut Change<'_>,
    session: &NewSession,
    max_per_user: u32,
) -> Result<Vec<SessionID>, StoreError> {
    let others = max_per_user.saturating_sub(1);
    let surplus: Vec<String> = transaction
        .prepare_cached(
            "SELECT id FROM sessions
             WHERE issuer = ?1 AND subject = ?2 AND id <> ?3 AND ended_at IS NULL AND expires_at > ?4
             ORDER BY created_at DESC, id LIMIT -1 OFFSET ?5",
        )?
        .query_map(
            params![
                session.user.issuer,
                session.user.subject,
                session.id.as_str(),
                time::to_database(session.created_at),
                others
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_, _>>()?;
    let surplus = surplus.iter().map(|id| session_id(id)).collect::<Result<Vec<_>, _>>()?;
    for id in &surplus {
        let which = Which::One(id.clone());
        ending::end(transaction, change, &which, session.created_at, EndReason::TooMany)?;
    }
    Ok(surplus)
}

/// The hash of the token of session `id`; that of nobody where there is none.
fn stored_hash(reader: &Connection, id: &SessionID) -> Result<TokenHash, StoreError> {
    let hash = reader
        .prepare_cached("SELECT coalesce((SELECT token_hash FROM sessions WHERE id = ?1), zeroblob(32))")?
        .query_row([id.as_str()], |row| row.get(0))?;
    Ok(TokenHash(hash))
}

pub(super) fn find(reader: &Connection, id: &str) -> Result<Option<StoredSession>, StoreError> {
    reader
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?
        .query_row([id], |row| Ok(stored(row)))
        .optional()?
        .transpose()
}

fn stored(row: &Row<'_>) -> Result<StoredSession, StoreError> {
    let groups: String = row.get("groups")?;
    let ended_at: Option<i64> = row.get("ended_at")?;
    let reason: Option<String> = row.get("end_reason")?;
    let ended = match (ended_at, reason) {
        (Some(at), Some(reason)) => {
            Some(Ended { at: time::from_database(at)?, reason: EndReason::parse(&reason)? })
        }
        _ => None,
    };
    Ok(StoredSession {
        id: session_id(&row.get::<_, String>("id")?)?,
        token_hash: TokenHash(row.get("token_hash")?),
        user: User {
            name: row.get("name")?,
            email: row.get("email")?,
            groups: serde_json::from_str(&groups).map_err(|_| StoreError::UnexpectedRow("groups"))?,
            provider: row.get("provider")?,
            issuer: row.get("issuer")?,
            subject: row.get("subject")?,
        },
        email_verified: row.get("email_verified")?,
        opening: opening::of(row)?,
        created_at: time::from_database(row.get("created_at")?)?,
        expires_at: time::from_database(row.get("expires_at")?)?,
        last_used_at: time::from_database(row.get("last_used_at")?)?,
        ended,
        revision: row.get("revision")?,
        told: OnceLock::new(),
    })
}

pub(super) fn session_id(text: &str) -> Result<SessionID, StoreError> {
    SessionID::parse(text).ok_or(StoreError::UnexpectedRow("session id"))
}
