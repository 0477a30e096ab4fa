//! Deletes expired rows.

use jiff::Timestamp;
use rusqlite::{Transaction, params};

use super::guard::{GUARDED, GuardedChange, SessionState};
use super::{Sqlite, audience_tokens, refresh_tokens};
use crate::store::sessions::expired_before;
use crate::store::{StoreError, time};

/// Sessions deleted per transaction.
const DELETE_BATCH: u32 = 1000;

impl Sqlite {
    pub(in crate::store) async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        let now = self.not_before_latest(now);
        let before = time::to_database(expired_before(now));
        let delete_expired = move |transaction: &Transaction<'_>, change: &mut GuardedChange<'_>| {
            change.see_time(now);
            transaction
                .prepare_cached("DELETE FROM consumed_tickets WHERE expires_at <= ?1 RETURNING id")?
                .query_map([time::to_database(now)], |row| row.get(0))?
                .try_for_each(|id| id.map(|id| change.drop_ticket(id)))?;
            refresh_tokens::purge(transaction, now)?;
            audience_tokens::purge(transaction, now)?;
            Ok(())
        };
        self.write_guarded(delete_expired).await?;
        let mut count = 0;
        // Separate transactions let other writes run in between.
        loop {
            let deleted = self
                .write_guarded(move |transaction, change| delete_sessions(transaction, change, before))
                .await?;
            count += deleted;
            if deleted < DELETE_BATCH as usize {
                return Ok(count);
            }
        }
    }
}

fn delete_sessions(
    transaction: &Transaction<'_>,
    change: &mut GuardedChange<'_>,
    before: i64,
) -> Result<usize, StoreError> {
    let deleted: Vec<SessionState> = transaction
        .prepare_cached(&format!(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= ?1 LIMIT ?2) RETURNING {GUARDED}"
        ))?
        .query_and_then(params![before, DELETE_BATCH], |row| change.state(row))?
        .collect::<Result<_, _>>()?;
    deleted.iter().try_for_each(|state| change.drop_session(state))?;
    Ok(deleted.len())
}
