//! Certificates, and the announcement of the daemon's CA.

use jiff::Timestamp;
use tokio_postgres::Transaction;
use zeroize::Zeroizing;

use super::Postgres;
use super::named_rows::NamedRow;
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::keys::{RowKeys, Sealed};
use crate::store::certificates::{
    CertificatesVersion, announcement_hash, is_plausible_sequence, next_sequence,
};
use crate::store::{CertificateRow, Lease, StoreError};

pub(super) const CERTIFICATES: NamedRow = NamedRow { table: "certificates", key: "name_key" };

impl Postgres {
    pub(in crate::store) async fn find_certificate(
        &self,
        name: &str,
    ) -> Result<Option<CertificateRow>, StoreError> {
        let Some(opened) = CERTIFICATES.find(self, name).await? else { return Ok(None) };
        let (certificate, private_key) = parse(&opened).ok_or(StoreError::UnexpectedRow("a certificate"))?;
        Ok(Some(CertificateRow {
            name: name.to_owned(),
            certificate: certificate.to_vec(),
            private_key: Sealed::from_store(private_key.to_vec()),
        }))
    }

    pub(in crate::store) async fn save_certificate(
        &self,
        row: CertificateRow,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            save(&transaction, keys, &row).await
        })
    }

    pub(in crate::store) async fn certificates_version(
        &self,
    ) -> Result<Option<CertificatesVersion>, StoreError> {
        let select = "SELECT sequence, (SELECT sha256(string_agg(name_key || sealed, ''::bytea \
                      ORDER BY name_key)) FROM certificates) FROM ca_rollover";
        let row = self.read_one(select, &[]).await?.ok_or(StoreError::UnexpectedRow("ca_rollover"))?;
        let sequence: i64 = row.try_get(0)?;
        let certificates: Option<&[u8]> = row.try_get(1)?;
        Ok(Some(CertificatesVersion([&sequence.to_be_bytes(), certificates.unwrap_or_default()].concat())))
    }

    pub(in crate::store) async fn find_announcement_number(
        &self,
        announced: &str,
    ) -> Result<Option<u64>, StoreError> {
        let select = "SELECT sequence FROM ca_rollover WHERE announced = $1";
        let row = self.read_one(select, parameters![announcement_hash(announced)]).await?;
        row.map(|row| number(row.try_get(0)?)).transpose()
    }

    pub(in crate::store) async fn number_announcement(
        &self,
        announced: String,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let announced = announcement_hash(&announced);
        in_transaction!(self, transaction => number_announcement(&transaction, &announced, now).await)
    }
}

pub(super) async fn save(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    row: &CertificateRow,
) -> Result<(), StoreError> {
    let length = u32::try_from(row.certificate.len()).expect("a chain of certificates has a few kilobytes");
    let length = length.to_be_bytes();
    let parts = [length.as_slice(), &row.certificate, row.private_key.as_bytes()];
    let plaintext = Zeroizing::new(parts.concat());
    CERTIFICATES.save(transaction, keys, &row.name, &plaintext).await
}

/// The certificate and the private key, as [`save`] writes them.
pub(super) fn parse(contents: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = contents.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

async fn number_announcement(
    transaction: &Transaction<'_>,
    announced: &str,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let select = "SELECT sequence, announced FROM ca_rollover FOR NO KEY UPDATE";
    let row = transaction.query_typed_one(select, &[]).await?;
    let (mut sequence, before): (i64, &str) = (row.try_get(0)?, row.try_get(1)?);
    let is_plausible = is_plausible_sequence(sequence, now);
    if before != announced || !is_plausible {
        sequence = next_sequence(if is_plausible { sequence } else { 0 }, now);
        let update = "UPDATE ca_rollover SET sequence = $1, announced = $2";
        transaction.execute_typed(update, parameters![sequence, announced]).await?;
    }
    number(sequence)
}

fn number(sequence: i64) -> Result<u64, StoreError> {
    u64::try_from(sequence).map_err(|_| StoreError::UnexpectedRow("ca_rollover"))
}
