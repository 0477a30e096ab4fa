//! Tells whether the store can serve requests.

use infra_shared::random;

use super::engine::{await_engine, on_engine};
use super::{Store, StoreError, WriteCounts};

/// 64 KiB, more than a login writes: if the probe fits, the next login does too.
const PARTS: usize = 256;

impl Store {
    /// Checks that the store can serve requests. Fails if a read fails, if the last write failed, or if the rollback
    /// guard found older data.
    pub async fn check(&self) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.check())
    }

    /// Fails if the last write failed and no probe has succeeded since.
    pub fn check_writes(&self) -> Result<(), StoreError> {
        on_engine!(self, engine => engine.check_writes())
    }

    /// Returns the number of transactions since the start.
    pub fn writes(&self) -> WriteCounts {
        on_engine!(self, engine => engine.writes())
    }

    /// Writes a probe and waits until it is durable. Only a successful probe clears a failed write, because small
    /// transactions may fit on a disk that a login would fill.
    pub async fn probe(&self) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.probe())
    }
}

/// Random, so that the file system cannot compress it away.
pub(super) fn random_bytes() -> Vec<u8> {
    (0..PARTS).flat_map(|_| random::bytes::<256>()).collect()
}
