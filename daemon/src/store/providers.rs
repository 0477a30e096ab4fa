//! The rows of the providers, as the last start found them in the configuration.

use rusqlite::params;

use super::{Store, StoreError};
use crate::keys::Sealed;

/// A provider's row.
pub struct ProviderRow {
    pub name: String,
    pub issuer: String,
    /// For `plaintext` the secret itself; for every other kind, only where it is.
    pub client_secret_reference: Sealed,
}

impl Store {
    /// Replaces the rows of all providers.
    pub async fn replace_providers(&self, rows: Vec<ProviderRow>) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute("DELETE FROM providers", [])?;
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO providers (name, issuer, client_secret_reference) VALUES (?1, ?2, ?3)",
                )?;
                for row in &rows {
                    insert.execute(params![row.name, row.issuer, row.client_secret_reference.as_bytes()])?;
                }
                Ok(())
            })
            .await
    }
}
