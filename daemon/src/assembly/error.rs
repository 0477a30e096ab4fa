//! Errors that prevent a daemon from starting.

use std::net::SocketAddr;
use std::path::Path;

use crate::audit::AuditError;
use crate::identity::IdentityError;
use crate::keys::{KeyError, MovedStore};
use crate::platform::PlatformError;
use crate::store::StoreError;
use crate::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    #[error(transparent)]
    Platform(#[from] PlatformError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{data_dir}: {source}")]
    Database { data_dir: String, source: StoreError },
    /// `database` names it and its hosts.
    #[error("{database}: {source}")]
    SharedDatabase { database: String, source: StoreError },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(
        "the data in {data_dir} is older than the data this host used last, or separate from it, and would bring back revoked sessions: \
         restore the newer data, or accept this data, which revokes all sessions"
    )]
    RolledBack { data_dir: String },
    #[error(
        "the store in {data_dir} was moved to {} on {}, so it would bring back revoked sessions",
        moved.to, moved.at.strftime("%Y-%m-%d %H:%M UTC")
    )]
    Moved { data_dir: String, moved: MovedStore },
    #[error(
        "{data_dir} contains no store, but {rollback_guard_file} has an entry for one: check that `dataDir` is the \
         right directory and that its volume is mounted"
    )]
    NewStore { data_dir: String, rollback_guard_file: String },
    #[error(
        "{data_dir} contains other files and no store, and {cause}: configure a directory of its own as `dataDir`, such \
         as `/var/lib/infrad`"
    )]
    OtherFiles { data_dir: String, cause: &'static str },
    #[error("there is no store in {data_dir} yet")]
    NoStore { data_dir: String },
    #[error("provider `{name}`: {source}")]
    Provider { name: String, source: IdentityError },
    #[error("workloads: {0}")]
    Workloads(IdentityError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error(
        "systemd passes a socket for {address}, which the configuration does not mention: set `listen` to this \
         address, or remove it from `infrad.socket`"
    )]
    Handed { address: SocketAddr },
    #[error("cannot open the control socket in {data_dir}: {source}")]
    ControlSocket { data_dir: String, source: std::io::Error },
}

impl AssemblyError {
    /// Whether another server was unavailable, so that a retry may succeed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Key(key) => key.is_transient(),
            Self::Store(store) => store.is_transient(),
            _ => false,
        }
    }

    /// Names the place of a database that failed: `database`, or the data directory.
    #[must_use]
    pub fn located(self, data_dir: &Path, database: Option<String>) -> Self {
        match self {
            Self::Store(source @ (StoreError::Database(_) | StoreError::Forbidden(_)))
            | Self::Tls(TlsError::Store(source @ (StoreError::Database(_) | StoreError::Forbidden(_)))) => {
                match database {
                    Some(database) => Self::SharedDatabase { database, source },
                    None => Self::Database { data_dir: data_dir.display().to_string(), source },
                }
            }
            other => other,
        }
    }
}
