//! Reads secrets from their backends, at each use. A reference names a backend and a secret.

#[cfg(feature = "aws")]
mod aws;
mod credential;
mod encoding;
mod environment;
mod error;
mod file;
mod kubernetes;
mod plaintext;
mod reference;
mod value;
mod vault;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use infra_shared::http::NoClient;
use secrecy::{ExposeSecret, SecretString};

#[cfg(feature = "aws")]
use aws::{ParameterStore, SecretsManager};
use environment::Environment;
use error::unusable_credential;
use file::File;
use kubernetes::Kubernetes;
use plaintext::Plaintext;
use vault::KeyValue;

#[cfg(feature = "aws")]
pub use aws::{AWSAccess, AWSAccessKey, AWSSettings};
pub use encoding::Encoding;
pub use error::ReadError;
pub use kubernetes::KubernetesSettings;
pub use reference::{Reference, ReferenceError};
pub use value::Stored;
pub use vault::{VaultAccess, VaultAuthentication, VaultSettings};

/// The timeout of a whole read, including a login to the backend and a retry.
const PATIENCE: Duration = Duration::from_secs(10);

/// A secret backend.
///
/// An implementation must read at each call and store nothing between calls. It must never put a secret into an
/// error, must bound every wait, and must return the [`ReadError`] that fits, because operators act on it. It returns
/// the stored bytes unchanged: trimming and validation happen in one place for all backends.
#[async_trait]
pub trait SecretBackend: Send + Sync {
    /// Checks the form of `name` without accessing the secret.
    fn check_name(&self, name: &str) -> Result<(), String>;

    /// Returns the local file that stores the secret, if there is one.
    fn file(&self, _name: &str) -> Option<PathBuf> {
        None
    }

    /// Returns the variable that holds the secret, if there is one.
    fn variable<'a>(&self, _name: &'a str) -> Option<&'a str> {
        None
    }

    async fn read(&self, name: &str) -> Result<Stored, ReadError>;

    /// Whether it reads without a network.
    fn is_local(&self) -> bool {
        false
    }
}

/// Why a secret is read. Reads are counted by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadReason {
    /// To exchange an authorization code.
    Exchange,
    /// To revalidate a session with the provider (`sessions.revalidateEvery`).
    Refresh,
    /// To revoke an ended session's refresh token at the provider.
    Revoke,
    /// To authenticate a service.
    Service,
    /// To test that it can be read (`infrad check --live`).
    Check,
}

impl ReadReason {
    pub const ALL: [Self; 5] = [Self::Exchange, Self::Refresh, Self::Revoke, Self::Service, Self::Check];

    pub fn name(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Refresh => "refresh",
            Self::Revoke => "revoke",
            Self::Service => "service",
            Self::Check => "check",
        }
    }
}

/// A backend declared in the configuration under its own name.
#[derive(Debug, Clone)]
pub enum BackendSettings {
    Environment {
        encoding: Option<Encoding>,
    },
    /// With `path`, names are file names in that directory.
    File {
        path: Option<PathBuf>,
        encoding: Option<Encoding>,
    },
    Plaintext {
        encoding: Option<Encoding>,
    },
    Kubernetes(KubernetesSettings),
    /// A key-value engine at `secret_mount`.
    Vault {
        server: VaultSettings,
        secret_mount: String,
    },
    #[cfg(feature = "aws")]
    AWSSecretsManager {
        aws: AWSSettings,
        version_stage: Option<String>,
    },
    #[cfg(feature = "aws")]
    AWSParameterStore(AWSSettings),
}

/// The configured backends: the built-in `env`, `file`, `plaintext` and `kubernetes`, and the declared ones.
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
struct Reads([AtomicU64; ReadReason::ALL.len()]);

impl Backends {
    pub fn built_in() -> Self {
        Self::with(Vec::new()).expect("no built-in backend needs a client before it is used")
    }

    pub fn with(declared: Vec<(String, BackendSettings)>) -> Result<Self, NoClient> {
        let built_in = [
            ("env", BackendSettings::Environment { encoding: None }),
            ("file", BackendSettings::File { path: None, encoding: None }),
            ("plaintext", BackendSettings::Plaintext { encoding: None }),
            ("kubernetes", BackendSettings::Kubernetes(KubernetesSettings::default())),
        ];
        let built_in = built_in.into_iter().map(|(name, settings)| (name.to_owned(), settings));
        let backends = built_in
            .chain(declared)
            .map(|(name, settings)| Declared::new(name, settings))
            .collect::<Result<_, _>>()?;
        Ok(Self { backends: Arc::new(backends), reads: Arc::default() })
    }

    /// Parses a reference. An error never repeats text that may be a secret.
    pub fn parse(&self, text: &str) -> Result<Reference, ReferenceError> {
        let (backend, name) = text.split_once(':').ok_or(ReferenceError::NoBackend)?;
        let declared = self.find(backend).ok_or(ReferenceError::UnknownBackend)?;
        declared.backend.check_name(name).map_err(ReferenceError::Name)?;
        Ok(Reference {
            backend: backend.to_owned(),
            name: name.into(),
            name_is_secret: declared.name_is_secret,
        })
    }

