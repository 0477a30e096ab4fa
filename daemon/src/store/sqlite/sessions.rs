//! Session rows: insert, look up, record use, delete addresses.

use std::sync::OnceLock;

use infra_shared::api::{Delegation, User};
use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Sqlite;
use super::guard::{GUARDED, GuardedChange};
use super::{refresh_tokens, revocation};
use crate::store::sessions::over_limit;
use crate::store::{
    ClientInfo, EndReason, Ended, NewSession, RevokedSession, SessionSelector, StoreError, StoredSession,
    TokenHash, time,
};

/// The id of the dummy row, read if a session or token does not exist. The first migration inserts it.
pub(super) const DUMMY_ID: &str = "0000000000";

pub(super) const COLUMNS: &str = "id, token_hash, issuer, subject, provider, name, email, email_verified, groups, device, \
                       login_method, address, parent_id, audiences, label, created_at, expires_at, last_used_at, \
                       ended_at, end_reason, revision";

impl Sqlite {
    pub(in crate::store) async fn open_session(
        &self,
        session: NewSession,
        max_per_user: u32,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        self.write_guarded(move |transaction, change| {
            change.see_time(session.created_at);
            insert(transaction, change, &session)?;
            if let Some(refresh_token) = &session.refresh_token {
                refresh_tokens::insert(transaction, &session.id, refresh_token, session.expires_at)?;
            }
            let live = live_of_user(transaction, &session)?;
            let oldest = SessionSelector::Ids(over_limit(live, &session.id, max_per_user));
            revocation::revoke(transaction, change, &oldest, session.created_at, EndReason::SessionLimit)
        })
        .await
    }

    pub(in crate::store) async fn find_session(
        &self,
        id: &SessionID,
    ) -> Result<Option<StoredSession>, StoreError> {
        self.guard.check()?;
        let minimum = self.guard.minimum_state(id.as_str());
        let found = self.connections.look_up(|reader| find(reader, id.as_str())).await?;
        if let Some(session) = &found {
            self.guard.check_session(session, minimum)?;
        }
        Ok(found)
    }

