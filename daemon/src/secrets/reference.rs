//! References to secrets: `BACKEND:NAME`.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Why a text in the configuration is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("a reference is `BACKEND:NAME`; write `plaintext:…` to use the text as the secret")]
    NoBackend,
    /// The text before the colon is not shown, because it may be the start of a secret.
    #[error("there is no secret backend with that name; write `plaintext:…` to use the text as the secret")]
    UnknownBackend,
    #[error("{0}")]
    Name(String),
}

/// A parsed `BACKEND:NAME` for a configured backend. `Debug` and `Display` hide a plaintext value.
#[derive(Clone)]
pub struct Reference {
    pub(super) backend: String,
    /// The secret itself for `plaintext`.
    pub(super) name: SecretString,
    pub(super) name_is_secret: bool,
}

impl Reference {
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The whole text, to be sealed in the provider's row. Contains the secret for `plaintext`.
    pub fn expose(&self) -> SecretString {
        format!("{}:{}", self.backend, self.name.expose_secret()).into()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name_is_secret { "…" } else { self.name.expose_secret() };
        write!(formatter, "{}:{name}", self.backend)
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
