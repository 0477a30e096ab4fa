//! Answers to ACME challenges, as sealed rows that every member can read.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::Postgres;
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::keys::{DecryptError, RowPlace, SealedRow};
use crate::store::time::to_database;
use crate::store::{Lease, StoreError};

const TABLE: &str = "acme_challenges";

impl Postgres {
    pub(in crate::store) async fn save_challenge(
        &self,
        name: String,
        contents: Zeroizing<Vec<u8>>,
        expires_at: Timestamp,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let (name_key, expires_at) = (self.rows.name_key(TABLE, &name), to_database(expires_at));
        let sealed = self.rows.seal(&place(&name_key, expires_at), &contents);
        let insert = "INSERT INTO acme_challenges (name_key, key_version, sealed, expires_at) VALUES ($1, $2, $3, $4) \
                      ON CONFLICT (name_key) DO UPDATE SET key_version = excluded.key_version, \
                      sealed = excluded.sealed, expires_at = excluded.expires_at";
        in_transaction!(self, transaction => {
            self.expect_held(&transaction, lease).await?;
            let name_key = name_key.as_slice();
            let parameters = parameters![name_key, sealed.key_version, sealed.bytes, expires_at];
            transaction.execute_typed(insert, parameters).await?;
            Ok(())
        })
    }

    pub(in crate::store) async fn find_challenge(
        &self,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let name_key = self.rows.name_key(TABLE, name);
        let select = "SELECT key_version, CASE WHEN octet_length(sealed) <= 262144 THEN sealed ELSE '' END AS sealed, expires_at \
                      FROM acme_challenges WHERE name_key = $1 AND expires_at > $2";
        let row = self.read_one(select, parameters![name_key.as_slice(), to_database(now)]).await?;
        let Some(row) = row else { return Ok(None) };
        let sealed = SealedRow { key_version: row.try_get(0)?, bytes: row.try_get(1)? };
        let opened = self.rows.open(&place(&name_key, row.try_get(2)?), &sealed);
        opened.map(Some).map_err(|DecryptError| StoreError::UnexpectedRow(TABLE))
    }
}

fn place(name_key: &[u8], expires_at: i64) -> RowPlace<'_> {
    RowPlace { table: TABLE, id: name_key, expires_at, ..RowPlace::default() }
}
