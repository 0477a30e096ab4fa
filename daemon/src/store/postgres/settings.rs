//! Where the PostgreSQL database is, from the configuration.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Component, PathBuf};

use infra_shared::http::Trust;
use rustls::pki_types::ServerName;

use crate::secrets::{Backends, Reference};

const DEFAULT_PORT: u16 = 5432;

#[derive(Clone)]
pub struct PostgresSettings {
    /// Tried in order. The first that accepts writes is used.
    pub hosts: Vec<DatabaseHost>,
    pub name: String,
    pub user: String,
    pub password: Option<DatabasePassword>,
    pub client_certificate: Option<ClientCertificate>,
    /// Who may issue the servers' certificates. Not used for sockets.
    pub trust: Trust,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseHost {
    /// Reached by TLS, with full verification of this name or address.
    TCP { name: String, port: u16 },
    /// The directory of a Unix socket, which the operating system protects.
    Socket { directory: PathBuf, port: u16 },
}

/// The password of the user, read for each connection.
#[derive(Clone)]
pub struct DatabasePassword {
    pub reference: Reference,
    pub backends: Backends,
}

/// The files that prove the daemon's identity to the servers, read for each connection. PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    pub certificate: PathBuf,
    pub private_key: PathBuf,
}

impl PostgresSettings {
    /// The database and its hosts, for errors.
    pub fn describe(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!("database {} on {}", self.name, hosts.join(", "))
    }
}

impl DatabaseHost {
    /// Parses a name or an address with an optional port, or the absolute directory of a socket, also with a port.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().ok().filter(|port| *port != 0)?)
            }
            _ => (text, DEFAULT_PORT),
        };
        if host.starts_with('/') {
            let directory = PathBuf::from(host);
            let is_plain = directory.components().all(|it| it != Component::ParentDir);
            return is_plain.then_some(Self::Socket { directory, port });
        }
        let name = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().ok()?.to_string(),
            None if host.contains(':') => return None,
            None => host.to_owned(),
        };
        ServerName::try_from(name.as_str()).ok()?;
        Some(Self::TCP { name, port })
    }
}

impl fmt::Display for DatabaseHost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TCP { name, port: DEFAULT_PORT } if name.contains(':') => write!(formatter, "[{name}]"),
            Self::TCP { name, port: DEFAULT_PORT } => formatter.write_str(name),
            Self::TCP { name, port } if name.contains(':') => write!(formatter, "[{name}]:{port}"),
            Self::TCP { name, port } => write!(formatter, "{name}:{port}"),
            Self::Socket { directory, port: DEFAULT_PORT } => write!(formatter, "{}", directory.display()),
            Self::Socket { directory, port } => write!(formatter, "{}:{port}", directory.display()),
        }
    }
}

impl fmt::Debug for PostgresSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PostgresSettings")
            .field("hosts", &self.hosts)
            .field("name", &self.name)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
