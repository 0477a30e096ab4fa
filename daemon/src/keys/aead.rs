//! AES-256-GCM with a random nonce. Format: nonce ‖ ciphertext ‖ tag.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// An AES-256-GCM key. It seals far fewer than the 2³² messages allowed with random nonces (NIST SP 800-38D §8.3).
pub(super) struct AEADKey(RandomizedNonceKey);

impl AEADKey {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(RandomizedNonceKey::new(&AES_256_GCM, key).expect("32 bytes are a key of AES-256"))
    }

    pub(super) fn seal(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        // Reserve room for the tag: a buffer that grows would leave plaintext behind.
        let mut buffer = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        buffer.extend_from_slice(plaintext);
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(context), &mut *buffer)
            .expect("a message of this size can be sealed");
        [nonce.as_ref().as_slice(), &buffer].concat()
    }

    /// Decrypts; `None` if the key or context differs or the data was changed.
    pub(super) fn open(&self, context: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let opened = self
            .0
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(context), &mut buffer)
            .ok()?
            .len();
        buffer.truncate(opened);
        Some(buffer)
    }
}
