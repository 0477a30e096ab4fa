//! Ends sessions early: one, those of a user, or all.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::{EndReason, Store, StoreError, listing, refresh_tokens, session_id, time};
use crate::store::guard::{Change, GUARDED};

/// Which sessions to end. Expired ones are included, so that neither a clock that steps back nor another
/// configuration can revive them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    One(SessionID),
    /// The same user's other sessions.
    Beside(SessionID),
    /// Sessions with this email, verified or not, or this subject, except the requesting administrator's session.
    User {
        name: String,
        but: Option<SessionID>,
    },
    All,
}

/// A session that was ended, and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    pub id: SessionID,
    pub issuer: String,
    pub subject: String,
}

impl Store {
    /// Ends the selected sessions in one transaction. Durable when it returns.
    ///
    /// Calls `then` with the ended sessions after the commit, even if the caller has been cancelled.
    pub async fn end_sessions(
        &self,
        which: Which,
        at: Timestamp,
        reason: EndReason,
        then: impl FnOnce(&[EndedSession]) + Send + 'static,
    ) -> Result<Vec<EndedSession>, StoreError> {
        let (recent, is_all) = (self.recent.clone(), which == Which::All);
        let known = move |ended: &Vec<EndedSession>| {
            if is_all {
                recent.all_changed();
            } else {
                let ids: Vec<SessionID> = ended.iter().map(|ended| ended.id.clone()).collect();
                recent.changed(&ids);
            }
            then(ended);
        };
        let end = move |transaction: &Transaction<'_>, change: &mut Change<'_>| {
            end(transaction, change, &which, at, reason)
        };
        self.change(end, known).await
    }
}

pub(super) fn end(
    transaction: &Transaction<'_>,
    change: &mut Change<'_>,
    which: &Which,
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<EndedSession>, StoreError> {
    let of_name = format!("{} AND id IS NOT ?4", listing::of_name("?3"));
    let (condition, named, but) = match which {
        Which::One(id) => ("id = ?3 AND ?4 IS NULL", id.as_str(), None),
        Which::Beside(id) => (
            "(issuer, subject) = (SELECT issuer, subject FROM sessions WHERE id = ?3) AND id IS NOT ?4",
            id.as_str(),
            Some(id),
        ),
        Which::User { name, but } => (of_name.as_str(), name.as_str(), but.as_ref()),
        Which::All => ("?3 = '' AND ?4 IS NULL", "", None),
    };
    let (named, but) = (named, but.map(SessionID::as_str));
    let mut select = transaction.prepare_cached(&format!(
        "SELECT {GUARDED} FROM sessions WHERE ?1 = ?1 AND ?2 = ?2 AND ended_at IS NULL AND {condition}"
    ))?;
    let (mut rows, mut count) = (select.query(params![0, 0, named, but])?, 0_usize);
    while let Some(row) = rows.next()? {
        let before = change.state(row)?;
        change.remove(&before)?;
        count += 1;
    }
    let mut update = transaction.prepare_cached(&format!(
        "UPDATE sessions SET ended_at = ?1, end_reason = ?2, revision = revision + 1 \
         WHERE ended_at IS NULL AND {condition} RETURNING {GUARDED}"
    ))?;
    let mut rows = update.query(params![time::to_database(at), reason.as_str(), named, but])?;
    let mut ended_sessions = Vec::with_capacity(count);
    while let Some(row) = rows.next()? {
        let after = change.state(row)?;
        change.add(&after);
        ended_sessions.push(ended(row)?);
    }
    if ended_sessions.len() != count {
        return Err(StoreError::UnexpectedRow("a session that is found in one way only"));
    }
    if *which == Which::All {
        refresh_tokens::end_all(transaction)?;
        change.raise_above(0);
    } else {
        ended_sessions
            .iter()
            .try_for_each(|session| refresh_tokens::end(transaction, session.id.as_str()))?;
    }
    Ok(ended_sessions)
}

fn ended(row: &Row<'_>) -> Result<EndedSession, StoreError> {
    Ok(EndedSession {
        id: session_id(&row.get::<_, String>("id")?)?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
    })
}
