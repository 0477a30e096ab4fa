//! The end of sessions before their time: of one, of a user's, of all.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::{EndReason, Store, StoreError, epoch, refresh_tokens, session_id, time};

/// Which sessions are meant. Whether they could still be used does not matter: a clock that steps back, or another
/// configuration, may not bring one of them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Which {
    One(SessionID),
    /// Those of the same user as this one, and not this one.
    Beside(SessionID),
    /// Those with this e-mail, verified or not, or with this subject; not the one of an administrator who asks for it.
    User {
        name: String,
        but: Option<SessionID>,
    },
    All,
}

/// A session that was ended, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSession {
    pub id: SessionID,
    pub issuer: String,
    pub subject: String,
}

impl Store {
    /// Ends those that were not ended before, in one transaction; durable when it returns, and when `then` is called with
    /// them. That happens also where nobody waits for it any more.
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
        self.connections.write_then(move |transaction| end(transaction, &which, at, reason), known).await
    }
}

fn end(
    transaction: &Transaction<'_>,
    which: &Which,
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<EndedSession>, StoreError> {
    let (condition, named, but) = match which {
        Which::One(id) => ("id = ?3 AND ?4 IS NULL", id.as_str(), None),
        Which::Beside(id) => (
            "(issuer, subject) = (SELECT issuer, subject FROM sessions WHERE id = ?3) AND id IS NOT ?4",
            id.as_str(),
            Some(id),
        ),
        Which::User { name, but } => {
            ("(subject = ?3 OR email = ?3 COLLATE NOCASE) AND id IS NOT ?4", name.as_str(), but.as_ref())
        }
        Which::All => ("?3 = '' AND ?4 IS NULL", "", None),
    };
    let update = format!(
        "UPDATE sessions SET ended_at = ?1, end_reason = ?2 WHERE ended_at IS NULL AND {condition} \
         RETURNING id, issuer, subject"
    );
    let ended: Vec<EndedSession> = transaction
        .prepare_cached(&update)?
        .query_map(
            params![time::to_database(at), reason.as_str(), named, but.map(SessionID::as_str)],
            |row| Ok(ended(row)),
        )?
        .map(|row| row?)
        .collect::<Result<_, _>>()?;
    if *which == Which::All {
        refresh_tokens::end_all(transaction)?;
    } else {
        ended.iter().try_for_each(|session| refresh_tokens::end(transaction, session.id.as_str()))?;
    }
    if !ended.is_empty() || *which == Which::All {
        epoch::raise(transaction)?;
    }
    Ok(ended)
}

fn ended(row: &Row<'_>) -> Result<EndedSession, StoreError> {
    Ok(EndedSession {
        id: session_id(&row.get::<_, String>("id")?)?,
        issuer: row.get("issuer")?,
        subject: row.get("subject")?,
    })
}
