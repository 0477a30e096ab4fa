//! The daemon's certificates with their sealed keys.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::keys::Sealed;

/// A certificate of the daemon's, with its key sealed.
pub struct CertificateRow {
    pub name: &'static str,
    /// DER.
    pub certificate: Vec<u8>,
    pub private_key: Sealed,
}

impl Store {
    /// A certificate with its sealed key by its name (`ca`, `leaf`).
    pub fn find_certificate(&self, name: &'static str) -> Result<Option<CertificateRow>, StoreError> {
        self.connections.read(|reader| {
            let row = reader
                .query_row(
                    "SELECT certificate, private_key FROM certificates WHERE name = ?1",
                    [name],
                    |row| {
                        Ok(CertificateRow {
                            name,
                            certificate: row.get(0)?,
                            private_key: Sealed::from_store(row.get(1)?),
                        })
                    },
                )
                .optional()?;
            Ok(row)
        })
    }

    /// Stores a certificate in the place of the one of the same name.
    pub async fn save_certificate(&self, row: CertificateRow) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute(
                    "INSERT INTO certificates (name, certificate, private_key) VALUES (?1, ?2, ?3)
                     ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate, private_key = excluded.private_key",
                    params![row.name, row.certificate, row.private_key.as_bytes()],
                )?;
                Ok(())
            })
            .await
    }
}
