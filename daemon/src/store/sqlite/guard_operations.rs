//! Operations on the rollback guard: read and raise the counter, verify the data, accept a rollback.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Sqlite;
use super::guard::{self, GuardedChange};
use super::revocation;
use crate::platform::blocking;
use crate::store::{EndReason, SessionSelector, StoreError, time};

/// The pause between batches. Keeps verification to a small part of one core.
const PAUSE: Duration = Duration::from_millis(2);

impl Sqlite {
    pub(in crate::store) fn guard_counter(&self) -> u64 {
        self.guard.counter()
    }

    pub(in crate::store) async fn raise_guard_counter(&self, seen: u64) -> Result<u64, StoreError> {
        self.write_guarded(move |_, change| {
            change.raise_above(seen);
            Ok(())
        })
        .await?;
        Ok(self.guard_counter())
    }

    pub(in crate::store) fn check_age(&self) -> Result<(), StoreError> {
        self.guard.check()
    }

    pub(in crate::store) async fn verify_sessions(&self) -> Result<(), StoreError> {
        let (connections, guard) = (self.connections.clone(), self.guard.clone());
        guard.check()?;
        // Read first, because a rotation replaces the connection before the key.
        let (generation, known, key) = (guard.generation(), guard.counter(), guard.key());
        let verify = move |reader: &Connection| {
            let (counter, found) = guard::verify(reader, &key, || std::thread::sleep(PAUSE))?;
            let what = match found {
                Some(what) => what,
                None if counter < known => "the rollback guard was set back",
                None => return Ok(()),
            };
            // A rotation holds the writer until both are replaced.
            drop(connections.writer.lock());
            if guard.generation() != generation {
                // The key or the state was replaced meanwhile: the next run decides.
                return Ok(());
            }
            Err(guard.report(what.to_owned()))
        };
        self.connections.scan_in_background(verify).await
    }

    pub(in crate::store) fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        self.guard.not_before_latest(now)
    }

    pub(in crate::store) fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        self.guard.check_clock(now)
    }

    pub(in crate::store) async fn accept_rollback(
        &self,
        seen: u64,
        now: Timestamp,
    ) -> Result<usize, StoreError> {
        let store = self.clone();
        let accepting = move || {
            let mut writer = store.connections.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // After a rollback an index may be older than its table.
            writer.execute_batch("REINDEX")?;
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            // Not through the guard, which rejects all changes of rolled back data.
            let all = SessionSelector::ALL;
            let revoked = revocation::update(&transaction, &all, now, EndReason::Restored, |_| Ok(()))?;
            let key = store.guard.key();
            let (row, known) = guard::accept(&transaction, &key, seen, time::to_database(now))?;
            transaction.commit()?;
            store.guard.reset(row, known);
            Ok(revoked)
        };
        blocking(accepting).await
    }

    /// Runs one transaction on guarded data. Durable when it returns.
    pub(super) async fn write_guarded<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>, &mut GuardedChange<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (guard, keeper) = (self.guard.clone(), self.guard.clone());
        let changing = move |transaction: &Transaction<'_>| {
            let mut change = guard.begin(transaction)?;
            let result = operation(transaction, &mut change)?;
            Ok((result, change.save(transaction)?))
        };
        let committed = move |(result, changed)| {
            keeper.apply(changed);
            result
        };
        self.connections.write_then(changing, committed).await
    }
}
