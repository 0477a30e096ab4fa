//! Opens delegated sessions.

use rusqlite::{Transaction, params};

use super::Sqlite;
use super::guard::GuardedChange;
use super::sessions::{find, insert};
use crate::store::audience_tokens::wait_for_next;
use crate::store::{DelegatedSession, IssueOutcome, StoreError, StoredSession, time};

impl Sqlite {
    pub(in crate::store) async fn open_delegated_session(
        &self,
        session: DelegatedSession,
        max_per_parent: u32,
    ) -> Result<IssueOutcome, StoreError> {
        let guard = self.guard.clone();
        self.write_guarded(move |transaction, change| {
            change.see_time(session.created_at);
            let minimum = guard.minimum_state(session.parent().as_str());
            let Some(parent) = find(transaction, session.parent().as_str())? else {
                return Ok(IssueOutcome::SessionEnded);
            };
            guard.check_session(&parent, minimum)?;
            if !session.may_be_opened_by(&parent) {
                return Ok(IssueOutcome::SessionEnded);
            }
            let outcome = check_limit(transaction, &session, max_per_parent)?;
            if outcome == IssueOutcome::Issued {
                store(transaction, change, session, parent)?;
            }
            Ok(outcome)
        })
        .await
    }
}

fn check_limit(
    transaction: &Transaction<'_>,
    session: &DelegatedSession,
    max_per_parent: u32,
) -> Result<IssueOutcome, StoreError> {
    let now = session.created_at;
    let (live, first): (u32, Option<i64>) = transaction
        .prepare_cached(
            "SELECT count(*), min(expires_at) FROM sessions WHERE parent_id = ?1 AND ended_at IS NULL AND expires_at > ?2",
        )?
        .query_row(params![session.parent().as_str(), time::to_database(now)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let first = first.map(time::from_database).transpose()?;
    let wait = wait_for_next(live, first, max_per_parent, now);
    Ok(wait.map_or(IssueOutcome::Issued, IssueOutcome::LimitReached))
}

fn store(
    transaction: &Transaction<'_>,
    change: &mut GuardedChange<'_>,
    session: DelegatedSession,
    parent: StoredSession,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE sessions SET last_used_at = max(last_used_at, ?2) WHERE id = ?1")?
        .execute(params![parent.id.as_str(), time::to_database(session.created_at)])?;
    insert(transaction, change, &session.into_new(parent))
}
