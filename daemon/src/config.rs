//! Reads the configuration file strictly into the types of the other modules.

mod admins;
mod allow;
mod audit;
mod backends;
mod changed_sections;
mod database;
mod directories;
mod duration;
mod error;
mod file;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod https;
mod jwt;
mod lenient;
mod limits;
mod provider;
mod reference;
mod remote;
mod schema;
mod section;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod tree;
mod workloads;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use infra_shared::origin::Origin;
use sha2::{Digest, Sha256};

use crate::audit::AuditSettings;
use crate::identity::{ProviderSettings, WorkloadSettings};
use crate::jwt::JwtSettings;
use crate::keys::RootKeySettings;
use crate::listener::Proxies;
use crate::logging::LogSettings;
use crate::secrets::Backends;
use crate::services::ServiceSettings;
use crate::sessions::{ProviderRule, SessionLimits};
use crate::store::PostgresSettings;
use crate::tls::{MinimumVersion, OtherSource};

pub use changed_sections::Sections;
pub use duration::parse as parse_duration;
pub use error::{ConfigError, Fault};
pub use https::DomainError;
pub use limits::Limits;
pub use schema::SCHEMA;

use directories::Directories;
use error::FaultAt;

/// The variable that names the configuration file.
const CONFIG_VARIABLE: &str = "INFRAD_CONFIG";

/// The name of the program's own variable, if it is set and empty: its value is probably missing.
#[expect(clippy::disallowed_methods, reason = "the environment of the configuration is read here")]
pub fn empty_variable() -> Option<&'static str> {
    std::env::var_os(CONFIG_VARIABLE).is_some_and(|value| value.is_empty()).then_some(CONFIG_VARIABLE)
}

/// A configuration that passed every check that needs no network.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// Addresses that users type. If empty: the host name, `localhost` and the listening address.
    pub public_urls: Vec<Origin>,
    pub data_dir: PathBuf,
    /// The database of several daemons. If absent, the store is a file in `data_dir`.
    pub database: Option<PostgresSettings>,
    /// How much longer session tokens are valid from memory while the database is away.
    pub grace: Duration,
    pub https: HttpsSettings,
    pub providers: Vec<ProviderSettings>,
    /// The first wraps the data key; the others only unwrap. Never empty.
    pub root_keys: Vec<RootKeySettings>,
    pub rollback_guard_file: Option<PathBuf>,
    /// Where a store in `dataDir` has its rollback guard file by default; `None` if that has no place. For moves to and from a
    /// shared database, which has none.
    pub default_rollback_guard_file: Option<PathBuf>,
    pub backends: Backends,
    /// Address of metrics and health checks, without TLS.
    pub metrics: Option<SocketAddr>,
    pub sessions: SessionLimits,
    pub limits: Limits,
    /// Proxies that may name client addresses.
    pub proxies: Proxies,
    /// Administrators, who list and revoke sessions of other users.
    pub admins: Vec<ProviderRule>,
    pub services: Vec<ServiceSettings>,
    /// How signed audience tokens are signed, if a service has them.
    pub jwt: Option<JwtSettings>,
    /// What CI jobs, pods and machines get tokens for.
    pub workloads: Vec<WorkloadSettings>,
    /// Destination of the audit log, if there is one.
    pub audit: Option<AuditSettings>,
    pub log: LogSettings,
    /// The files of CA certificates, each with the section that names it. They were read already.
    pub ca_files: Vec<(String, PathBuf)>,
    /// Warnings about valid but insecure settings.
    pub warnings: Vec<String>,
    /// SHA-256 of the file. `None` if the file contains a secret.
    pub digest: Option<String>,
    /// Digests of the sections, for comparison after a reload.
    pub sections: Sections,
}

/// HTTPS settings. By default TLS 1.3 and a certificate from the daemon's own CA.
#[derive(Debug, Clone, Default)]
pub struct HttpsSettings {
    pub minimum_version: MinimumVersion,
    /// Source of certificates in addition to the daemon's own CA.
    pub source: OtherSource,
    pub redirect_http: Option<SocketAddr>,
}

impl Config {
    /// Adds the names of `--domain`: obtains ACME certificates for them, and adds them to the public URLs.
    pub fn add_domains(&mut self, domains: &[String]) -> Result<(), DomainError> {
        domains.iter().try_for_each(|domain| https::add_domain(self, domain))
    }

    /// Reads the file and the CA certificates that it names. Reads no secret and uses no network.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read(path)?;
        let config = Self::parse(&text, &Directories::for_configuration(path));
        let config = config.map_err(|FaultAt { place, fault }| {
            let (line, column) = (place.line, place.column);
            ConfigError::Faulty { path: path.to_owned(), line, column, fault: Box::new(fault) }
        })?;
        let is_without_secret = config.warnings.is_empty();
        let digest = is_without_secret.then(|| HEXLOWER.encode(&Sha256::digest(text.as_bytes())));
        Ok(Self { digest, ..config })
    }

    /// Where the data of the daemon that uses the file at `path` may be, although the file cannot be used.
    pub fn find_data_dirs(path: &Path) -> Vec<PathBuf> {
        let directories = Directories::for_configuration(path);
        match file::read(path) {
            Ok(text) => lenient::data_dirs(&text, &directories),
            Err(ConfigError::Empty { .. }) => lenient::data_dirs("", &directories),
            // A path that was mistyped must not lead to another daemon.
            Err(_) => directories.running,
        }
    }

    fn parse(text: &str, directories: &Directories) -> Result<Self, FaultAt> {
        settings::read(&tree::Node::parse(text)?, directories)
    }
}

/// Reads a text that names its paths itself.
impl FromStr for Config {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        Self::parse(text, &Directories::default()).map_err(|FaultAt { fault, .. }| fault)
    }
}
