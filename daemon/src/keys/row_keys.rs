//! Seals rows of a shared database, and makes its keyed columns.
//!
//! The keys of keyed columns come from the index key, which a rotation leaves alone. Every row also authenticates under a
//! data key, so an attacker with an old index key can plant no row.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::aead::AEADKey;
use super::sealed::DecryptError;
use super::{DataKey, derivation, key_rows};

/// The keys for the rows of one store. Every member holds the same ones.
pub struct RowKeys {
    store: String,
    index: IndexKeys,
    index_check: [u8; 32],
    sealing: RwLock<SealingKeys>,
}

struct IndexKeys {
    token: hmac::Key,
    user: hmac::Key,
    subject: hmac::Key,
    email: hmac::Key,
    name: hmac::Key,
}

struct SealingKeys {
    /// The version that new rows are sealed with.
    current: u32,
    by_version: BTreeMap<u32, AEADKey>,
}

/// Where a sealed row is, and what it says in clear. A row that is moved or changed does not open.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowPlace<'a> {
    pub table: &'static str,
    /// The primary key.
    pub id: &'a [u8],
    pub token_mac: &'a [u8],
    pub user_key: &'a [u8],
    pub created_at: i64,
    pub expires_at: i64,
}

/// Contents are padded to a multiple of this, so that the length of a row says little about them.
const BLOCK: usize = 128;
/// Ends the contents. Zeros follow (ISO/IEC 7816-4).
const END: u8 = 0x80;

/// A sealed row and the version of the data key that opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRow {
    pub key_version: i32,
    pub bytes: Vec<u8>,
}

impl RowKeys {
    /// `data_keys` must contain `current`.
    pub(super) fn new(
        store: &str,
        index_key: &DataKey,
        current: u32,
        data_keys: &BTreeMap<u32, DataKey>,
    ) -> Self {
        Self {
            store: store.to_owned(),
            index: IndexKeys::of(index_key),
            index_check: key_rows::index_check(store, index_key),
            sealing: RwLock::new(SealingKeys::of(current, data_keys)),
        }
    }

    /// Publicly known keys, for tests.
    #[cfg(test)]
    pub fn fixed() -> Self {
        let key = |byte| DataKey(Zeroizing::new([byte; 32]));
        Self::new("store of the tests", &key(1), 1, &BTreeMap::from([(1, key(2))]))
    }

    /// Switches to other data keys. `data_keys` must contain `current`.
    pub(super) fn replace(&self, current: u32, data_keys: &BTreeMap<u32, DataKey>) {
        *self.sealing.write().unwrap_or_else(PoisonError::into_inner) = SealingKeys::of(current, data_keys);
    }

    /// The MAC in the row of the index key. Another store has another, and so does another copy of this one.
    pub fn index_check(&self) -> &[u8; 32] {
        &self.index_check
    }

    /// Finds a token by its SHA-256. Someone who can write to the table cannot compute it for a token of theirs.
    pub fn token_mac(&self, token_hash: &[u8; 32]) -> [u8; 32] {
        derivation::tag(&self.index.token, token_hash)
    }

    /// Finds the sessions of a user.
    pub fn user_key(&self, issuer: &str, subject: &str) -> [u8; 32] {
        // An issuer is a URL, which contains no NUL.
        let user = Zeroizing::new([issuer.as_bytes(), &[0], subject.as_bytes()].concat());
        derivation::tag(&self.index.user, &user)
    }

    /// Finds sessions by subject, whatever their issuer.
    pub fn subject_key(&self, subject: &str) -> [u8; 32] {
        derivation::tag(&self.index.subject, subject.as_bytes())
    }

    /// Finds sessions by e-mail address. Ignores the case of ASCII letters.
    pub fn email_key(&self, email: &str) -> [u8; 32] {
        derivation::tag(&self.index.email, email.to_ascii_lowercase().as_bytes())
    }

    /// Finds a row of `table` by name, such as a provider, a certificate or an ACME directory.
    pub fn name_key(&self, table: &str, name: &str) -> [u8; 32] {
        derivation::tag(&self.index.name, &parts(&[table.as_bytes(), name.as_bytes()]))
    }

    /// Seals a row under the current data key.
    pub fn seal(&self, place: &RowPlace<'_>, plaintext: &[u8]) -> SealedRow {
        let sealing = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        let version = sealing.current;
        let key = sealing.by_version.get(&version).expect("the current data key is one of all");
        let key_version = i32::try_from(version).expect("there are few data keys");
        SealedRow { key_version, bytes: key.seal(&self.context(place, key_version), &padded(plaintext)) }
    }

    pub fn open(&self, place: &RowPlace<'_>, row: &SealedRow) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let sealing = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        let version = u32::try_from(row.key_version).map_err(|_| DecryptError)?;
        let key = sealing.by_version.get(&version).ok_or(DecryptError)?;
        let opened = key.open(&self.context(place, row.key_version), &row.bytes).ok_or(DecryptError)?;
        without_padding(opened).ok_or(DecryptError)
    }

    /// Whether rows of this version can be opened. Another member may have published a newer one.
    pub fn is_held(&self, key_version: i32) -> bool {
        let sealing = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(key_version).is_ok_and(|version| sealing.by_version.contains_key(&version))
    }

    /// The version that new rows are sealed with.
    pub fn current_version(&self) -> u32 {
        self.sealing.read().unwrap_or_else(PoisonError::into_inner).current
    }

    /// The newest version held.
    pub fn newest_version(&self) -> u32 {
        let sealing = self.sealing.read().unwrap_or_else(PoisonError::into_inner);
        sealing.by_version.last_key_value().map_or(sealing.current, |(version, _)| *version)
    }

