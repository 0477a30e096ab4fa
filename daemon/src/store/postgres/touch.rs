//! Records when sessions were used, many in one transaction.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio_postgres::Transaction;

use super::Postgres;
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::store::{StoreError, time};

/// The pause between two batches, while uses come faster than they are written, and after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// Sessions per transaction.
const BATCH: usize = 500;
/// Sessions whose last use waits while the database is away, a few megabytes. Of more, the oldest uses are dropped, so these
/// sessions may only expire earlier.
const MOST: usize = 50_000;

/// Uses that are not written yet.
#[derive(Default)]
pub(super) struct Uses(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    /// The last use of each session.
    last: HashMap<String, i64>,
    /// The same, oldest first.
    by_time: BTreeSet<(i64, String)>,
    is_being_written: bool,
}

/// The caller that writes, until there is nothing left.
struct Writing<'a> {
    uses: &'a Uses,
    is_done: bool,
}

impl Postgres {
    /// Returns at once if another caller is writing and will write this use too. The one that writes may take long: run it in
    /// a task of its own. After a failure, it waits before the next caller may try.
    pub(in crate::store) async fn touch_session(
        &self,
        id: &SessionID,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let Some(mut writing) = self.uses.add(id, at) else { return Ok(()) };
        while let Some(used) = writing.next() {
            for batch in used.chunks(BATCH) {
                let (ids, times): (Vec<&str>, Vec<i64>) =
                    batch.iter().map(|(id, at)| (id.as_str(), *at)).unzip();
                let written = in_transaction!(self, transaction => write(&transaction, &ids, &times).await);
                if let Err(error) = written {
                    if error.is_transient() {
                        // Also those that were written: the latest use counts.
                        self.uses.put_back(used);
                        tokio::time::sleep(PAUSE).await;
                    }
                    return Err(error);
                }
            }
            if self.uses.is_any_left() {
                tokio::time::sleep(PAUSE).await;
            }
        }
        Ok(())
    }
}

/// A crash of the database may lose the last uses, so the commit does not wait for its disk. Locks in the order of IDs, as
/// revocations do.
async fn write(transaction: &Transaction<'_>, ids: &[&str], times: &[i64]) -> Result<(), StoreError> {
    transaction.batch_execute("SET LOCAL synchronous_commit = off").await?;
    let update = "WITH used AS (SELECT s.id, u.at FROM unnest($1, $2) AS u (id, at) JOIN sessions s ON s.id = u.id \
                  ORDER BY s.id FOR NO KEY UPDATE OF s) \
                  UPDATE sessions s SET last_used_at = greatest(s.last_used_at, used.at) FROM used WHERE s.id = used.id";
    transaction.execute_typed(update, parameters![ids.to_vec(), times.to_vec()]).await?;
    Ok(())
}

impl Uses {
    /// Returns a value if the caller has to write.
    fn add(&self, id: &SessionID, at: Timestamp) -> Option<Writing<'_>> {
        let mut waiting = self.lock();
        waiting.add(id.as_str().to_owned(), time::to_database(at));
        let is_first = !std::mem::replace(&mut waiting.is_being_written, true);
        is_first.then(|| Writing { uses: self, is_done: false })
    }

    fn put_back(&self, used: Vec<(String, i64)>) {
        let mut waiting = self.lock();
        for (id, at) in used {
            waiting.add(id, at);
        }
    }

    fn is_any_left(&self) -> bool {
        !self.lock().last.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, id: String, at: i64) {
        match self.last.get(&id).copied() {
            Some(last) if last >= at => return,
            Some(last) => {
                self.by_time.remove(&(last, id.clone()));
            }
            None => {}
        }
        self.by_time.insert((at, id.clone()));
        self.last.insert(id, at);
        if self.last.len() > MOST
            && let Some((_, oldest)) = self.by_time.pop_first()
        {
            self.last.remove(&oldest);
        }
    }

    fn take(&mut self) -> Vec<(String, i64)> {
        self.last.clear();
        std::mem::take(&mut self.by_time).into_iter().map(|(at, id)| (id, at)).collect()
    }
}

impl Writing<'_> {
    fn next(&mut self) -> Option<Vec<(String, i64)>> {
        let mut waiting = self.uses.lock();
        if waiting.last.is_empty() {
            // Under the lock: the next caller writes.
            waiting.is_being_written = false;
            self.is_done = true;
            return None;
        }
        Some(waiting.take())
    }
}

impl Drop for Writing<'_> {
    /// After a failure or a cancelled caller, the next caller writes.
    fn drop(&mut self) {
        if !self.is_done {
            self.uses.lock().is_being_written = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::SessionToken;

    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).expect("a time")
    }

    #[test]
    fn one_caller_writes_latest_uses_of_all() {
        let (uses, first, second) = (Uses::default(), SessionToken::mint(), SessionToken::mint());
        let mut writing = uses.add(first.id(), at(5)).expect("the first caller writes");
        for (token, milliseconds) in [(&first, 9), (&second, 3), (&first, 7)] {
            assert!(uses.add(token.id(), at(milliseconds)).is_none());
        }
        let expected = vec![(second.id().to_string(), 3), (first.id().to_string(), 9)];
        assert_eq!(writing.next(), Some(expected));
        assert_eq!(writing.next(), None);
        assert!(uses.add(first.id(), at(10)).is_some(), "the next caller writes");
    }

    #[test]
    fn uses_are_written_by_next_caller_after_failure() {
        let (uses, token) = (Uses::default(), SessionToken::mint());
        drop(uses.add(token.id(), at(5)));
        let mut writing = uses.add(token.id(), at(3)).expect("the one before is gone");
        assert_eq!(writing.next(), Some(vec![(token.id().to_string(), 5)]));
    }

    #[test]
    fn waiting_uses_are_bounded_and_oldest_are_dropped() {
        let mut waiting = Waiting::default();
        let most = i64::try_from(MOST).expect("a small number");
        for number in 0..most + 2 {
            waiting.add(number.to_string(), number);
        }
        // Used again, so that another one is the oldest.
        waiting.add("2".to_owned(), most + 2);
        waiting.add("new".to_owned(), most + 3);
        waiting.add("new".to_owned(), 0);
        assert_eq!((waiting.last.len(), waiting.by_time.len()), (MOST, MOST));
        let taken = waiting.take();
        assert_eq!(taken.first(), Some(&("4".to_owned(), 4)), "0, 1 and 3 were dropped");
        assert_eq!(taken.last(), Some(&("new".to_owned(), most + 3)));
        assert!(waiting.last.is_empty() && waiting.by_time.is_empty());
    }

    #[test]
    fn failed_uses_wait_for_next_caller() {
        let (uses, token) = (Uses::default(), SessionToken::mint());
        let mut writing = uses.add(token.id(), at(5)).expect("the first caller writes");
        let batch = writing.next().expect("a use");
        assert!(uses.add(token.id(), at(7)).is_none());
        uses.put_back(batch);
        drop(writing);
        let other = SessionToken::mint();
        let mut writing = uses.add(other.id(), at(6)).expect("the one before is gone");
        let expected = vec![(other.id().to_string(), 6), (token.id().to_string(), 7)];
        assert_eq!(writing.next(), Some(expected));
    }
}
