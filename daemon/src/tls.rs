//! The daemon's HTTPS identity: its own CA, certificates by ACME or from files, and which one each handshake gets.

mod acme;
mod certificate_store;
mod certificates;
mod chain;
mod daemon_identity;
mod files;
mod history;
mod issue;
mod local_authority;
mod resolver;
mod shared_challenges;
mod validity;

use infra_shared::pin::Pin;
use infra_shared::printable::when;
use jiff::Timestamp;

use crate::store::StoreError;

pub use acme::{AcmeCheck, AcmeError, AcmeSettings, ExternalAccount};
pub use certificates::{CertificateState, Certificates, OtherSource, Source};
pub use daemon_identity::DaemonIdentity;
pub use files::{CertificateFiles, FilesError};
pub use local_authority::LocalAuthority;
pub use resolver::{Purpose, TlsServer};
pub use validity::{Expiry, Validity};

/// Why the daemon has no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "the private key of the {0} certificate cannot be decrypted: the store is damaged or was changed; restore a \
         backup"
    )]
    KeyDecryption(&'static str),
    #[error("the {0} certificate in the store cannot be read: the store is damaged; restore a backup")]
    Unreadable(&'static str),
    #[error("cannot issue a certificate for {name:?}: it is neither a DNS name nor an IP address")]
    Name { name: String },
    #[error("cannot issue a certificate: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("the certificate cannot be used: {0}")]
    Serve(#[from] rustls::Error),
    #[error(
        "a CA with the fingerprint {pin} is already announced and takes over at {}: another CA would stop \
         the users who learned of it; wait for it, or replace it with `--replace`",
        when(*takeover_at)
    )]
    AlreadyAnnounced { pin: Pin, takeover_at: Timestamp },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Acme(#[from] AcmeError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TlsError {
    /// Whether a shared store has lost the CA, or has an earlier one.
    pub fn is_lost_authority(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_lost_authority())
    }

    /// Whether another server is unavailable, so that a retry may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Acme(error) if error.is_transient())
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinimumVersion {
    Tls12,
    #[default]
    Tls13,
}

#[cfg(test)]
mod tests;
