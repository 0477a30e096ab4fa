//! Certificates and the rollover of the daemon's CA.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::Sqlite;
use crate::keys::Sealed;
use crate::store::certificates::{
    AUTHORITY, AuthorityRows, CertificatesVersion, NEXT_AUTHORITY, announcement_hash, next_sequence,
};
use crate::store::time::{from_database, to_database};
use crate::store::{CertificateRow, Lease, StoreError};

impl Sqlite {
    pub(in crate::store) async fn find_certificate(
        &self,
        name: &str,
    ) -> Result<Option<CertificateRow>, StoreError> {
        self.connections.look_up(|reader| find(reader, name)).await
    }

    pub(in crate::store) async fn save_certificate(
        &self,
        row: CertificateRow,
        _: &Lease,
    ) -> Result<(), StoreError> {
        self.connections.write(move |transaction| save(transaction, &row)).await
    }

    pub(in crate::store) async fn find_authorities(&self) -> Result<AuthorityRows, StoreError> {
        self.connections
            .look_up(|reader| {
                let takeover_at: Option<i64> =
                    reader.query_row("SELECT takeover_at FROM ca_rollover", [], |row| row.get(0))?;
                let takeover_at = takeover_at.map(from_database).transpose()?;
                Ok(AuthorityRows {
                    current: find(reader, AUTHORITY)?,
                    next: find(reader, NEXT_AUTHORITY)?.zip(takeover_at),
                })
            })
            .await
    }

    pub(in crate::store) async fn save_authorities(
        &self,
        AuthorityRows { current, next }: AuthorityRows,
        leaf: Option<CertificateRow>,
        _: &Lease,
    ) -> Result<(), StoreError> {
        self.connections
            .write(move |transaction| {
                let (next, takeover_at) = next.unzip();
                for (name, row) in [(AUTHORITY, current), (NEXT_AUTHORITY, next)] {
                    match row {
                        Some(row) => save(transaction, &row)?,
                        None => {
                            transaction.execute("DELETE FROM certificates WHERE name = ?1", [name])?;
                        }
                    }
                }
                leaf.iter().try_for_each(|leaf| save(transaction, leaf))?;
                let takeover_at = takeover_at.map(to_database);
                transaction.execute("UPDATE ca_rollover SET takeover_at = ?1", [takeover_at])?;
                Ok(())
            })
            .await
    }

    /// One process holds the lock of the file.
    #[expect(clippy::unused_async, reason = "the callers wait, as they would for a database on another host")]
    pub(in crate::store) async fn certificates_version(
        &self,
    ) -> Result<Option<CertificatesVersion>, StoreError> {
        Ok(None)
    }

    pub(in crate::store) async fn find_announcement_number(
        &self,
        announced: &str,
    ) -> Result<Option<u64>, StoreError> {
        self.connections
            .look_up(|reader| {
                let select = "SELECT sequence FROM ca_rollover WHERE announced = ?1";
                let sequence: Option<i64> =
                    reader.query_row(select, [announcement_hash(announced)], |row| row.get(0)).optional()?;
                sequence.map(number).transpose()
            })
            .await
    }

    pub(in crate::store) async fn number_announcement(
        &self,
        announced: String,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let announced = announcement_hash(&announced);
        self.connections
            .write(move |transaction| {
                let (mut sequence, before): (i64, String) =
                    transaction.query_row("SELECT sequence, announced FROM ca_rollover", [], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?;
                if before != announced {
                    sequence = next_sequence(sequence, now);
                    transaction.execute(
                        "UPDATE ca_rollover SET sequence = ?2, announced = ?1",
                        params![announced, sequence],
                    )?;
                }
                number(sequence)
            })
            .await
    }
}

fn find(reader: &Connection, name: &str) -> Result<Option<CertificateRow>, StoreError> {
    let select = "SELECT certificate, private_key FROM certificates WHERE name = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(CertificateRow {
            name: name.to_owned(),
            certificate: row.get(0)?,
            private_key: Sealed::from_store(row.get(1)?),
        })
    };
    Ok(reader.query_row(select, [name], read).optional()?)
}

fn number(sequence: i64) -> Result<u64, StoreError> {
    u64::try_from(sequence).map_err(|_| StoreError::UnexpectedRow("ca_rollover"))
}

fn save(transaction: &Transaction<'_>, row: &CertificateRow) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO certificates (name, certificate, private_key) VALUES (?1, ?2, ?3)
         ON CONFLICT (name) DO UPDATE SET certificate = excluded.certificate, private_key = excluded.private_key",
        params![row.name, row.certificate, row.private_key.as_bytes()],
    )?;
    Ok(())
}
