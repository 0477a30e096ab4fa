//! Validation of Ed25519 public keys.

use data_encoding::HEXLOWER;

/// The y coordinates of the eight points of small order (RFC 8032 §5.1, RFC 7748 §6.1). For such a key, anyone can
/// forge signatures that verify.
const SMALL_ORDER: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
/// p = 2^255 - 19: the last byte without its sign bit, all bytes between, and the first.
const LAST: u8 = 0x7f;
const BETWEEN: u8 = 0xff;
const FIRST: u8 = 0xed;

/// Whether an encoded point is a safe key: of large order, with y below p so that its encoding is unique.
pub(super) fn is_key(encoded: &[u8]) -> bool {
    let Some((last, [first, between @ ..])) = encoded.split_last() else { return false };
    // The highest bit is the sign of x, which does not affect the order.
    let last = last & LAST;
    let is_reduced = last != LAST || between.iter().any(|byte| *byte != BETWEEN) || *first < FIRST;
    let mut y = encoded.to_vec();
    if let Some(byte) = y.last_mut() {
        *byte = last;
    }
    encoded.len() == 32 && is_reduced && !SMALL_ORDER.contains(&HEXLOWER.encode(&y).as_str())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).expect("hex")
    }

    #[test]
    fn small_order_points_are_rejected_in_any_encoding() {
        let not_reduced: Vec<Vec<u8>> =
            (0xed..=0xff).map(|first| [&[first][..], &[0xff; 30], &[0x7f]].concat()).collect();
        for mut point in SMALL_ORDER.into_iter().map(bytes).chain(not_reduced) {
            assert!(!is_key(&point), "{point:02x?}");
            point[31] |= 0x80;
            assert!(!is_key(&point), "{point:02x?}");
        }
    }

    #[test]
    fn valid_ed25519_keys_are_accepted() {
        for seed in 0..=255 {
            let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("any seed is a key");
            assert!(is_key(pair.public_key().as_ref()));
        }
        assert!(!is_key(&[]) && !is_key(&[7; 31]) && !is_key(&[7; 33]));
    }
}
