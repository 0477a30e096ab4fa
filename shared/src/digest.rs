//! SHA-256 of secrets.

use sha2::digest::FixedOutputReset;
use sha2::{Digest, Sha256};

/// Hashes the concatenated parts of a secret and wipes the hash state.
///
/// The state holds the last block of input. It is never moved, and the `zeroize` feature of `sha2` clears it.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        Digest::update(&mut hash, part);
    }
    let mut output = [0; 32].into();
    FixedOutputReset::finalize_into_reset(&mut hash, &mut output);
    output.into()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn digest_matches_fips_180_4_vector() {
        let encoded = BASE64_STANDARD.encode(sha256(&[b"a", b"bc"]));
        assert_eq!(encoded, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
