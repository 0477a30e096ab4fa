//! `plaintext:SECRET`: the secret itself, in the configuration. The daemon logs a warning.

use async_trait::async_trait;

use super::encoding::{Encoding, decode};
use super::{ReadError, SecretBackend, Stored};

pub(super) struct Plaintext {
    pub(super) encoding: Option<Encoding>,
}

#[async_trait]
impl SecretBackend for Plaintext {
    fn check_name(&self, name: &str) -> Result<(), String> {
        if name.is_empty() { Err("write the secret itself after `plaintext:`".to_owned()) } else { Ok(()) }
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        decode(name.as_bytes(), self.encoding, "the plaintext secret")
    }

    fn is_local(&self) -> bool {
        true
    }
}
