//! Answers to ACME challenges, for the other members of a shared store. Another member may get the authority's connection.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::engine::await_engine;
use super::{Lease, Store, StoreError};

impl Store {
    /// Stores an answer until `expires_at`, replacing one with the same name. Does nothing in a store of one process, which
    /// has its answers in memory.
    pub async fn save_challenge(
        &self,
        name: String,
        contents: Zeroizing<Vec<u8>>,
        expires_at: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.save_challenge(name, contents, expires_at, lease))
    }

    pub async fn find_challenge(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        await_engine!(self, engine => engine.find_challenge(name, now))
    }
}
