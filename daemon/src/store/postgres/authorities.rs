//! The CA of the store and the next one.
//!
//! They are one sealed row with a number that grows with each change. An attacker with write access to the table can put an
//! earlier row back. Members that saw a later one refuse it, and store that again, unchanged: if this raised the number, members
//! that start with an earlier row could exceed the others. The row is there from the beginning of the store, before there is a
//! CA. Without it, the store has lost its CA, and no start creates another one unless the operator allows it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Row, Transaction};

use super::Postgres;
use super::certificates::{CERTIFICATES, save};
use super::statements::parameters;
use super::transactions::in_transaction;
use crate::keys::{RowKeys, Sealed};
use crate::store::certificates::{AUTHORITY, AuthorityRows, NEXT_AUTHORITY};
use crate::store::time::{from_database, to_database};
use crate::store::{CertificateRow, Lease, StoreError};

/// The name of the row.
pub(super) const AUTHORITIES: &str = "authorities";
const SELECT: &str = "SELECT key_version, CASE WHEN octet_length(sealed) <= 1048576 THEN sealed ELSE '' END AS sealed \
                      FROM certificates WHERE name_key = $1";

/// The contents of the row.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Authorities {
    /// How often they changed; 0 before the first CA.
    number: i64,
    current: Option<StoredAuthority>,
    next: Option<StoredAuthority>,
    /// When the next one takes over.
    pub(super) takeover_at: Option<i64>,
}

/// In Base64. The private key is sealed.
#[derive(Serialize, Deserialize)]
struct StoredAuthority {
    certificate: String,
    private_key: String,
}

impl Authorities {
    /// `takeover_at` is when `next` takes over.
    pub(super) fn new(
        number: i64,
        current: Option<&CertificateRow>,
        next: Option<&CertificateRow>,
        takeover_at: Option<i64>,
    ) -> Self {
        let [current, next] = [current, next].map(|row| row.map(StoredAuthority::of));
        Self { number, current, next, takeover_at }
    }

    pub(super) fn parse(contents: &[u8]) -> Option<Self> {
        serde_json::from_slice(contents).ok()
    }

    /// Writes the row, whatever it was before.
    pub(super) async fn save(&self, transaction: &Transaction<'_>, keys: &RowKeys) -> Result<(), StoreError> {
        self.numbered().save(transaction, keys).await
    }

    fn numbered(&self) -> Numbered {
        let contents = serde_json::to_vec(self).expect("texts and numbers are JSON");
        Numbered { number: self.number, contents }
    }

    /// The CA and the next one.
    pub(super) fn rows(&self) -> Result<[Option<CertificateRow>; 2], StoreError> {
        let row = |name, stored: &Option<StoredAuthority>| {
            stored.as_ref().map(|stored| stored.row(name)).transpose()
        };
        Ok([row(AUTHORITY, &self.current)?, row(NEXT_AUTHORITY, &self.next)?])
    }
}

impl StoredAuthority {
    fn of(row: &CertificateRow) -> Self {
        Self {
            certificate: BASE64.encode(&row.certificate),
            private_key: BASE64.encode(row.private_key.as_bytes()),
        }
    }

    fn row(&self, name: &str) -> Result<CertificateRow, StoreError> {
        let decode = |text: &str| BASE64.decode(text.as_bytes());
        let unexpected = |_| StoreError::UnexpectedRow("a CA");
        Ok(CertificateRow {
            name: name.to_owned(),
            certificate: decode(&self.certificate).map_err(unexpected)?,
            private_key: Sealed::from_store(decode(&self.private_key).map_err(unexpected)?),
        })
    }
}

/// The last row that this member has accepted.
#[derive(Default)]
pub(super) struct Seen(Mutex<Option<Numbered>>);

#[derive(Clone, PartialEq, Eq)]
struct Numbered {
    number: i64,
    contents: Vec<u8>,
}

/// What the table has, and this member can open.
enum Found {
    Row(Numbered, Authorities),
    /// The row is missing, or infrad did not write it like this.
    Nothing,
    /// Another member sealed it with a data key that this one does not hold.
    NotReadableYet,
}

impl Numbered {
    async fn save(&self, transaction: &Transaction<'_>, keys: &RowKeys) -> Result<(), StoreError> {
        CERTIFICATES.save(transaction, keys, AUTHORITIES, &self.contents).await
    }

    /// Another row with the same number is of a member that started with an earlier one.
    fn may_follow(&self, seen: &Self) -> bool {
        self.number > seen.number || self == seen
    }
}

impl Seen {
    /// Returns whether `found` may follow what was seen before.
    fn accept(&self, found: &Numbered) -> bool {
        let mut seen = self.lock();
        let is_accepted = seen.as_ref().is_none_or(|seen| found.may_follow(seen));
        if is_accepted {
            *seen = Some(found.clone());
        }
        is_accepted
    }

