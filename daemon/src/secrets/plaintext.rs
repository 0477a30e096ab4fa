//! `plaintext:SECRET`: the secret itself, in the configuration. The daemon logs a warning.

use std::future::{Future, ready};
use std::pin::Pin;

use super::encoding::{Encoding, decode};
use super::{ReadError, SecretBackend, Stored};

pub(super) struct Plaintext {
    pub(super) encoding: Option<Encoding>,
}

impl SecretBackend for Plaintext {
    fn check_name(&self, name: &str) -> Result<(), String> {
        if name.is_empty() { Err("after `plaintext:` comes the secret itself".to_owned()) } else { Ok(()) }
    }

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Stored, ReadError>> + Send + 'a>> {
        Box::pin(ready(decode(name.as_bytes(), self.encoding, "the plaintext secret")))
    }

    fn is_local(&self) -> bool {
        true
    }
}