    fn context(&self, place: &RowPlace<'_>, key_version: i32) -> Vec<u8> {
        parts(&[
            b"infra sealed row v1",
            self.store.as_bytes(),
            place.table.as_bytes(),
            place.id,
            place.token_mac,
            place.user_key,
            &place.created_at.to_be_bytes(),
            &place.expires_at.to_be_bytes(),
            &key_version.to_be_bytes(),
        ])
    }
}

impl IndexKeys {
    fn of(index_key: &DataKey) -> Self {
        Self {
            token: derivation::index_key(index_key, b"infra token index key v1"),
            user: derivation::index_key(index_key, b"infra user index key v1"),
            subject: derivation::index_key(index_key, b"infra subject index key v1"),
            email: derivation::index_key(index_key, b"infra email index key v1"),
            name: derivation::index_key(index_key, b"infra name index key v1"),
        }
    }
}

impl SealingKeys {
    fn of(current: u32, data_keys: &BTreeMap<u32, DataKey>) -> Self {
        let key = |data_key| AEADKey::new(&derivation::sealed_row_key(data_key));
        Self { current, by_version: data_keys.iter().map(|(version, it)| (*version, key(it))).collect() }
    }
}

fn padded(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = (plaintext.len() + 1).next_multiple_of(BLOCK);
    // Room for everything: a buffer that grows would leave plaintext behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.extend_from_slice(plaintext);
    padded.push(END);
    padded.resize(length, 0);
    padded
}

fn without_padding(mut padded: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    (padded.get(end) == Some(&END)).then(|| {
        padded.truncate(end);
        padded
    })
}

/// Prefixes each part with its length, so that different parts never encode the same.
fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        text.extend_from_slice(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: RowPlace<'static> = RowPlace {
        table: "sessions",
        id: b"id",
        token_mac: b"mac",
        user_key: b"user",
        created_at: 1,
        expires_at: 2,
    };

    fn key(byte: u8) -> DataKey {
        DataKey(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn length_of_row_says_little_about_its_contents() {
        let keys = RowKeys::fixed();
        let length = |contents: &[u8]| {
            let row = keys.seal(&PLACE, contents);
            assert_eq!(keys.open(&PLACE, &row).expect("its own row").as_slice(), contents);
            row.bytes.len()
        };
        // Contents may end as the padding does.
        let lengths = [b"".as_slice(), b"al", b"maximilian-longname", b"\x80\0\0", &[0; 127]].map(length);
        assert_eq!(lengths, [length(b"alice"); 5]);
        assert_eq!(length(&[1; 128]), lengths[0] + BLOCK);
    }

    #[test]
    fn sealed_row_opens_in_its_own_place_only() {
        let keys = RowKeys::fixed();
        let row = keys.seal(&PLACE, b"alice");
        assert_eq!(keys.open(&PLACE, &row).expect("its own row").as_slice(), b"alice");
        let others = [
            RowPlace { table: "audience_tokens", ..PLACE },
            RowPlace { id: b"other", ..PLACE },
            RowPlace { token_mac: b"other", ..PLACE },
            RowPlace { user_key: b"other", ..PLACE },
            RowPlace { created_at: 0, ..PLACE },
            RowPlace { expires_at: 3, ..PLACE },
            // The same bytes, cut elsewhere.
            RowPlace { id: b"idm", token_mac: b"ac", ..PLACE },
        ];
        for other in others {
            assert_eq!(keys.open(&other, &row), Err(DecryptError), "{other:?}");
        }
        let other_version = SealedRow { key_version: 2, ..row.clone() };
        assert_eq!(keys.open(&PLACE, &other_version), Err(DecryptError));
        let other_store = RowKeys::new("other", &key(1), 1, &BTreeMap::from([(1, key(2))]));
        assert_eq!(other_store.open(&PLACE, &row), Err(DecryptError));
    }

    #[test]
    fn rows_of_all_held_data_keys_open() {
        let keys = RowKeys::fixed();
        let old = keys.seal(&PLACE, b"old");
        keys.replace(1, &BTreeMap::from([(1, key(2)), (2, key(3))]));
        assert_eq!((keys.current_version(), keys.newest_version()), (1, 2));
        assert_eq!(keys.seal(&PLACE, b"still old").key_version, 1);
        keys.replace(2, &BTreeMap::from([(1, key(2)), (2, key(3))]));
        let new = keys.seal(&PLACE, b"new");
        assert_eq!(new.key_version, 2);
        assert_eq!(keys.open(&PLACE, &old).expect("held").as_slice(), b"old");
        keys.replace(2, &BTreeMap::from([(2, key(3))]));
        assert_eq!(keys.open(&PLACE, &old), Err(DecryptError));
        assert_eq!(keys.open(&PLACE, &new).expect("held").as_slice(), b"new");
    }

    #[test]
    fn keyed_columns_differ_by_kind_store_and_value() {
        let other = RowKeys::new("store of the tests", &key(9), 1, &BTreeMap::from([(1, key(2))]));
        let mut all = Vec::new();
        for keys in [RowKeys::fixed(), other] {
            all.extend([
                keys.token_mac(&[0x61; 32]),
                keys.user_key("https://a", "b"),
                keys.user_key("https://ab", ""),
                keys.subject_key("a"),
                keys.email_key("a"),
                keys.name_key("providers", "a"),
                keys.name_key("certificates", "a"),
                keys.name_key("certificatesa", ""),
            ]);
            assert_eq!(keys.email_key("Alice@Example.com"), keys.email_key("alice@example.COM"));
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 16);
    }
}