    fn last(&self) -> Option<Numbered> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Numbered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Postgres {
    pub(in crate::store) async fn find_authorities(&self) -> Result<AuthorityRows, StoreError> {
        let name = name_key(&self.rows);
        let row = self.read_one(SELECT, parameters![name.as_slice()]).await?;
        let (found, stored) = match Found::open(row.as_ref(), &self.rows)? {
            Found::Row(found, stored) => (found, stored),
            // A start has read all keys.
            Found::NotReadableYet if self.authorities.last().is_some() => {
                return Err(StoreError::UnexpectedRow("a data key that this daemon does not hold yet"));
            }
            Found::Nothing | Found::NotReadableYet => {
                return Err(StoreError::NoAuthority { database: self.describe().to_owned() });
            }
        };
        if !self.authorities.accept(&found) {
            return Err(StoreError::EarlierAuthority { database: self.describe().to_owned() });
        }
        let [current, next] = stored.rows()?;
        let takeover_at = stored.takeover_at.map(from_database).transpose()?;
        Ok(AuthorityRows { current, next: next.zip(takeover_at) })
    }

    pub(in crate::store) async fn save_authorities(
        &self,
        AuthorityRows { current, next }: AuthorityRows,
        leaf: Option<CertificateRow>,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let (keys, seen) = (&*self.rows, self.authorities.last().map_or(0, |seen| seen.number));
        let (next, takeover_at) = next.unzip();
        let takeover_at: Option<i64> = takeover_at.map(to_database);
        let saved = in_transaction!(self, transaction => async {
            self.expect_held(&transaction, lease).await?;
            expect_keys(&transaction, keys).await?;
            let before = match Found::read(&transaction, keys).await? {
                Found::Row(found, _) => found.number,
                Found::Nothing | Found::NotReadableYet => 0,
            };
            let number = before.max(seen).saturating_add(1);
            let stored = Authorities::new(number, current.as_ref(), next.as_ref(), takeover_at).numbered();
            stored.save(&transaction, keys).await?;
            if let Some(leaf) = &leaf {
                save(&transaction, keys, leaf).await?;
            }
            Ok(stored)
        }.await)?;
        self.authorities.accept(&saved);
        Ok(())
    }

    pub(in crate::store) async fn put_back_authorities(&self, lease: &Lease) -> Result<(), StoreError> {
        let (keys, Some(seen)) = (&*self.rows, self.authorities.last()) else { return Ok(()) };
        in_transaction!(self, transaction => async {
            self.expect_held(&transaction, lease).await?;
            expect_keys(&transaction, keys).await?;
            match Found::read(&transaction, keys).await? {
                // Another member was faster.
                Found::Row(found, _) if found.may_follow(&seen) => Ok(()),
                _ => seen.save(&transaction, keys).await,
            }
        }.await)
    }

    /// Lets the next start create a CA, if the store has lost its own. Returns whether it has.
    pub(in crate::store) async fn allow_new_authority(&self, lease: &Lease) -> Result<bool, StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => async {
            self.expect_held(&transaction, lease).await?;
            if matches!(Found::read(&transaction, keys).await?, Found::Row(..)) {
                return Ok(false);
            }
            Authorities::default().save(&transaction, keys).await?;
            Ok(true)
        }.await)
    }
}

impl Found {
    fn open(row: Option<&Row>, keys: &RowKeys) -> Result<Self, StoreError> {
        let Some(row) = row else { return Ok(Self::Nothing) };
        if !keys.is_held(row.try_get("key_version")?) {
            return Ok(Self::NotReadableYet);
        }
        match CERTIFICATES.open(keys, &name_key(keys), row) {
            Ok((_, contents)) => Ok(Authorities::parse(&contents).map_or(Self::Nothing, |stored| {
                Self::Row(Numbered { number: stored.number, contents: contents.to_vec() }, stored)
            })),
            Err(StoreError::UnexpectedRow(_)) => Ok(Self::Nothing),
            Err(error) => Err(error),
        }
    }

    async fn read(transaction: &Transaction<'_>, keys: &RowKeys) -> Result<Self, StoreError> {
        let name = name_key(keys);
        let row = transaction.query_typed_opt(SELECT, parameters![name.as_slice()]).await?;
        Self::open(row.as_ref(), keys)
    }
}

fn name_key(keys: &RowKeys) -> [u8; 32] {
    keys.name_key(CERTIFICATES.table, AUTHORITIES)
}

/// Fails if the database has other keys than this member, for example after a restore. A CA sealed with the earlier ones
/// would be of no use.
async fn expect_keys(transaction: &Transaction<'_>, keys: &RowKeys) -> Result<(), StoreError> {
    let select = "SELECT FROM keys WHERE kind = 'index' AND check_mac = $1 FOR SHARE";
    match transaction.query_typed_opt(select, parameters![keys.index_check().as_slice()]).await? {
        Some(_) => Ok(()),
        None => Err(StoreError::UnexpectedRow("the keys of another store")),
    }
}
