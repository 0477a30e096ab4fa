//! Detects a restored database and clocks that were set back.
//!
//! The counter of changes grows with every revocation, so a database whose counter is lower than one seen before was
//! restored or lost commits. Rows authenticate one by one when they are read: there are no digests over all of them.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::clock::{NOW, Offset};
use super::statements::{count, parameters};
use super::transactions::in_transaction;
use super::{Postgres, changes};
use crate::store::rollback::{check_clock, later};
use crate::store::{EndReason, SessionSelector, StoreError, time};

impl Postgres {
    /// The last number that this member has seen.
    pub(in crate::store) fn guard_counter(&self) -> u64 {
        u64::try_from(self.counter.load(Ordering::Acquire)).unwrap_or_default()
    }

    pub(in crate::store) async fn raise_guard_counter(&self, seen: u64) -> Result<u64, StoreError> {
        let seen = i64::try_from(seen).map_err(|_| StoreError::UnexpectedRow("a count"))?;
        let raised = in_transaction!(self, transaction => async {
            let raise = "UPDATE counter SET value = greatest(value, $1)";
            transaction.execute_typed(raise, parameters![seen]).await?;
            changes::record(&transaction, &[]).await?;
            let row = transaction.query_typed_one("SELECT value FROM counter", &[]).await?;
            Ok(row.try_get::<_, i64>(0)?)
        }.await)?;
        self.counter.fetch_max(raised, Ordering::AcqRel);
        count(raised)
    }

    pub(in crate::store) fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        later(now, self.latest.load(Ordering::Acquire))
    }

    pub(in crate::store) fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        check_clock(now, self.not_before_latest(now))
    }

    pub(in crate::store) async fn accept_rollback(
        &self,
        seen: u64,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let revoked = self.revoke(SessionSelector::ALL, now, EndReason::Restored).await?.len();
        self.write("UPDATE counter SET latest_time = $1", parameters![time::to_database(now)]).await?;
        self.latest.store(time::to_database(now), Ordering::Release);
        self.raise_guard_counter(seen).await?;
        Ok(revoked)
    }

    /// Reads what the members know about changes and time.
    pub(super) async fn read_latest(&self) -> Result<i64, StoreError> {
        let asked = Offset::ask();
        let row =
            self.read_one(&format!("SELECT value, latest_time, {NOW} AS time FROM counter"), &[]).await?;
        let row = row.ok_or(StoreError::UnexpectedRow("no counter"))?;
        self.clock.answered(&asked, row.try_get("time")?)?;
        self.counter.fetch_max(row.try_get("value")?, Ordering::AcqRel);
        Ok(self.learn_latest(row.try_get("latest_time")?))
    }

    /// Remembers the latest time that a member recorded, and returns it. Forgets one that no clock can have shown: a wrong clock
    /// of the database would otherwise stop validation for as long as daemons run.
    pub(super) fn learn_latest(&self, recorded: i64) -> i64 {
        let possible = self.clock.latest_possible();
        let is_wrong = recorded > possible;
        if self.is_latest_wrong.swap(is_wrong, Ordering::Relaxed) != is_wrong {
            log_latest(is_wrong, recorded);
        }
        let plausible = |latest: i64| if latest > possible { 0 } else { latest };
        let learn = |known: i64| Some(plausible(known).max(plausible(recorded)));
        let known = self.latest.fetch_update(Ordering::AcqRel, Ordering::Acquire, learn);
        learn(known.unwrap_or_else(|known| known)).unwrap_or_default()
    }

    /// Records a time for all members, in the place of one that no clock can have shown. Returns the latest one.
    pub(super) async fn raise_latest(&self, now: Timestamp) -> Result<i64, StoreError> {
        let raise = "UPDATE counter SET latest_time = greatest(CASE WHEN latest_time <= $2 THEN latest_time END, $1) \
                     RETURNING latest_time";
        let possible = self.clock.latest_possible();
        let now = time::to_database(now).min(possible);
        let rows = self.write_returning(raise, parameters![now, possible]).await?;
        let latest = rows.first().ok_or(StoreError::UnexpectedRow("no counter"))?.try_get("latest_time")?;
        Ok(self.learn_latest(latest))
    }
}

/// `recorded` may be no time at all.
fn log_latest(is_wrong: bool, recorded: i64) {
    if !is_wrong {
        tracing::info!("the latest time in the database is plausible again");
        return;
    }
    let recorded = time::from_database(recorded).map_or_else(|_| recorded.to_string(), |at| at.to_string());
    tracing::error!(
        recorded,
        "the latest time in the database is in the future: ignoring and replacing it; its clock was wrong, or someone can \
         write to the database"
    );
}
