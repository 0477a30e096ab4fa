//! Tests by writing that the store can be written.

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::Postgres;
use super::connections::WAIT;
use super::statements::parameters;
use crate::store::probe::random_bytes;
use crate::store::{StoreError, WriteCounts};

/// Lets one check at a time read from the database, because anyone can ask if the daemon is ready. Holds when the last read
/// that succeeded began.
#[derive(Default)]
pub(super) struct OneCheck(Mutex<Option<Instant>>);

impl Postgres {
    pub(in crate::store) async fn check(&self) -> Result<(), StoreError> {
        self.writes.check()?;
        let asked = Instant::now();
        let no_answer = |_| StoreError::NoAnswer { seconds: WAIT.as_secs() };
        let mut last = timeout(WAIT, self.check.0.lock()).await.map_err(no_answer)?;
        // Those who waited meanwhile share one read.
        if last.is_some_and(|begun| begun >= asked) {
            return Ok(());
        }
        let begun = Instant::now();
        self.read("SELECT value FROM counter", &[]).await?;
        *last = Some(begun);
        Ok(())
    }

    pub(in crate::store) fn check_writes(&self) -> Result<(), StoreError> {
        self.writes.check()
    }

    pub(in crate::store) fn writes(&self) -> WriteCounts {
        self.writes.counts()
    }

    /// All members write the same row, so that the database does not grow.
    pub(in crate::store) async fn probe(&self) -> Result<(), StoreError> {
        self.write("UPDATE write_probe SET contents = $1", parameters![random_bytes()]).await?;
        self.writes.succeeded();
        Ok(())
    }
}
