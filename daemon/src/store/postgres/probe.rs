//! Tests by writing that the store can be written.

use super::Postgres;
use super::statements::parameters;
use crate::store::probe::random_bytes;
use crate::store::{StoreError, WriteCounts};

impl Postgres {
    pub(in crate::store) async fn check(&self) -> Result<(), StoreError> {
        self.writes.check()?;
        self.read("SELECT value FROM counter", &[]).await.map(|_| ())
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
