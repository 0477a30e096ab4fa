//! The configuration file, read strictly into the rooms' own types.

mod admins;
mod allow;
mod audit;
mod backends;
mod directories;
mod duration;
mod error;
mod file;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod https;
mod limits;
mod provider;
mod reference;
mod remote;
mod schema;
mod section;
mod sections;
mod services;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::HEXLOWER;
use infra_shared::origin::Origin;
use sha2::{Digest, Sha256};

use crate::audit::AuditSettings;
use crate::identity::ProviderSettings;
use crate::keys::RootKeySettings;
use crate::listener::Proxies;
use crate::logging::LogSettings;
use crate::secrets::Backends;
use crate::services::ServiceSettings;
use crate::sessions::{Admins, SessionLimits};
use crate::tls::{MinimumVersion, OtherSource};

pub use duration::parse as parse_duration;
pub use error::{ConfigError, Fault};
pub use https::DomainError;
pub use limits::Limits;
pub use schema::SCHEMA;
pub use sections::Sections;

use directories::Directories;
use error::FaultAt;

/// A configuration in which everything that can be checked without a network has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// What users type. Empty: the host's name, `localhost` and the listening address, once it is known.
    pub public_urls: Vec<Origin>,
    pub data_dir: PathBuf,
    pub https: HttpsSettings,
    pub providers: Vec<ProviderSettings>,
    /// The first wraps, the others may still unwrap. Never empty.
    pub root_keys: Vec<RootKeySettings>,
    /// Where it is written down how new the data is, so that a rolled-back store is noticed.
    pub rollback_guard_file: Option<PathBuf>,
    pub backends: Backends,
    /// Where metrics and health are asked for, in the clear.
    pub metrics: Option<SocketAddr>,
    pub sessions: SessionLimits,
    pub limits: Limits,
    /// Who stands before the daemon, and may say where callers are.
    pub proxies: Proxies,
    /// Who may see and end the sessions of others.
    pub admins: Admins,
    /// Who asks whose token they were shown.
    pub services: Vec<ServiceSettings>,
    /// Where the audit log goes; `None` where there is none.
    pub audit: Option<AuditSettings>,
    pub log: LogSettings,
    /// What is allowed and yet unwise, for the operator's eyes.
    pub warnings: Vec<String>,
    /// The SHA-256 of the file; `None` where a secret stands in it.
    pub digest: Option<String>,
    /// Its sections, to be compared with those of another reading.
    pub sections: Sections,
}

/// How the daemon serves HTTPS; by default with TLS 1.3 and a certification authority of its own.
#[derive(Debug, Clone, Default)]
pub struct HttpsSettings {
    pub minimum_version: MinimumVersion,
    /// What it serves with beside the leaf of its own authority.
    pub source: OtherSource,
    /// Where plain HTTP is answered with the way to HTTPS.
    pub redirect_http: Option<SocketAddr>,
}

impl Config {
    /// Has `domains` served with certificates by ACME too, and reached under them: `--domain` of the command line.
    pub fn add_domains(&mut self, domains: &[String]) -> Result<(), DomainError> {
        domains.iter().try_for_each(|domain| https::add_domain(self, domain))
    }

    /// Reads the file, and the certificates that it names; no secret and no network.
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
