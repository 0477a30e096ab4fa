//! Drops what has expired.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Transaction, params};

use super::{Store, StoreError, time};
use crate::store::guard::{Change, GUARDED, SessionState};
use crate::store::{audience_tokens, refresh_tokens};

/// How long the row of a session outlives the session, so that its holder can be told how it ended.
const KEPT: SignedDuration = SignedDuration::from_hours(24);

/// Sessions that are dropped in one transaction.
const DROPPED_AT_ONCE: u32 = 1000;

impl Store {
    /// Drops tickets that expired, and sessions that did so more than 24 h ago; answers how many sessions. All of it is as of
    /// `now`, which is the latest time that was seen from then on: a clock that is set back brings nothing back.
    pub async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        let now = self.not_before_latest(now);
        let before = time::to_database(now.checked_sub(KEPT).unwrap_or(Timestamp::MIN));
        let drop_expired = move |transaction: &Transaction<'_>, change: &mut Change<'_>| {
            change.see_time(now);
            transaction
                .prepare_cached("DELETE FROM consumed_tickets WHERE expires_at <= ?1 RETURNING id")?
                .query_map([time::to_database(now)], |row| row.get(0))?
                .try_for_each(|id| id.map(|id| change.drop_ticket(id)))?;
            refresh_tokens::purge(transaction, now)?;
            audience_tokens::purge(transaction, now)?;
            Ok(())
        };
        self.change(drop_expired, |()| ()).await?;
        let mut count = 0;
        // Others write between one part and the next.
        loop {
            let dropped = self
                .change(move |transaction, change| drop_sessions(transaction, change, before), |_| ())
                .await?;
            count += dropped;
            if dropped < DROPPED_AT_ONCE as usize {
                return Ok(count);
            }
        }
    }
}

fn drop_sessions(
    transaction: &Transaction<'_>,
    change: &mut Change<'_>,
    before: i64,
) -> Result<usize, StoreError> {
    let dropped: Vec<SessionState> = transaction
        .prepare_cached(&format!(
            "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= ?1 LIMIT ?2) RETURNING {GUARDED}"
        ))?
        .query_and_then(params![before, DROPPED_AT_ONCE], |row| change.state(row))?
        .collect::<Result<_, _>>()?;
    dropped.iter().try_for_each(|state| change.drop_session(state))?;
    Ok(dropped.len())
}
