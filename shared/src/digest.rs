//! SHA-256 of secrets.

use sha2::digest::FixedOutputReset;
use sha2::{Digest, Sha256};

/// Hashes a secret in parts, one after the other, and leaves nothing of it behind: the hash keeps its last block in memory, so it is used in one place, never
/// moved, and wiped (the feature `zeroize` of `sha2`).
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
    fn digest_is_that_of_fips_180_4() {
        let encoded = BASE64_STANDARD.encode(sha256(&[b"a", b"bc"]));
        assert_eq!(encoded, "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    }
}
