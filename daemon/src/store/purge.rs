//! Deletes expired rows.

use jiff::Timestamp;

use super::engine::await_engine;
use super::{Store, StoreError};

impl Store {
    /// Deletes expired tickets, and sessions that expired more than 24 h ago. Returns the number of sessions.
    ///
    /// Uses the later of `now` and the latest time seen, so that setting the clock back revives nothing.
    pub async fn purge(&self, now: Timestamp) -> Result<usize, StoreError> {
        await_engine!(self, engine => engine.purge(now))
    }
}
