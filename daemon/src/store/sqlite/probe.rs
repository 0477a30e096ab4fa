//! Tests by writing that the store can be written.

use super::Sqlite;
use crate::store::StoreError;
use crate::store::probe::random_bytes;

impl Sqlite {
    pub(in crate::store) async fn probe(&self) -> Result<(), StoreError> {
        let contents = random_bytes();
        self.connections
            .write(move |transaction| {
                transaction.prepare_cached("UPDATE write_probe SET contents = ?1")?.execute([contents])?;
                Ok(())
            })
            .await?;
        self.connections.writes.succeeded();
        Ok(())
    }
}
