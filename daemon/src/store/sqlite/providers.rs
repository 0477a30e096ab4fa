//! The provider rows.

use rusqlite::params;

use super::Sqlite;
use crate::store::providers::{StoredBy, StoredProvider, compare};
use crate::store::{ProviderComparison, ProviderRow, StoreError};

impl Sqlite {
    pub(in crate::store) async fn compare_providers(
        &self,
        rows: &[ProviderRow],
    ) -> Result<ProviderComparison, StoreError> {
        self.connections
            .look_up(|reader| {
                let stored: Vec<StoredProvider> = reader
                    .prepare("SELECT name, issuer, admission FROM providers")?
                    .query_map([], |row| {
                        Ok(StoredProvider {
                            name: row.get(0)?,
                            issuer: row.get(1)?,
                            allow_policy: row.get(2)?,
                            member: StoredBy::This,
                        })
                    })?
                    .collect::<Result<_, _>>()?;
                Ok(compare(rows, &stored))
            })
            .await
    }

    pub(in crate::store) async fn replace_providers(
        &self,
        rows: Vec<ProviderRow>,
        _: &ProviderComparison,
    ) -> Result<(), StoreError> {
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
        )
        .await
    }
}
