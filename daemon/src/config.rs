//! The configuration file, read strictly into the rooms' own types.

mod backends;
mod directories;
mod duration;
mod error;
mod file;
mod provider;
mod reference;
mod remote;
mod section;
mod settings;
#[cfg(test)]
mod tests;
mod tree;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use infra_shared::origin::Origin;

use crate::identity::ProviderSettings;
use crate::keys::RootKeySettings;
use crate::logging::LogSettings;
use crate::secrets::Backends;
use crate::sessions::SessionLimits;
use crate::tls::MinimumVersion;

pub use error::{ConfigError, Fault};

use directories::Directories;
use error::FaultAt;

/// A configuration in which everything that can be checked without a network has been checked.
#[derive(Debug, Clone)]
pub struct Config {
    pub listen: SocketAddr,
    /// What users type. Empty: the host's name, `localhost` and the listening address, once it is known.
    pub public_urls: Vec<Origin>,
    pub data_dir: PathBuf,
    pub minimum_tls: MinimumVersion,
    pub providers: Vec<ProviderSettings>,
    /// The first wraps, the others may still unwrap. Never empty.
    pub root_keys: Vec<RootKeySettings>,
    /// Where it is written down how new the data is, so that a rolled-back store is noticed.
    pub epoch_file: Option<PathBuf>,
    pub backends: Backends,
    /// Where metrics and health are asked for, in the clear.
    pub metrics: Option<SocketAddr>,
    pub sessions: SessionLimits,
    pub log: LogSettings,
    /// What is allowed and yet unwise, for the operator's eyes.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the file, and the certificates that it names; no secret and no network.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read(path)?;
        Self::parse(&text, &Directories::of_this_process()).map_err(|FaultAt { place, fault }| {
            let (line, column) = (place.line, place.column);
            ConfigError::Faulty { path: path.to_owned(), line, column, fault: Box::new(fault) }
        })
    }

    fn parse(text: &str, directories: &Directories) -> Result<Self, FaultAt> {
        settings::read(&tree::Node::parse(text)?, directories)
    }
}
