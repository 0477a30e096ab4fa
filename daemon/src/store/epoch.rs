//! Operations on the rollback guard: how new the data is, and what to do where it is not as new as it was.

use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Transaction, TransactionBehavior, params};

use super::guard::{self, Change};
use super::{EndReason, Store, StoreError, refresh_tokens, time};
use crate::platform::blocking;

/// The pause after a few sessions were read: verifying takes a small part of one core.
const PAUSE: Duration = Duration::from_millis(2);

impl Store {
    /// A number that grows with every change of a session.
    pub fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.guard.epoch())
    }

    /// Raises the epoch above what it was, and above `seen`; answers the new one.
    pub async fn raise_epoch(&self, seen: u64) -> Result<u64, StoreError> {
        self.change(
            move |_, change| {
                change.raise_above(seen);
                Ok(())
            },
            |()| (),
        )
        .await?;
        self.epoch()
    }

    /// Fails once part of the database was found to be older than it was.
    pub fn check_age(&self) -> Result<(), StoreError> {
        self.guard.check()
    }

    /// Compares all sessions with the digests, a few at a time; fails where anything is older than it was. For as long as
    /// this takes the write-ahead log grows.
    pub async fn verify_sessions(&self) -> Result<(), StoreError> {
        let store = self.clone();
        let verifying = move || {
            store.guard.check()?;
            let (replaced, known, key) = (store.guard.replaced(), store.guard.epoch(), store.guard.key());
            let (epoch, found) = store
                .connections
                .read_in_background(|reader| guard::verify(reader, &key, || std::thread::sleep(PAUSE)))?;
            match found {
                // The next time.
                _ if store.guard.replaced() != replaced => Ok(()),
                Some(what) => Err(store.guard.report(what.to_owned())),
                None if epoch < known => {
                    Err(store.guard.report("the rollback guard was set back".to_owned()))
                }
                None => Ok(()),
            }
        };
        blocking(verifying).await
    }

    /// The later of `now` and the latest time that was seen: nothing that expired comes back with the clock.
    pub fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        self.guard.not_before_latest(now)
    }

    /// Fails where `now` is clearly before the latest time that was seen.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        self.guard.check_clock(now)
    }

    /// Ends all sessions, and takes everything else as it is stored, with an epoch above `seen` and `now` as the latest time;
    /// answers how many it ended.
    pub async fn accept_rollback(&self, seen: u64, now: Timestamp) -> Result<usize, StoreError> {
        let store = self.clone();
        let accepting = move || {
            let mut writer = store.connections.writer.lock().unwrap_or_else(PoisonError::into_inner);
            // An index may be of another time than its table.
            writer.execute_batch("REINDEX")?;
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let ended = transaction.execute(
                "UPDATE sessions SET ended_at = ?1, end_reason = ?2, revision = revision + 1 WHERE ended_at IS NULL",
                params![time::to_database(now), EndReason::Restored.as_str()],
            )?;
            refresh_tokens::end_all(&transaction)?;
            let key = store.guard.key();
            let (row, known) = guard::accept(&transaction, &key, seen, time::to_database(now))?;
            transaction.commit()?;
            store.guard.accepted(row, known);
            store.recent.all_changed();
            Ok(ended)
        };
        blocking(accepting).await
    }

    /// Runs one transaction that changes what is guarded, and then `then`. Durable when it returns.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>, &mut Change<'_>) -> Result<T, StoreError> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (guard, keeper) = (self.guard.clone(), self.guard.clone());
        let changing = move |transaction: &Transaction<'_>| {
            let mut change = guard.begin(transaction)?;
            let result = operation(transaction, &mut change)?;
            Ok((result, change.save(transaction)?))
        };
        let committed = move |(result, changed)| {
            keeper.committed(changed);
            result
        };
        self.connections.write_then(changing, committed, then).await
    }
}
