//! Derives every key from the data key with HKDF-SHA256 (RFC 5869), each under its own label.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use zeroize::Zeroizing;

use super::{DataKey, DigestKey};

pub(super) fn database_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra database key v1")
}

pub(super) fn ticket_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra ticket key v1")
}

pub(super) fn sealed_field_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra sealed field key v1")
}

pub(super) fn backup_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra backup key v1")
}

pub(super) fn digest_key(data_key: &DataKey) -> DigestKey {
    DigestKey(hmac::Key::new(
        hmac::HMAC_SHA256,
        derive(&data_key.0, b"infra session digest key v1").as_slice(),
    ))
}

/// The key that seals rows of a shared database.
pub(super) fn sealed_row_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra sealed row key v1")
}

/// The key of one kind of keyed column, derived from the index key.
pub(super) fn index_key(index_key: &DataKey, label: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, derive(&index_key.0, label).as_slice())
}

/// The MAC of a key row. It identifies the key and detects a changed row.
pub(super) fn key_row_check(key: &DataKey, row: &[u8]) -> [u8; 32] {
    authenticate(&derive(&key.0, b"infra key row check key v1"), row)
}

/// The MAC of what wraps the key of a key row for the recovery key.
pub(super) fn row_recovery_check(key: &DataKey, wrapping: &[u8]) -> [u8; 32] {
    authenticate(&derive(&key.0, b"infra key row recovery check key v1"), wrapping)
}

/// The MAC of a header. It identifies the data key and detects a changed header.
pub(super) fn header_check(data_key: &DataKey, header: &[u8]) -> [u8; 32] {
    authenticate(&derive(&data_key.0, b"infra header check key v1"), header)
}

/// The MAC of everything before the database in a backup.
pub(super) fn backup_check(data_key: &DataKey, text: &[u8]) -> [u8; 32] {
    authenticate(&derive(&data_key.0, b"infra backup check key v1"), text)
}

fn authenticate(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    tag(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}

pub(super) fn tag(key: &hmac::Key, text: &[u8]) -> [u8; 32] {
    *hmac::sign(key, text).as_ref().first_chunk().expect("HMAC-SHA256 has 32 bytes")
}

/// The public id of a native root key.
pub(super) fn root_key_id(root_key: &[u8; 32]) -> String {
    let id = derive(root_key, b"infra root key id v1");
    hex(id.first_chunk::<8>().expect("32 bytes have 8"))
}

fn derive(key: &[u8; 32], label: &[u8]) -> Zeroizing<[u8; 32]> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut derived = Zeroizing::new([0; 32]);
    // RFC 5869 §3.1: no salt is needed, because the input is uniformly random.
    Salt::new(HKDF_SHA256, &[])
        .extract(key)
        .expand(&[label], Length)
        .and_then(|material| material.fill(derived.as_mut_slice()))
        .expect("HKDF gives 32 bytes");
    derived
}

pub(super) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_keys_differ_and_depend_on_data_key() {
        let derived = |key: [u8; 32]| {
            let key = DataKey(Zeroizing::new(key));
            let checks = [
                header_check(&key, b"text"),
                backup_check(&key, b"text"),
                key_row_check(&key, b"text"),
                row_recovery_check(&key, b"text"),
                digest_key(&key).mac(b"text"),
                tag(&index_key(&key, b"infra token index key v1"), b"text"),
            ];
            let keys = [
                *database_key(&key),
                *ticket_key(&key),
                *sealed_field_key(&key),
                *sealed_row_key(&key),
                *backup_key(&key),
            ];
            [keys.as_slice(), checks.as_slice()].concat()
        };
        let (mut all, others) = (derived([1; 32]), derived([2; 32]));
        all.extend(others);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 22);
        assert_eq!(derived([1; 32]), derived([1; 32]));
    }
}
