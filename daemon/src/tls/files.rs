//! The operator's own certificate files, taken up again whenever they change.

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::digest::sha256;
use jiff::Timestamp;
use rustix::fs::OFlags;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::chain::{ChainError, CheckedChain, covers};
use super::journal::Journal;
use super::resolver::Resolver;
use crate::platform;

/// How often the files are looked at. Both are small, and reading them finds every way in which they can be replaced:
/// written over, renamed, linked elsewhere, below a directory that is, on a file system that tells nobody.
pub(super) const INTERVAL: Duration = Duration::from_secs(2);

/// For both files.
const PATIENCE: Duration = Duration::from_secs(5);

const LARGEST_FILE: u64 = 256 * 1024;

/// Where the chain and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub private_key: PathBuf,
    /// Whether an authority issued it that every machine trusts: users who pinned the daemon are told.
    pub is_public: bool,
}

/// Why certificate files cannot be served with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    #[error("{path}: {cause}")]
    File { path: String, cause: String },
    #[error("{certificate} and {private_key} cannot be served with: {cause}")]
    Chain { certificate: String, private_key: String, cause: ChainError },
}

/// The files, and which state of them was judged.
pub(super) struct OwnFiles {
    files: CertificateFiles,
    /// The hosts of the public URLs, the one that users are told first.
    hosts: Vec<String>,
    pub(super) journal: Journal,
    seen: Mutex<Seen>,
    reading: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Default)]
struct Seen {
    /// The digest of what was judged last, and that of what the last look found.
    judged: Option<[u8; 32]>,
    found: Option<[u8; 32]>,
    /// When it is judged once more: what is not valid yet will be.
    again_at: Option<Timestamp>,
}

struct Contents {
    certificate: Vec<u8>,
    private_key: Zeroizing<Vec<u8>>,
}

impl CertificateFiles {
    /// The names of the certificate, whoever they are for.
    pub fn names(&self, now: Timestamp) -> Result<Vec<String>, FilesError> {
        Ok(self.check(&self.read()?, &[], now)?.names)
    }

    /// Reads and checks the files for `names`.
    pub fn examine(&self, names: &[String], now: Timestamp) -> Result<Timestamp, FilesError> {
        Ok(self.check(&self.read()?, names, now)?.not_after)
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
            .map_err(|_| file(&self.certificate, "it is not PEM"))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.private_key).map_err(|_| {
            file(&self.private_key, "it holds no private key in PEM form, or an encrypted one")
        })?;
        CheckedChain::check(chain, key, names, now).map_err(|cause| FilesError::Chain {
            certificate: self.certificate.display().to_string(),
            private_key: self.private_key.display().to_string(),
            cause,
        })
    }
}

impl OwnFiles {
    /// Serves with the files as they are now: they must be good, and name the first of `hosts`.
    pub(super) async fn open(
        files: CertificateFiles,
        hosts: Vec<String>,
        resolver: &Resolver,
        journal: Journal,
        now: Timestamp,
    ) -> Result<Self, FilesError> {
        let own = Self { files, hosts, journal, seen: Mutex::default(), reading: Arc::default() };
        let contents = own.read().await?;
        let chain = own.files.check(&contents, own.hosts.get(..1).unwrap_or_default(), now)?;
        own.seen().judged = Some(contents.digest());
        resolver.serve_chain(chain);
        Ok(own)
    }

    pub(super) fn is_public(&self) -> bool {
        self.files.is_public
    }

    /// Takes the files up where they have changed and are at rest: while one is written and the other is not yet, they do
    /// not fit each other. `true` where they are served with from now on.
    pub(super) async fn look(&self, resolver: &Resolver, now: Timestamp) -> bool {
        let read = self.read().await;
        let digest = read.as_ref().map_or_else(FilesError::digest, Contents::digest);
        let mut seen = self.seen();
        let is_at_rest = seen.found.replace(digest) == Some(digest);
        let is_judged = seen.judged == Some(digest) && seen.again_at.is_none_or(|again_at| now < again_at);
        if !is_at_rest || is_judged {
            return false;
        }
        drop(seen);
        self.judge(read, digest, resolver, now).is_ok()
    }

    /// Takes the files up as they are, at once.
    pub(super) async fn reload(&self, resolver: &Resolver, now: Timestamp) -> Result<(), FilesError> {
        let read = self.read().await;
        let digest = read.as_ref().map_or_else(FilesError::digest, Contents::digest);
        self.seen().found = Some(digest);
        self.judge(read, digest, resolver, now)
    }

    /// Reads the files on a thread of their own, within a bound: a file system that hangs hangs nothing else. One reading
    /// at a time, so that those that hang do not add up.
    async fn read(&self) -> Result<Contents, FilesError> {
        let hangs = || FilesError::File {
            path: self.files.certificate.display().to_string(),
            cause: format!(
                "it or the key was not read within {} s: does its file system hang?",
                PATIENCE.as_secs()
            ),
        };
        let (files, turn) = (self.files.clone(), self.reading.clone());
        let reading = async {
            let turn = turn.lock_owned().await;
            let reading = tokio::task::spawn_blocking(move || {
                let _turn = turn;
                files.read()
            });
            reading.await.unwrap_or_else(|_| Err(hangs()))
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| Err(hangs()))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A replacement has to be good for every host that the one in use is good for.
    fn judge(
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
        seen.judged = Some(digest);
        seen.again_at = match &checked {
            Err(FilesError::Chain { cause: ChainError::NotYetValid(valid_at), .. }) => Some(*valid_at),
            _ => None,
        };
        drop(seen);
        match checked {
            Ok(chain) => {
                let until = chain.not_after;
                resolver.serve_chain(chain);
                self.journal.succeeded();
                tracing::info!(%until, "took up the certificate files");
                Ok(())
            }
            Err(error) => {
                self.journal.failed(now, &error.to_string());
                tracing::error!(%error, "the certificate files are refused, the certificate before goes on serving");
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
    fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.to_string()).into()
    }
}

/// A file, which may be a link: Kubernetes mounts both so. A private key that others can read is refused; its group may read
/// it, as the group of a host's certificates does.
fn read(path: &Path, is_private: bool) -> Result<Zeroizing<Vec<u8>>, FilesError> {
    use std::io::Read;

    let failed = |cause: String| FilesError::File { path: path.display().to_string(), cause };
    // Its whole size at once: a buffer that grows leaves copies of a key behind.
    let mut contents =
        Zeroizing::new(Vec::with_capacity(usize::try_from(LARGEST_FILE).unwrap_or_default() + 1));
    // Not to wait for a writer where somebody put a pipe.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(platform::handed(path))
        .map_err(|error| failed(error.to_string()))?;
    // Asked of the open file, so that it is the one that is read.
    let metadata = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a file".to_owned()));
    }
    if is_private && metadata.mode() & 0o007 != 0 {
        let mode = metadata.mode() & 0o640;
        return Err(failed(format!(
            "this private key can be read by others: run `chmod {mode:o} {}`",
            path.display()
        )));
    }
    file.take(LARGEST_FILE + 1).read_to_end(&mut contents).map_err(|error| failed(error.to_string()))?;
    if contents.len() as u64 > LARGEST_FILE {
        return Err(failed(format!("it is larger than {LARGEST_FILE} bytes")));
    }
    Ok(contents)
}
