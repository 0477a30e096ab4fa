//! The daemon's own HTTPS identity: its certification authority, the leaf it serves with, and how both are kept.

mod issue;
mod keep;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use infra_shared::clock::Clock;
use infra_shared::pin::Pin;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};

use crate::keys::FieldSealer;
use crate::store::{Store, StoreError};
use issue::{Authority, Leaf};

/// Why the daemon has no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "the key of the {0} certificate does not open: the store was damaged or changed; restore a backup"
    )]
    KeyDoesNotOpen(&'static str),
    #[error("the {0} certificate in the store cannot be read: the store was damaged; restore a backup")]
    Unreadable(&'static str),
    #[error("no certificate can be issued for {name:?}: it is neither a DNS name nor an IP address")]
    Name { name: String },
    #[error("no certificate could be issued: {0}")]
    Issue(#[from] rcgen::Error),
    #[error("the certificate cannot be served with: {0}")]
    Serve(#[from] rustls::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The least TLS version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinimumVersion {
    Tls12,
    Tls13,
}

/// The local certification authority (P-256, key sealed in the store) and the leaf that it issued for this daemon.
///
/// Resolves the certificate of each handshake; the leaf is replaced without touching live connections.
pub struct LocalAuthority {
    authority: Authority,
    names: Vec<String>,
    leaf: RwLock<Serving>,
    store: Store,
    sealer: FieldSealer,
    clock: Arc<dyn Clock>,
}

/// The leaf in use.
struct Serving {
    key: Arc<CertifiedKey>,
    leaf: Leaf,
}

impl LocalAuthority {
    /// Loads the authority from the store, or creates it; issues a leaf for `names` when there is none that is good.
    /// `names` are DNS names and IP addresses without brackets.
    pub async fn load_or_create(
        store: Store,
        sealer: FieldSealer,
        clock: Arc<dyn Clock>,
        names: Vec<String>,
    ) -> Result<Arc<Self>, TlsError> {
        let authority = if let Some(authority) = keep::find_authority(&store, &sealer)? {
            authority
        } else {
            let authority = Authority::create(clock.now())?;
            keep::save_authority(&store, &sealer, &authority).await?;
            authority
        };
        let kept = keep::find_leaf(&store, &sealer)?;
        let leaf = match kept.filter(|leaf| !leaf.is_due(clock.now()) && leaf.is_for(&names)) {
            Some(leaf) => leaf,
            None => issue_and_keep(&authority, &names, clock.now(), &store, &sealer).await?,
        };
        let serving = Serving { key: certified(&authority, &leaf)?, leaf };
        Ok(Arc::new(Self { authority, names, leaf: RwLock::new(serving), store, sealer, clock }))
    }

    /// The SHA-256 of the authority's public key, which users pin.
    pub fn pin(&self) -> Pin {
        self.authority.pin()
    }

    /// The authority's certificate as PEM, for `--ca-file`.
    pub fn certificate_pem(&self) -> String {
        self.authority.certificate_pem()
    }

    /// Until when the leaf in use is good.
    pub fn leaf_expires_at(&self) -> Timestamp {
        self.leaf.read().unwrap_or_else(PoisonError::into_inner).leaf.expires_at()
    }

    /// Issues a new leaf when two thirds of the old one's life are over; `true` when it did.
    pub async fn renew_leaf_if_due(&self) -> Result<bool, TlsError> {
        let now = self.clock.now();
        if !self.leaf.read().unwrap_or_else(PoisonError::into_inner).leaf.is_due(now) {
            return Ok(false);
        }
        let leaf = issue_and_keep(&self.authority, &self.names, now, &self.store, &self.sealer).await?;
        let serving = Serving { key: certified(&self.authority, &leaf)?, leaf };
        *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = serving;
        Ok(true)
    }

    /// What the listener serves TLS with: TLS 1.3 (and 1.2 where asked), X25519MLKEM768 first, no 0-RTT,
    /// `h2` and `http/1.1` by ALPN.
    pub fn server_config(
        self: &Arc<Self>,
        minimum: MinimumVersion,
    ) -> Result<Arc<rustls::ServerConfig>, TlsError> {
        let versions: &[_] = match minimum {
            MinimumVersion::Tls13 => &[&TLS13],
            MinimumVersion::Tls12 => &[&TLS13, &TLS12],
        };
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Its keys change by themselves, every six hours.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

/// Kept before it is used, so that a restart goes on with it.
async fn issue_and_keep(
    authority: &Authority,
    names: &[String],
    now: Timestamp,
    store: &Store,
    sealer: &FieldSealer,
) -> Result<Leaf, TlsError> {
    let leaf = authority.issue(names, now)?;
    keep::save_leaf(store, sealer, &leaf).await?;
    Ok(leaf)
}

/// The chain carries the authority, for that is what clients pin.
fn certified(authority: &Authority, leaf: &Leaf) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = vec![leaf.certificate().clone(), authority.certificate().clone()];
    Ok(Arc::new(CertifiedKey::from_der(chain, leaf.private_key(), &aws_lc_rs::default_provider())?))
}

impl ResolvesServerCert for LocalAuthority {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.leaf.read().unwrap_or_else(PoisonError::into_inner).key.clone())
    }
}

impl fmt::Debug for LocalAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LocalAuthority").field("pin", &self.pin()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
