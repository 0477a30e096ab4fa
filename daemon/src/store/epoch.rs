//! How new the data is: a number that grows with every start and every session that is ended before its time.

use rusqlite::Transaction;

use super::{Store, StoreError};

impl Store {
    pub fn epoch(&self) -> Result<u64, StoreError> {
        self.connections.read(|reader| {
            let epoch: i64 = reader.query_row("SELECT value FROM epoch", [], |row| row.get(0))?;
            u64::try_from(epoch).map_err(|_| StoreError::UnexpectedRow("epoch"))
        })
    }

    /// Raises the epoch above what it was, and above `seen`; answers the new one.
    pub async fn raise_epoch(&self, seen: u64) -> Result<u64, StoreError> {
        let seen = i64::try_from(seen).unwrap_or(i64::MAX - 1);
        self.connections
            .write(move |transaction| {
                transaction.execute("UPDATE epoch SET value = max(value, ?1) + 1", [seen])?;
                Ok(())
            })
            .await?;
        self.epoch()
    }
}

pub(super) fn raise(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.prepare_cached("UPDATE epoch SET value = value + 1")?.execute([])?;
    Ok(())
}
