//! Tables of sealed rows that are found by name, such as certificates. The name is also in the seal, before the contents.

use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use super::Postgres;
use super::statements::parameters;
use crate::keys::{DecryptError, RowKeys, RowPlace, SealedRow};
use crate::store::StoreError;

/// A table with the columns `key_version` and `sealed`, and the column of its keyed name.
pub(super) struct NamedRow {
    pub(super) table: &'static str,
    pub(super) key: &'static str,
}

impl NamedRow {
    pub(super) async fn find(
        &self,
        postgres: &Postgres,
        name: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Self { table, key } = self;
        let name = postgres.rows.name_key(table, name);
        let select = format!(
            "SELECT key_version, CASE WHEN octet_length(sealed) <= 262144 THEN sealed ELSE '' END AS sealed \
             FROM {table} WHERE {key} = $1"
        );
        let row = postgres.read_one(&select, parameters![name.as_slice()]).await?;
        let opened = row.map(|row| self.open(&postgres.rows, &name, &row)).transpose()?;
        Ok(opened.map(|(_, contents)| contents))
    }

    pub(super) async fn save(
        &self,
        transaction: &Transaction<'_>,
        keys: &RowKeys,
        name: &str,
        contents: &[u8],
    ) -> Result<(), StoreError> {
        let Self { table, key } = self;
        let length = u32::try_from(name.len()).expect("a name has a few bytes").to_be_bytes();
        let plaintext = Zeroizing::new([length.as_slice(), name.as_bytes(), contents].concat());
        let name = keys.name_key(table, name);
        let sealed = keys.seal(&self.place(&name), &plaintext);
        let insert = format!(
            "INSERT INTO {table} ({key}, key_version, sealed) VALUES ($1, $2, $3) ON CONFLICT ({key}) DO UPDATE SET \
             key_version = excluded.key_version, sealed = excluded.sealed"
        );
        transaction
            .execute_typed(&insert, parameters![name.as_slice(), sealed.key_version, sealed.bytes])
            .await?;
        Ok(())
    }

    pub(super) async fn delete(
        &self,
        transaction: &Transaction<'_>,
        keys: &RowKeys,
        name: &str,
    ) -> Result<(), StoreError> {
        let Self { table, key } = self;
        let name = keys.name_key(table, name);
        let delete = format!("DELETE FROM {table} WHERE {key} = $1");
        transaction.execute_typed(&delete, parameters![name.as_slice()]).await?;
        Ok(())
    }

    /// Opens a row, which must have the columns `key_version` and `sealed`. Returns its name and contents.
    pub(super) fn open(
        &self,
        keys: &RowKeys,
        name_key: &[u8],
        row: &Row,
    ) -> Result<(String, Zeroizing<Vec<u8>>), StoreError> {
        let unexpected = || StoreError::UnexpectedRow(self.table);
        let sealed = SealedRow { key_version: row.try_get("key_version")?, bytes: row.try_get("sealed")? };
        let opened = keys.open(&self.place(name_key), &sealed).map_err(|DecryptError| unexpected())?;
        let (name, contents) = split_name(&opened).ok_or_else(unexpected)?;
        Ok((name.to_owned(), Zeroizing::new(contents.to_vec())))
    }

    fn place<'a>(&self, name_key: &'a [u8]) -> RowPlace<'a> {
        RowPlace { table: self.table, id: name_key, ..RowPlace::default() }
    }
}

fn split_name(plaintext: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = plaintext.split_first_chunk()?;
    let (name, contents) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((std::str::from_utf8(name).ok()?, contents))
}
