//! Secrets where they already are: a reference names a backend and a name in it; it is read only when it is used.

mod encoding;
mod environment;
mod file;
mod plaintext;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use secrecy::{ExposeSecret, SecretString};

use environment::Environment;
use file::File;
use plaintext::Plaintext;

pub use encoding::Encoding;

/// A place that keeps secrets.
///
/// An implementation reads at each call and keeps nothing between calls; it never puts a secret into an error; it
/// bounds every wait; and it says truthfully which of the [`ReadError`]s it met, because an operator acts on it.
pub trait SecretBackend: Send + Sync {
    /// Checks the form of `name` without any access to the secret.
    fn check_name(&self, name: &str) -> Result<(), String>;

    fn read<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<SecretString, ReadError>> + Send + 'a>>;
}

/// Why a secret is read; reads are counted by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadReason {
    Exchange,
}

/// Why a secret could not be read. Messages name the reference (never that of `plaintext`), not the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("there is no such secret: {0}")]
    NotFound(String),
    #[error("reading the secret is not allowed: {0}")]
    NotAllowed(String),
    #[error("the backend cannot be reached: {0}")]
    Unreachable(String),
    #[error("the secret cannot be used: {0}")]
    Malformed(String),
}

/// Why a text in the configuration is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("a secret is written `BACKEND:NAME`; write `plaintext:…` if the secret itself is meant")]
    NoBackend,
    #[error("there is no secret backend `{name}`{hint}; write `plaintext:…` if the secret itself is meant")]
    UnknownBackend { name: String, hint: String },
    #[error("{0}")]
    Name(String),
}

/// A backend that the configuration declares under a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSettings {
    Environment {
        encoding: Option<Encoding>,
    },
    /// With `path`, names are those of files in that directory.
    File {
        path: Option<PathBuf>,
        encoding: Option<Encoding>,
    },
    Plaintext {
        encoding: Option<Encoding>,
    },
}

/// `BACKEND:NAME`, checked against the backends that are configured. `Debug` and `Display` hide a plaintext value.
#[derive(Clone)]
pub struct Reference {
    backend: String,
    /// For `plaintext` the secret itself.
    name: SecretString,
    name_is_secret: bool,
}

/// The backends of a configuration: the built-in `env`, `file` and `plaintext`, and those it declares.
#[derive(Clone)]
pub struct Backends {
    backends: Arc<Vec<Declared>>,
    reads: Arc<Reads>,
}

struct Declared {
    name: String,
    backend: Arc<dyn SecretBackend>,
    name_is_secret: bool,
}

#[derive(Default)]
struct Reads {
    exchange: AtomicU64,
}

impl Backends {
    /// The built-in kinds under their own names.
    pub fn built_in() -> Self {
        Self::with(Vec::new())
    }

    /// The built-in kinds, and `declared` ones beside them under their own names.
    pub fn with(declared: Vec<(String, BackendSettings)>) -> Self {
        let built_in = [
            ("env", BackendSettings::Environment { encoding: None }),
            ("file", BackendSettings::File { path: None, encoding: None }),
            ("plaintext", BackendSettings::Plaintext { encoding: None }),
        ];
        let built_in = built_in.into_iter().map(|(name, settings)| (name.to_owned(), settings));
        let backends =
            built_in.chain(declared).map(|(name, settings)| Declared::new(name, settings)).collect();
        Self { backends: Arc::new(backends), reads: Arc::default() }
    }

    /// The reference in `text`. An error never repeats what may be a secret.
    pub fn parse(&self, text: &str) -> Result<Reference, ReferenceError> {
        let (backend, name) = text.split_once(':').ok_or(ReferenceError::NoBackend)?;
        let declared = self.find(backend).ok_or_else(|| ReferenceError::UnknownBackend {
            name: backend.to_owned(),
            hint: self.hint(backend),
        })?;
        declared.backend.check_name(name).map_err(ReferenceError::Name)?;
        Ok(Reference {
            backend: backend.to_owned(),
            name: name.into(),
            name_is_secret: declared.name_is_secret,
        })
    }

    /// Reads the secret, now. Nothing of it is kept.
    pub async fn read(&self, reference: &Reference, reason: ReadReason) -> Result<SecretString, ReadError> {
        self.reads.of(reason).fetch_add(1, Ordering::Relaxed);
        let declared = self.find(&reference.backend).expect("a reference names a backend that was there");
        let secret = declared.backend.read(reference.name.expose_secret()).await?;
        if secret.expose_secret().is_empty() {
            return Err(ReadError::Malformed(format!("{reference} is empty")));
        }
        Ok(secret)
    }

    /// How often secrets were read for `reason` since the start.
    pub fn reads(&self, reason: ReadReason) -> u64 {
        self.reads.of(reason).load(Ordering::Relaxed)
    }

    fn find(&self, name: &str) -> Option<&Declared> {
        self.backends.iter().find(|declared| declared.name == name)
    }

    /// The backend that was probably meant.
    fn hint(&self, name: &str) -> String {
        let nearest = self
            .backends
            .iter()
            .map(|declared| (strsim::damerau_levenshtein(name, &declared.name), &declared.name))
            .min()
            .filter(|(distance, _)| *distance <= 2);
        nearest.map_or_else(String::new, |(_, nearest)| format!(", did you mean `{nearest}`?"))
    }
}

impl Declared {
    fn new(name: String, settings: BackendSettings) -> Self {
        let name_is_secret = matches!(settings, BackendSettings::Plaintext { .. });
        let backend: Arc<dyn SecretBackend> = match settings {
            BackendSettings::Environment { encoding } => Arc::new(Environment { encoding }),
            BackendSettings::File { path, encoding } => Arc::new(File { directory: path, encoding }),
            BackendSettings::Plaintext { encoding } => Arc::new(Plaintext { encoding }),
        };
        Self { name, backend, name_is_secret }
    }
}

impl Reads {
    fn of(&self, reason: ReadReason) -> &AtomicU64 {
        match reason {
            ReadReason::Exchange => &self.exchange,
        }
    }
}

impl Reference {
    /// The name of the backend, for people.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The whole text, for sealing into the provider's row. For `plaintext` this is the secret itself.
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

impl fmt::Debug for Backends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.backends.iter().map(|declared| &declared.name)).finish()
    }
}

#[cfg(test)]
mod tests;
