//! Derives every key from the data key (HKDF-SHA256, RFC 5869), each under a label of its own.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::Zeroizing;

use super::DataKey;

pub(super) fn database_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra database key v1")
}

pub(super) fn ticket_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra ticket key v1")
}

pub(super) fn sealed_field_key(data_key: &DataKey) -> Zeroizing<[u8; 32]> {
    derive(&data_key.0, b"infra sealed field key v1")
}

/// A public value by which a data key is recognised.
pub(super) fn check_value(data_key: &DataKey) -> String {
    hex(derive(&data_key.0, b"infra data key check value v1").as_slice())
}

/// A public name of a native root key.
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
    // RFC 5869 §3.1: the input is uniformly random already, so no salt is needed.
    Salt::new(HKDF_SHA256, &[])
        .extract(key)
        .expand(&[label], Length)
        .and_then(|material| material.fill(derived.as_mut_slice()))
        .expect("HKDF gives 32 bytes");
    derived
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_derived_keys_are_equal_and_each_depends_on_the_data_key() {
        let derived = |key: [u8; 32]| {
            let key = DataKey(Zeroizing::new(key));
            [*database_key(&key), *ticket_key(&key), *sealed_field_key(&key)]
        };
        let (mut all, others) = (derived([1; 32]).to_vec(), derived([2; 32]));
        all.extend(others);
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 6);
        assert_eq!(derived([1; 32]), derived([1; 32]));
    }
}
