//! The provider rows.

use rusqlite::params;

use crate::store::{ProviderRow, Store, StoreError};

impl Store {
    /// Whether `rows` contain every provider of the last start with the same issuer and policy. If so, its sessions
    /// stay valid.
    pub async fn covers_stored_providers(&self, rows: &[ProviderRow]) -> Result<bool, StoreError> {
        self.connections
            .look_up(|reader| {
                let mut select = reader.prepare("SELECT name, issuer, admission FROM providers")?;
                let stored = select.query_map([], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
                })?;
                for row in stored {
                    let (name, issuer, allow_policy) = row?;
                    let is_same = |row: &ProviderRow| {
                        row.name == name && row.issuer == issuer && row.allow_policy == allow_policy
                    };
                    if !rows.iter().any(is_same) {
                        return Ok(false);
                    }
                }
                Ok(true)
            })
            .await
    }

    pub async fn replace_providers(&self, rows: Vec<ProviderRow>) -> Result<(), StoreError> {
        self.write_guarded(
            move |transaction, change| {
                let mut delete = transaction.prepare_cached("DELETE FROM providers RETURNING name, issuer, admission")?;
                let mut deleted = delete.query([])?;
                while let Some(row) = deleted.next()? {
                    let (name, issuer, allow_policy): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    change.remove_provider(&name, &issuer, &allow_policy);
                }
                let mut insert = transaction.prepare_cached(
                    "INSERT INTO providers (name, issuer, admission, client_secret_reference) VALUES (?1, ?2, ?3, ?4)",
                )?;
                for row in &rows {
                    change.add_provider(row);
                    insert.execute(params![row.name, row.issuer, row.allow_policy, row.client_secret_reference.as_bytes()])?;
                }
                Ok(())
            },
            |()| (),
        )
        .await
    }
}
