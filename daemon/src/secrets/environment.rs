//! `env:NAME`: a variable in the daemon's environment.

use std::env;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::encoding::{Encoding, decode};
use super::{ReadError, SecretBackend, Stored};

pub(super) struct Environment {
    pub(super) encoding: Option<Encoding>,
}

#[async_trait]
impl SecretBackend for Environment {
    fn check_name(&self, name: &str) -> Result<(), String> {
        let is_name = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if is_name {
            Ok(())
        } else {
            Err("write the name of a variable after `env:`, such as `env:OKTA_CLIENT_SECRET`".to_owned())
        }
    }

    fn variable<'a>(&self, name: &'a str) -> Option<&'a str> {
        Some(name)
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError> {
        read(name, self.encoding)
    }

    fn is_local(&self) -> bool {
        true
    }
}

#[expect(clippy::disallowed_methods, reason = "this backend is the environment")]
fn read(name: &str, encoding: Option<Encoding>) -> Result<Stored, ReadError> {
    let origin = format!("the variable {name}");
    match env::var_os(name) {
        Some(value) => decode(&Zeroizing::new(value.into_encoded_bytes()), encoding, &origin),
        None => Err(ReadError::NotFound(format!("{origin} is not set in infrad's environment"))),
    }
}
