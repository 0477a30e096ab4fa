//! Opens delegated sessions.

use tokio_postgres::Transaction;

use super::Postgres;
use super::session_rows::{COLUMNS, stored};
use super::sessions::insert;
use super::statements::{count, moment, parameters};
use super::transactions::in_transaction;
use crate::keys::RowKeys;
use crate::store::audience_tokens::wait_for_next;
use crate::store::{DelegatedSession, IssueOutcome, StoreError, time};

impl Postgres {
    pub(in crate::store) async fn open_delegated_session(
        &self,
        session: DelegatedSession,
        max_per_parent: u32,
    ) -> Result<IssueOutcome, StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => open(&transaction, keys, session.clone(), max_per_parent).await)
    }
}

async fn open(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    session: DelegatedSession,
    max_per_parent: u32,
) -> Result<IssueOutcome, StoreError> {
    // Locked until the commit: a sign-out and new claims wait for this session or come first, and so does another one of the
    // parent.
    let select =
        format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = $1 AND s.ended_at IS NULL FOR NO KEY UPDATE");
    let Some(row) = transaction.query_typed_opt(&select, parameters![session.parent().as_str()]).await?
    else {
        return Ok(IssueOutcome::SessionEnded);
    };
    let parent = stored(keys, &row)?;
    if !session.may_be_opened_by(&parent) {
        return Ok(IssueOutcome::SessionEnded);
    }
    let (id, now) = (session.parent().as_str(), time::to_database(session.created_at));
    let select = "SELECT count(*), min(expires_at) FROM sessions WHERE parent_id = $1 AND ended_at IS NULL \
                  AND expires_at > $2";
    let row = transaction.query_typed_one(select, parameters![id, now]).await?;
    let live = u32::try_from(count(row.try_get(0)?)?).unwrap_or(u32::MAX);
    if let Some(wait) = wait_for_next(live, moment(row.try_get(1)?)?, max_per_parent, session.created_at) {
        return Ok(IssueOutcome::LimitReached(wait));
    }
    let update = "UPDATE sessions SET last_used_at = greatest(last_used_at, $2) WHERE id = $1";
    transaction.execute_typed(update, parameters![id, now]).await?;
    insert(transaction, keys, &session.into_new(parent), "").await?;
    Ok(IssueOutcome::Issued)
}
