//! Digests of changing sets: the sum of the HMACs of all members, modulo 2²⁵⁶.
//!
//! An attacker without the key can restore earlier states but cannot choose new ones. The sum over a set of earlier
//! states is then random and matches with probability 2⁻²⁵⁶.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::keys::DigestKey;
use crate::store::StoreError;

/// The columns that decide about a session, in the order they are authenticated. `id` must come first.
pub(in crate::store::sqlite) const GUARDED: &str = "id, revision, ended_at, token_hash, issuer, subject, provider, email, \
                                            email_verified, groups, created_at, expires_at, parent_id, audiences, label, \
                                            end_reason";
/// Positions in [`GUARDED`] of the columns that a revocation sets. `end_reason` is the last one.
const REVISION: usize = 1;
const ENDED_AT: usize = 2;
const END_REASON: usize = 15;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u64; 4]);

/// One state of a session and its HMAC.
pub(in crate::store::sqlite) struct SessionState {
    pub(super) id: String,
    pub(super) revision: u32,
    pub(super) is_ended: bool,
    pub(super) mac: [u8; 32],
}

impl Digest {
    /// Little-endian, lowest word first.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let mut digest = Self::default();
        for (word, bytes) in digest.0.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
        digest
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *bytes = word.to_le_bytes();
        }
        bytes
    }

    pub(super) fn add(&mut self, member: &[u8; 32]) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(Self::from_bytes(member).0) {
            (*word, carry) = carrying_add(*word, other, carry);
        }
    }

    pub(super) fn subtract(&mut self, member: &[u8; 32]) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(Self::from_bytes(member).0) {
            (*word, borrow) = borrowing_sub(*word, other, borrow);
        }
    }
}

fn carrying_add(left: u64, right: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = left.overflowing_add(right);
    let (sum, second) = sum.overflowing_add(carry.into());
    (sum, first || second)
}

fn borrowing_sub(left: u64, right: u64, borrow: bool) -> (u64, bool) {
    let (difference, first) = left.overflowing_sub(right);
    let (difference, second) = difference.overflowing_sub(borrow.into());
    (difference, first || second)
}

impl SessionState {
    /// Reads the state from a row of [`GUARDED`]. `buffer` is reused to avoid allocations.
    pub(in crate::store::sqlite) fn read(
        row: &Row<'_>,
        key: &DigestKey,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, StoreError> {
        Self::of_columns(|column| Ok(row.get_ref(column)?), key, buffer)
    }

    /// Reads the state that a session had before the revocation in `row`, which set three columns of [`GUARDED`].
    pub(in crate::store::sqlite) fn read_before_revocation(
        row: &Row<'_>,
        key: &DigestKey,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, StoreError> {
        let before = |column| {
            Ok(match (column, row.get_ref(column)?) {
                (REVISION, ValueRef::Integer(revision)) => ValueRef::Integer(revision.saturating_sub(1)),
                (ENDED_AT | END_REASON, _) => ValueRef::Null,
                (_, value) => value,
            })
        };
        Self::of_columns(before, key, buffer)
    }

    fn of_columns<'a>(
        value: impl Fn(usize) -> Result<ValueRef<'a>, StoreError>,
        key: &DigestKey,
        buffer: &mut Vec<u8>,
    ) -> Result<Self, StoreError> {
        let unexpected = |_| StoreError::UnexpectedRow("a session");
        buffer.clear();
        buffer.extend_from_slice(b"session\0");
        for column in 0..=END_REASON {
            append(buffer, value(column)?);
        }
        let revision = value(REVISION)?.as_i64().map_err(unexpected)?;
        Ok(Self {
            id: value(0)?.as_str().map_err(unexpected)?.to_owned(),
            revision: u32::try_from(revision).map_err(|_| StoreError::UnexpectedRow("a session"))?,
            is_ended: !matches!(value(ENDED_AT)?, ValueRef::Null),
            mac: key.mac(buffer),
        })
    }

    /// The HMAC of the session's revision and end; `None` if it never changed.
    pub(super) fn change_mac(&self, key: &DigestKey) -> Option<[u8; 32]> {
        (self.revision > 0).then(|| changed_session(key, &self.id, self.revision, self.is_ended))
    }
}

pub(super) fn changed_session(key: &DigestKey, id: &str, revision: u32, is_ended: bool) -> [u8; 32] {
    let mut text = b"changed session\0".to_vec();
    append(&mut text, ValueRef::Text(id.as_bytes()));
    text.extend_from_slice(&revision.to_be_bytes());
    text.push(is_ended.into());
    key.mac(&text)
}

pub(super) fn used_ticket(key: &DigestKey, id: &[u8; 16]) -> [u8; 32] {
    key.mac(&[b"used ticket\0".as_slice(), id].concat())
}

pub(super) fn provider(key: &DigestKey, name: &str, issuer: &str, allow_policy: &str) -> [u8; 32] {
    let mut text = b"provider\0".to_vec();
    for part in [name, issuer, allow_policy] {
        append(&mut text, ValueRef::Text(part.as_bytes()));
    }
    key.mac(&text)
}

/// Appends type, length and bytes, so that different rows never encode the same.
fn append(text: &mut Vec<u8>, value: ValueRef<'_>) {
    let number;
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(integer) => {
            number = integer.to_be_bytes();
            (1, &number)
        }
        ValueRef::Real(real) => {
            number = real.to_be_bytes();
            (2, &number)
        }
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    text.push(kind);
    text.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    text.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_does_not_depend_on_order() {
        let members = [[0xff; 32], [0x80; 32], [1; 32], [0; 32]];
        let sum = |members: &[[u8; 32]]| {
            let mut digest = Digest::default();
            for member in members {
                digest.add(member);
            }
            digest
        };
        let mut digest = sum(&members);
        assert_eq!(digest, sum(&[members[2], members[3], members[1], members[0]]));
        assert_eq!(Digest::from_bytes(&digest.to_bytes()), digest);
        for member in [members[1], members[0], members[2], members[3]] {
            digest.subtract(&member);
        }
        assert_eq!(digest, Digest::default());
    }

    #[test]
    fn append_encodes_similar_values_differently() {
        let text = |values: &[ValueRef<'_>]| {
            let mut text = Vec::new();
            for value in values {
                append(&mut text, *value);
            }
            text
        };
        assert_ne!(
            text(&[ValueRef::Text(b"ab"), ValueRef::Text(b"c")]),
            text(&[ValueRef::Text(b"a"), ValueRef::Text(b"bc")])
        );
        assert_ne!(text(&[ValueRef::Null]), text(&[ValueRef::Text(b"")]));
        assert_ne!(text(&[ValueRef::Blob(b"a")]), text(&[ValueRef::Text(b"a")]));
    }
}
