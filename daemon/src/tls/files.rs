//! The operator's certificate files, reloaded when they change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::digest::sha256;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::chain::{ChainError, CheckedChain, covers};
use super::history::SourceHistory;
use super::resolver::Resolver;
use super::validity::Validity;
use crate::platform;

/// How often the files are read. They are small, and reading detects every kind of replacement: overwritten, renamed
/// or linked files, replaced directories, and file systems without notifications.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// The timeout for reading both files.
const PATIENCE: Duration = Duration::from_secs(5);

const LARGEST_FILE: usize = 256 * 1024;

/// The paths of the chain and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, server certificate first.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
    /// Whether the certificate is publicly trusted. If so, the daemon announces it to users with a pin.
    pub is_public: bool,
}

/// Why certificate files cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("{path}: {cause}")]
    File { path: String, cause: String },
    #[error("cannot use {certificate} and {private_key}: {cause}")]
    Chain { certificate: String, private_key: String, cause: ChainError },
}

/// The files and the state of them that was checked last.
pub(super) struct OwnFiles {
    files: CertificateFiles,
    /// The hosts of the public URLs. The first is the one shown to users.
    hosts: Vec<String>,
    pub(super) history: SourceHistory,
    seen: Mutex<Seen>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Seen {
    /// Digests of the state checked last and of the state read last.
    checked: Option<[u8; 32]>,
    found: Option<[u8; 32]>,
    /// When to check a certificate again that is not valid yet.
    again_at: Option<Timestamp>,
}

struct Contents {
    certificate: Vec<u8>,
    private_key: Zeroizing<Vec<u8>>,
}

impl CertificateFiles {
    /// Checks the files and returns the certificate's names.
    pub fn names(&self, now: Timestamp) -> Result<Vec<String>, FilesError> {
        Ok(self.check(&self.read()?, &[], now)?.names)
    }

    /// Reads the files and checks them for `names`.
    pub fn check_certificate(&self, names: &[String], now: Timestamp) -> Result<Validity, FilesError> {
        let chain = self.check(&self.read()?, names, now)?;
        Ok(Validity { issued_at: chain.not_before, expires_at: chain.not_after })
    }

    fn read(&self) -> Result<Contents, FilesError> {
        Ok(Contents {
            certificate: read(&self.certificate, false)?.to_vec(),
            private_key: read(&self.private_key, true)?,
        })
    }

    fn check(
        &self,
        contents: &Contents,
        names: &[String],
        now: Timestamp,
    ) -> Result<CheckedChain, FilesError> {
        let file = |path: &Path, cause: &str| FilesError::File {
            path: path.display().to_string(),
            cause: cause.to_owned(),
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.certificate)
            .collect::<Result<_, _>>()
            .map_err(|_| file(&self.certificate, "the file is not PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.private_key).map_err(|_| {
            file(&self.private_key, "the file contains no unencrypted private key in PEM form")
        })?;
        CheckedChain::check(chain, key, names, now).map_err(|cause| FilesError::Chain {
            certificate: self.certificate.display().to_string(),
            private_key: self.private_key.display().to_string(),
            cause,
        })
    }
}

impl OwnFiles {
    /// Serves the current files. They must be valid and cover the first of `hosts`.
    pub(super) async fn open(
        files: CertificateFiles,
        hosts: Vec<String>,
        resolver: &Resolver,
        history: SourceHistory,
        now: Timestamp,
    ) -> Result<Self, FilesError> {
        let own = Self { files, hosts, history, seen: Mutex::default(), reading: Arc::default() };
        let contents = own.read().await?;
        let chain = own.files.check(&contents, own.hosts.get(..1).unwrap_or_default(), now)?;
        own.seen().checked = Some(contents.digest());
        resolver.serve_chain(chain);
        Ok(own)
    }

    pub(super) fn is_public(&self) -> bool {
        self.files.is_public
    }

    /// Loads the files if they changed and have been stable for two reads: between two writes, key and certificate do
    /// not match. Returns `true` if they are served now.
    pub(super) async fn reload_if_changed(&self, resolver: &Resolver, now: Timestamp) -> bool {
        let read = self.read().await;
        let digest = read.as_ref().map_or_else(FilesError::digest, Contents::digest);
        let mut seen = self.seen();
        let is_at_rest = seen.found.replace(digest) == Some(digest);
        let is_checked = seen.checked == Some(digest) && seen.again_at.is_none_or(|again_at| now < again_at);
        if !is_at_rest || is_checked {
            return false;
        }
        drop(seen);
        self.check_contents(read, digest, resolver, now).is_ok()
    }

    /// Loads the files at once.
    pub(super) async fn reload(&self, resolver: &Resolver, now: Timestamp) -> Result<(), FilesError> {
        let read = self.read().await;
        let digest = read.as_ref().map_or_else(FilesError::digest, Contents::digest);
        self.seen().found = Some(digest);
        self.check_contents(read, digest, resolver, now)
    }

    /// Reads the files on a blocking thread with a timeout, so that a hanging file system blocks nothing else. Reads
    /// run one at a time, so that hanging ones do not accumulate.
    async fn read(&self) -> Result<Contents, FilesError> {
        let hangs = || FilesError::File {
            path: self.files.certificate.display().to_string(),
            cause: format!(
                "reading it and the key took longer than {} s: its file system probably hangs",
                PATIENCE.as_secs()
            ),
        };
        let (files, guard) = (self.files.clone(), self.reading.clone());
        let reading = async {
            let guard = guard.lock_owned().await;
            let reading = tokio::task::spawn_blocking(move || {
                let _guard = guard;
                files.read()
            });
            reading.await.unwrap_or_else(|_| Err(hangs()))
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| Err(hangs()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the files and serves them. A replacement must cover every host that the current certificate covers.
    fn check_contents(
        &self,
        read: Result<Contents, FilesError>,
        digest: [u8; 32],
        resolver: &Resolver,
        now: Timestamp,
    ) -> Result<(), FilesError> {
        let served = resolver.chain().map(|chain| chain.names.clone()).unwrap_or_default();
        let hosts: Vec<String> = self.hosts.iter().filter(|host| covers(&served, host)).cloned().collect();
        let checked = read.and_then(|contents| self.files.check(&contents, &hosts, now));
        let mut seen = self.seen();
        seen.checked = Some(digest);
        seen.again_at = match &checked {
            Err(FilesError::Chain { cause: ChainError::NotYetValid(valid_at), .. }) => Some(*valid_at),
            _ => None,
        };
        drop(seen);
        match checked {
            Ok(chain) => {
                let until = chain.not_after;
                resolver.serve_chain(chain);
                self.history.succeeded();
                tracing::info!(%until, "loaded the certificate files");
                Ok(())
            }
            Err(error) => {
                self.history.failed(now, &error.to_string());
                tracing::error!(%error, "cannot use the certificate files: still serving the previous certificate");
                Err(error)
            }
        }
    }
}

impl Contents {
    fn digest(&self) -> [u8; 32] {
        let length = (self.certificate.len() as u64).to_be_bytes();
        sha256(&[&length, &self.certificate, &self.private_key])
    }
}

impl FilesError {
    pub fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => {
                "correct that file: docs/https.md describes its contents and the user that must be able to read it"
            }
            Self::Chain { cause, .. } => cause.hint(),
        }
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }
}

/// Reads a file or link, as Kubernetes mounts them. Rejects a private key readable by other users; its group may read
/// it.
fn read(path: &Path, is_private: bool) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    platform::read_pem_file(path, LARGEST_FILE, is_private)
        .map_err(|cause| FilesError::File { path: path.display().to_string(), cause })
}