    pub(in crate::store) async fn touch_session(
        &self,
        id: &SessionID,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached("UPDATE sessions SET last_used_at = max(last_used_at, ?2) WHERE id = ?1")?
                    .execute(params![id.as_str(), time::to_database(at)])?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn update_user(
        &self,
        id: &SessionID,
        user: User,
        email_verified: bool,
    ) -> Result<Vec<SessionID>, StoreError> {
        let row = id.clone();
        self.write_guarded(move |transaction, change| {
            let groups = serde_json::to_string(&user.groups).expect("a list of strings is JSON");
            transaction
                .prepare_cached(&format!("SELECT {GUARDED} FROM sessions WHERE {FAMILY}"))?
                .query_and_then([row.as_str()], |row| change.state(row))?
                .collect::<Result<Vec<_>, _>>()?
                .iter()
                .try_for_each(|before| change.remove(before))?;
            let updated = transaction
                .prepare_cached(&format!(
                    "UPDATE sessions SET name = ?2, email = ?3, email_verified = ?4, groups = ?5, \
                         revision = revision + 1 WHERE {FAMILY} RETURNING {GUARDED}"
                ))?
                .query_and_then(
                    params![row.as_str(), user.name, user.email, email_verified, groups],
                    |row| {
                        Ok::<_, StoreError>((session_id(&row.get::<_, String>("id")?)?, change.state(row)?))
                    },
                )?
                .collect::<Result<Vec<_>, _>>()?;
            for (_, after) in &updated {
                change.add(after);
            }
            Ok(updated.into_iter().map(|(id, _)| id).collect())
        })
        .await
    }

    pub(in crate::store) async fn forget_addresses(&self, at_most: u32) -> Result<usize, StoreError> {
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
}

/// ?1: the issuer, ?2: the subject, ?3: now.
const LIVE_OF_USER: &str = "SELECT created_at, id FROM sessions WHERE issuer = ?1 AND subject = ?2 \
                            AND ended_at IS NULL AND expires_at > ?3 AND parent_id IS NULL";

/// A live session and those that it delegated. ?1: its ID. A UNION, because SQLite would scan for an OR.
const FAMILY: &str =
    "id IN (SELECT ?1 UNION SELECT id FROM sessions WHERE parent_id = ?1) AND ended_at IS NULL";

/// The live sessions of logins of the user of `session` when it was created.
fn live_of_user(
    transaction: &Transaction<'_>,
    session: &NewSession,
) -> Result<Vec<(Timestamp, SessionID)>, StoreError> {
    let (user, now) = (&session.user, time::to_database(session.created_at));
    transaction
        .prepare_cached(LIVE_OF_USER)?
        .query_and_then(params![user.issuer, user.subject, now], |row| {
            Ok((time::from_database(row.get(0)?)?, session_id(&row.get::<_, String>(1)?)?))
        })?
        .collect()
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    change: &mut GuardedChange<'_>,
    session: &NewSession,
) -> Result<(), StoreError> {
    let user = &session.user;
    let groups = serde_json::to_string(&user.groups).expect("a list of strings is JSON");
    let created_at = time::to_database(session.created_at);
    let delegation = session.delegation.as_deref();
    let audiences =
        delegation.map(|it| serde_json::to_string(&it.audiences).expect("a list of strings is JSON"));
    let inserted = transaction
        .prepare_cached(&format!(
            "INSERT INTO sessions (id, token_hash, issuer, subject, provider, name, email, email_verified, groups, \
             device, login_method, address, parent_id, audiences, label, created_at, expires_at, last_used_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?16) \
             RETURNING {GUARDED}"
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
            session.client_info.device,
            session.client_info.login_method_text(),
            session.client_info.address.map(|address| address.to_string()),
            delegation.map(|it| it.parent.as_str()),
            audiences,
            delegation.map(|it| it.label.as_str()),
            created_at,
            time::to_database(session.expires_at),
        ], |row| change.state(row))?
        .collect::<Result<Vec<_>, _>>()?;
    for state in &inserted {
        change.add(state);
    }
    Ok(())
}

pub(super) fn find(reader: &Connection, id: &str) -> Result<Option<StoredSession>, StoreError> {
    reader
        .prepare_cached(&format!("SELECT {COLUMNS} FROM sessions WHERE id = ?1"))?
        .query_row([id], |row| Ok(stored(row)))
        .optional()?
        .transpose()
}

pub(super) fn stored(row: &Row<'_>) -> Result<StoredSession, StoreError> {
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
        client_info: ClientInfo::parse(
            row.get("device")?,
            &row.get::<_, String>("login_method")?,
            row.get("address")?,
        )?,
        delegation: delegation(row)?.map(Box::new),
        created_at: time::from_database(row.get("created_at")?)?,
        expires_at: time::from_database(row.get("expires_at")?)?,
        last_used_at: time::from_database(row.get("last_used_at")?)?,
        ended,
        revision: row.get("revision")?,
        cached_json: OnceLock::new(),
        is_admitted: OnceLock::new(),
    })
}

/// Reads the columns `parent_id`, `audiences` and `label`.
pub(super) fn delegation(row: &Row<'_>) -> Result<Option<Delegation>, StoreError> {
    let Some(parent) = row.get::<_, Option<String>>("parent_id")? else { return Ok(None) };
    let audiences: String = row.get("audiences")?;
    Ok(Some(Delegation {
        parent: session_id(&parent)?,
        audiences: serde_json::from_str(&audiences).map_err(|_| StoreError::UnexpectedRow("audiences"))?,
        label: row.get("label")?,
    }))
}

pub(super) fn session_id(text: &str) -> Result<SessionID, StoreError> {
    SessionID::parse(text).ok_or(StoreError::UnexpectedRow("session id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(statement: &str, parameters: impl rusqlite::Params) -> Vec<String> {
        let database = Connection::open_in_memory().expect("a database");
        database.execute_batch(include_str!("migrations/0001_first.sql")).expect("the schema");
        database
            .prepare(&format!("EXPLAIN QUERY PLAN {statement}"))
            .and_then(|mut explain| explain.query_map(parameters, |row| row.get("detail"))?.collect())
            .expect("a plan")
    }

    /// Each login runs the statement once, on stores that may hold many sessions.
    #[test]
    fn live_sessions_of_user_are_found_by_index() {
        let plan = plan(LIVE_OF_USER, params!["https://okta.test", "00u1", 1]);
        assert_eq!(plan, ["SEARCH sessions USING INDEX sessions_by_user (issuer=? AND subject=?)"]);
    }

    /// Each revalidation that changes claims runs them.
    #[test]
    fn sessions_of_a_family_are_found_by_index() {
        let plan = plan(&format!("SELECT id FROM sessions WHERE {FAMILY}"), params!["0123456789"]);
        assert!(plan.iter().any(|step| step.contains("sessions_by_parent")), "{plan:?}");
        assert!(plan.iter().all(|step| !step.starts_with("SCAN sessions")), "{plan:?}");
    }
}
