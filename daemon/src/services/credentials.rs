//! Service credentials: secrets in a backend with which a service authenticates at the daemon.
//!
//! The daemon remembers only the SHA-256 of each credential, for one minute. If a presented secret does not match, the
//! daemon reads the backend again, so credentials can be replaced without a restart. If the secret backend is
//! unavailable, the daemon keeps using the credentials it read last.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use infra_shared::digest::sha256;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::secrets::{Backends, ReadError, ReadReason, Reference};

/// How long cached hashes are used before the backend is read again.
const MAX_AGE: Duration = Duration::from_mins(1);
/// Minimum time between reads, so that guessing does not load the backend.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// Minimum length. Credentials this long cannot be guessed, so attempts need no limit.
const MIN_LENGTH: usize = 24;

pub(super) struct Credentials {
    /// Name of the service, for the log.
    service: String,
    references: Vec<Reference>,
    cache: Mutex<Cache>,
    /// Held by the one request that reads; others wait for its result.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Cache {
    /// The last hash read from each reference.
    hashes: Vec<Option<[u8; 32]>>,
    /// Time of the last read in which at least one reference succeeded.
    read_at: Option<Instant>,
    /// Time and error of the last failed read.
    failed: Option<(Instant, ReadError)>,
}

/// What the cache says about a secret.
enum CacheResult {
    Valid,
    Invalid,
    /// The last read failed less than [`READ_INTERVAL`] ago.
    Unavailable(ReadError),
    /// The backend must be read.
    MustRead,
}

impl Credentials {
    pub(super) fn new(service: &str, references: Vec<Reference>) -> Self {
        Self {
            service: service.to_owned(),
            references,
            cache: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn verify(&self, secret: &[u8], backends: &Backends) -> Result<bool, ReadError> {
        if self.references.is_empty() {
            return Ok(false);
        }
        let hash = sha256(&[secret]);
        if let Some(answer) = self.check_cache(&hash).settled() {
            return answer;
        }
        let _reading = self.reading.lock().await;
        // Another request may have read it meanwhile.
        if let Some(answer) = self.check_cache(&hash).settled() {
            return answer;
        }
        let read = self.read(backends).await;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let failure = cache.update(&self.service, read);
        match (cache.contains(&hash), failure) {
            (false, Some(error)) => Err(error),
            (included, _) => Ok(included),
        }
    }

    /// Whether `secret` matches a recently read credential.
    pub(super) fn verify_cached(&self, secret: &[u8]) -> bool {
        matches!(self.check_cache(&sha256(&[secret])), CacheResult::Valid)
    }

    fn check_cache(&self, hash: &[u8; 32]) -> CacheResult {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let age = cache.read_at.map(|moment| moment.elapsed());
        let failed = cache.failed.as_ref().filter(|(moment, _)| moment.elapsed() < READ_INTERVAL);
        match (cache.contains(hash), failed) {
            (true, Some(_)) => CacheResult::Valid,
            (true, None) if age.is_some_and(|age| age < MAX_AGE) => CacheResult::Valid,
            (false, Some((_, error))) => CacheResult::Unavailable(error.clone()),
            (false, None) if age.is_some_and(|age| age < READ_INTERVAL) => CacheResult::Invalid,
            (_, None) => CacheResult::MustRead,
        }
    }

    /// The hash of each credential, in the order of the references.
    async fn read(&self, backends: &Backends) -> Vec<Result<[u8; 32], ReadError>> {
        let mut hashes = Vec::new();
        for reference in &self.references {
            let secret = read(reference, backends, ReadReason::Service).await;
            hashes.push(secret.map(|secret| sha256(&[secret.expose_secret().as_bytes()])));
        }
        hashes
    }
}

impl CacheResult {
    /// `None` if the backend must be read.
    fn settled(self) -> Option<Result<bool, ReadError>> {
        match self {
            Self::Valid => Some(Ok(true)),
            Self::Invalid => Some(Ok(false)),
            Self::Unavailable(error) => Some(Err(error)),
            Self::MustRead => None,
        }
    }
}

impl Cache {
    /// Stores what was read. A reference that failed keeps the hash that was read last.
    ///
    /// Returns the error if no reference could be read: then a secret that does not match may still be valid.
    fn update(&mut self, service: &str, read: Vec<Result<[u8; 32], ReadError>>) -> Option<ReadError> {
        self.hashes.resize(read.len(), None);
        let (mut succeeded, mut failure) = (false, None);
        for (stored, read) in self.hashes.iter_mut().zip(read) {
            match read {
                Ok(hash) => {
                    *stored = Some(hash);
                    succeeded = true;
                }
                Err(error) => {
                    if stored.is_some() {
                        tracing::warn!(service, %error, "cannot read a service's credential: still using the last value");
                    } else {
                        tracing::warn!(
                            service,
                            %error,
                            "cannot read a service's credential: no value was read before, so the service gets 503"
                        );
                    }
                    failure = Some(error);
                }
            }
        }
        let failure = failure.filter(|_| !succeeded);
        self.failed = failure.clone().map(|error| (Instant::now(), error));
        if succeeded {
            self.read_at = Some(Instant::now());
        }
        failure
    }

    /// Compares all hashes, each in constant time.
    fn contains(&self, hash: &[u8; 32]) -> bool {
        let is_one = self
            .hashes
            .iter()
            .flatten()
            .fold(subtle::Choice::from(0), |found, known| found | known.ct_eq(hash));
        is_one.into()
    }
}

/// Checks that a service's credential can be read and is long enough.
pub async fn check(reference: &Reference, backends: &Backends) -> Result<(), ReadError> {
    read(reference, backends, ReadReason::Check).await.map(drop)
}

async fn read(
    reference: &Reference,
    backends: &Backends,
    reason: ReadReason,
) -> Result<SecretString, ReadError> {
    let secret = backends.read(reference, reason).await?;
    if secret.expose_secret().len() < MIN_LENGTH {
        return Err(ReadError::Malformed(format!(
            "{reference} has fewer than {MIN_LENGTH} characters and could be guessed: create one with `openssl rand \
             -hex 32`"
        )));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_that_fails_keeps_its_last_hash() {
        let unavailable = || Err(ReadError::Malformed("away".to_owned()));
        let mut cache = Cache::default();
        assert!(cache.update("reports", vec![Ok([1; 32]), Ok([2; 32])]).is_none());
        assert!(cache.update("reports", vec![unavailable(), Ok([3; 32])]).is_none());
        assert!(cache.contains(&[1; 32]) && cache.contains(&[3; 32]) && !cache.contains(&[2; 32]));
        assert!(cache.update("reports", vec![unavailable(), unavailable()]).is_some());
        assert!(cache.contains(&[1; 32]) && cache.contains(&[3; 32]));
        assert!(cache.update("reports", vec![Ok([4; 32]), Ok([3; 32])]).is_none());
        assert!(!cache.contains(&[1; 32]) && cache.contains(&[4; 32]));
    }
}
