//! Leases of jobs that one daemon does at a time.

use super::engine::await_engine;
use super::{Store, StoreError};

/// Grows with every change of a lease's holder. A write of the job checks that it still holds the highest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub(super) i64);

impl Store {
    /// Takes or renews the lease of the job `name` for 15 seconds. `None` means that another daemon holds it.
    pub async fn take_lease(&self, name: &str) -> Result<Option<Fence>, StoreError> {
        await_engine!(self, engine => engine.take_lease(name))
    }
}