    /// Reads the secret now. The result is not cached.
    pub async fn read(&self, reference: &Reference, reason: ReadReason) -> Result<SecretString, ReadError> {
        self.reads.of(reason).fetch_add(1, Ordering::Relaxed);
        self.resolve(reference).await
    }

    /// Like [`Self::read`] but not counted, for the daemon's own credentials such as those for backends.
    pub async fn resolve(&self, reference: &Reference) -> Result<SecretString, ReadError> {
        let declared = self.find(&reference.backend).expect("a reference names a backend that was there");
        let reading = declared.backend.read(reference.name.expose_secret());
        let stored = tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| {
            let cause = format!("reading {reference} took longer than {} s", PATIENCE.as_secs());
            Err(ReadError::Unreachable(cause))
        })?;
        value::secret(&stored, reference)
    }

    /// Whether the secret can be read without a network.
    pub fn is_local(&self, reference: &Reference) -> bool {
        self.find(&reference.backend).is_some_and(|declared| declared.backend.is_local())
    }

    /// Returns the variable that holds the secret, if there is one.
    pub fn variable_of<'a>(&self, reference: &'a Reference) -> Option<&'a str> {
        self.find(&reference.backend)?.backend.variable(reference.name.expose_secret())
    }

    /// Returns what is malformed about a local secret; `None` also if it is not local or cannot be read.
    pub async fn find_local_fault(&self, reference: &Reference) -> Option<ReadError> {
        self.find(&reference.backend).filter(|declared| declared.backend.is_local())?;
        self.resolve(reference).await.err().filter(|error| matches!(error, ReadError::Malformed(_)))
    }

    /// Returns the local file of the secret, if there is one, to check its owner and mode without reading it.
    pub fn file_of(&self, reference: &Reference) -> Option<PathBuf> {
        self.find(&reference.backend)?.backend.file(reference.name.expose_secret())
    }

    /// Returns the number of reads for `reason` since the start.
    pub fn reads(&self, reason: ReadReason) -> u64 {
        self.reads.of(reason).load(Ordering::Relaxed)
    }

    fn find(&self, name: &str) -> Option<&Declared> {
        self.backends.iter().find(|declared| declared.name == name)
    }
}

impl Declared {
    fn new(name: String, settings: BackendSettings) -> Result<Self, NoClient> {
        let name_is_secret = matches!(settings, BackendSettings::Plaintext { .. });
        let backend: Arc<dyn SecretBackend> = match settings {
            BackendSettings::Environment { encoding } => Arc::new(Environment { encoding }),
            BackendSettings::File { path, encoding } => Arc::new(File { directory: path, encoding }),
            BackendSettings::Plaintext { encoding } => Arc::new(Plaintext { encoding }),
            BackendSettings::Kubernetes(settings) => Arc::new(Kubernetes { settings }),
            BackendSettings::Vault { server, secret_mount } => {
                Arc::new(KeyValue::new(VaultAccess::new(server)?, &secret_mount))
            }
            #[cfg(feature = "aws")]
            BackendSettings::AWSSecretsManager { aws, version_stage } => {
                Arc::new(SecretsManager { access: AWSAccess::new(aws)?, version_stage })
            }
            #[cfg(feature = "aws")]
            BackendSettings::AWSParameterStore(aws) => {
                Arc::new(ParameterStore { access: AWSAccess::new(aws)? })
            }
        };
        Ok(Self { name, backend, name_is_secret })
    }
}

/// Splits `NAME#FIELD`; the field is optional.
fn split_field(name: &str) -> (&str, Option<&str>) {
    name.split_once('#').map_or((name, None), |(name, field)| (name, Some(field)))
}

/// Reads the text in `field` of a JSON object. `origin` names the object in errors.
fn text_field(object: &serde_json::Value, field: &str, origin: &str) -> Result<Stored, ReadError> {
    use serde_json::Value;

    match object.get(field) {
        None | Some(Value::Null) => Err(ReadError::NotFound(format!("{origin} has no field `{field}`"))),
        Some(Value::String(text)) => Ok(Stored::new(text.as_bytes().to_vec())),
        Some(_) => Err(ReadError::Malformed(format!("the field `{field}` of {origin} is not text"))),
    }
}

impl Reads {
    fn of(&self, reason: ReadReason) -> &AtomicU64 {
        let Self([exchange, refresh, revoke, service, check]) = self;
        match reason {
            ReadReason::Exchange => exchange,
            ReadReason::Refresh => refresh,
            ReadReason::Revoke => revoke,
            ReadReason::Service => service,
            ReadReason::Check => check,
        }
    }
}

impl fmt::Debug for Backends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.backends.iter().map(|declared| &declared.name)).finish()
    }
}

#[cfg(test)]
mod tests;
