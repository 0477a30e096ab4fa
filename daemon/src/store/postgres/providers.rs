//! The provider rows of each member.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use super::Postgres;
use super::statements::{parameters, well_formed};
use super::transactions::in_transaction;
use crate::keys::{DecryptError, RowKeys, RowPlace, SealedRow};
use crate::store::providers::{StoredBy, StoredProvider, compare};
use crate::store::{ProviderComparison, ProviderRow, StoreError};

/// The sealed part of a provider's row.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) allow_policy: String,
    pub(super) client_secret_reference: Vec<u8>,
}

/// Finds rows by the name of a provider.
pub(super) fn provider_key(keys: &RowKeys, provider: &str) -> [u8; 32] {
    keys.name_key("providers", provider)
}

impl Postgres {
    pub(in crate::store) async fn compare_providers(
        &self,
        rows: &[ProviderRow],
    ) -> Result<ProviderComparison, StoreError> {
        let (mut stored, mut after) = (Vec::new(), Some(<(String, Vec<u8>)>::default()));
        while let Some((member, name)) = after {
            let page = self.read(SELECT, parameters![member, name, i64::from(PAGE)]).await?;
            stored.extend(well_formed(page.iter().map(|row| self.read_provider(row)))?);
            after = last(&page)?;
        }
        Ok(compare(rows, &stored))
    }

    /// Replaces the rows of this member, and removes those of the settled ones.
    pub(in crate::store) async fn replace_providers(
        &self,
        rows: Vec<ProviderRow>,
        compared: &ProviderComparison,
    ) -> Result<(), StoreError> {
        let (keys, member) = (&*self.rows, self.member.as_str());
        let mut removed: Vec<&str> = compared.settled.iter().map(String::as_str).collect();
        removed.push(member);
        in_transaction!(self, transaction => replace(&transaction, keys, member, &removed, &rows).await)
    }

    fn read_provider(&self, row: &Row) -> Result<StoredProvider, StoreError> {
        let Contents { name, issuer, allow_policy, .. } = open(&self.rows, row)?;
        let member: &str = row.try_get("member_id")?;
        let member = match row.try_get("is_running")? {
            _ if member == self.member.as_str() => StoredBy::This,
            true => StoredBy::OtherRunning,
            false => StoredBy::Stopped(member.to_owned()),
        };
        Ok(StoredProvider { name, issuer, allow_policy, member })
    }
}

/// Rows of any length that fit in one answer.
pub(super) const PAGE: u32 = 100;

/// A page of the rows of all members, after the one with the member `$1` and the name `$2`. Those of infrad have short IDs.
pub(super) const SELECT: &str = "SELECT p.member_id, p.name_key, p.key_version, \
     CASE WHEN octet_length(p.sealed) <= 262144 THEN p.sealed ELSE '' END AS sealed, EXISTS \
     (SELECT FROM members m WHERE m.id = p.member_id AND m.seen_at > now() - interval '15 s') AS is_running \
     FROM providers p WHERE (p.member_id, p.name_key) > ($1, $2) AND octet_length(p.member_id) <= 64 \
     ORDER BY p.member_id, p.name_key LIMIT $3";

/// The last row of a page, if another page may follow.
pub(super) fn last(page: &[Row]) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let last = page.last().filter(|_| page.len() >= PAGE as usize);
    last.map(|row| Ok((row.try_get("member_id")?, row.try_get("name_key")?))).transpose()
}

/// Opens a row with the columns `member_id`, `name_key`, `key_version` and `sealed`.
pub(super) fn open(keys: &RowKeys, row: &Row) -> Result<Contents, StoreError> {
    let unopened = || StoreError::UnexpectedRow("a provider");
    let (member, name_key): (&str, &[u8]) = (row.try_get("member_id")?, row.try_get("name_key")?);
    let sealed = SealedRow { key_version: row.try_get("key_version")?, bytes: row.try_get("sealed")? };
    let opened = keys.open(&place(member, name_key), &sealed).map_err(|DecryptError| unopened())?;
    serde_json::from_slice(&opened).map_err(|_| unopened())
}

pub(super) async fn replace(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    member: &str,
    removed: &[&str],
    rows: &[ProviderRow],
) -> Result<(), StoreError> {
    let delete = "DELETE FROM providers WHERE member_id = ANY($1)";
    transaction.execute_typed(delete, parameters![removed.to_vec()]).await?;
    for row in rows {
        let name_key = provider_key(keys, &row.name);
        let contents = Contents {
            name: row.name.clone(),
            issuer: row.issuer.clone(),
            allow_policy: row.allow_policy.clone(),
            client_secret_reference: row.client_secret_reference.as_bytes().to_vec(),
        };
        let plaintext = Zeroizing::new(serde_json::to_vec(&contents).expect("texts are JSON"));
        let sealed = keys.seal(&place(member, &name_key), &plaintext);
        let insert =
            "INSERT INTO providers (member_id, name_key, key_version, sealed) VALUES ($1, $2, $3, $4)";
        transaction
            .execute_typed(insert, parameters![member, name_key.as_slice(), sealed.key_version, sealed.bytes])
            .await?;
    }
    Ok(())
}

fn place<'a>(member: &'a str, name_key: &'a [u8]) -> RowPlace<'a> {
    RowPlace { table: "providers", id: name_key, user_key: member.as_bytes(), ..RowPlace::default() }
}
