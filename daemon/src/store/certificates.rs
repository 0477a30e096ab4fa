//! The daemon's certificates with their sealed private keys.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Transaction, params};

use super::time::{from_database, to_database};
use super::{Store, StoreError};
use crate::keys::Sealed;

/// A certificate with its sealed private key.
pub struct CertificateRow {
    pub name: String,
    /// DER for one certificate, PEM for a chain.
    pub certificate: Vec<u8>,
    pub private_key: Sealed,
}

impl Store {
    pub async fn find_certificate(&self, name: &str) -> Result<Option<CertificateRow>, StoreError> {
        self.connections
            .look_up(|reader| {
                let row = reader
                    .query_row(
                        "SELECT certificate, private_key FROM certificates WHERE name = ?1",
                        [name],
                        |row| {
                            Ok(CertificateRow {
                                name: name.to_owned(),
                                certificate: row.get(0)?,
                                private_key: Sealed::from_store(row.get(1)?),
                            })
                        },
                    )
                    .optional()?;
                Ok(row)
            })
            .await
    }

    /// Stores a certificate, replacing one with the same name.
    pub async fn save_certificate(&self, row: CertificateRow) -> Result<(), StoreError> {
        self.connections.write(move |transaction| save(transaction, &row)).await
    }

    /// Returns when the next CA takes over; `None` if no rollover is announced.
    pub async fn find_takeover(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connections
            .look_up(|reader| {
                let takeover_at: Option<i64> =
                    reader.query_row("SELECT takeover_at FROM ca_rollover", [], |row| row.get(0))?;
                takeover_at.map(from_database).transpose()
            })
            .await
    }

    /// Returns the sequence number of an announcement; 0 until the first one.
    ///
    /// A changed announcement gets a number that is higher than before and at least the current time in seconds. A
    /// store restored from a backup therefore does not reuse a number.
    pub async fn number_announcement(&self, announced: String, now: Timestamp) -> Result<u64, StoreError> {
        self.connections
            .write(move |transaction| {
                transaction.execute(
                    "UPDATE ca_rollover SET sequence = max(sequence + 1, ?2), announced = ?1 WHERE announced <> ?1",
                    params![announced, now.as_second()],
                )?;
                let sequence: i64 =
                    transaction.query_row("SELECT sequence FROM ca_rollover", [], |row| row.get(0))?;
                u64::try_from(sequence).map_err(|_| StoreError::UnexpectedRow("ca_rollover"))
            })
            .await
    }

    /// Stores the next CA and when it takes over, replacing one announced before.
    pub async fn save_next_authority(
        &self,
        next: CertificateRow,
        takeover_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                save(transaction, &next)?;
                transaction.execute("UPDATE ca_rollover SET takeover_at = ?1", [to_database(takeover_at)])?;
                Ok(())
            })
            .await
    }

    /// Replaces the CA and its leaf certificate in one transaction, and deletes `next`.
    pub async fn replace_authority(
        &self,
        authority: CertificateRow,
        leaf: CertificateRow,
        next: &'static str,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                save(transaction, &authority)?;
                save(transaction, &leaf)?;
                transaction.execute("DELETE FROM certificates WHERE name = ?1", [next])?;
                transaction.execute("UPDATE ca_rollover SET takeover_at = NULL", [])?;
                Ok(())
            })
            .await
    }
}

fn save(transaction: &Transaction<'_>, row: &CertificateRow) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO certificates (name, certificate, private_key) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate, private_key = excluded.private_key",
        params![row.name, row.certificate, row.private_key.as_bytes()],
    )?;
    Ok(())
}
