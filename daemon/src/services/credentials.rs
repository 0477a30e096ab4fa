//! How a service proves itself: by a secret that lies in a backend, and is not kept here.
//!
//! Of what was read only the SHA-256 is remembered, for a minute. What does not fit is compared with what the backend holds
//! then, so that a credential can be replaced without a restart. While the backend is away, what was read last counts.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use infra_shared::digest::sha256;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use crate::secrets::{Backends, ReadError, ReadReason, Reference};

/// After this time it is read anew.
const FRESH: Duration = Duration::from_mins(1);
/// Whoever guesses has the backend asked no more often.
const PAUSE: Duration = Duration::from_secs(5);
/// Nobody can try so many: a credential of this length needs no limit on attempts.
const SHORTEST: usize = 24;

pub(super) struct Credentials {
    references: Vec<Reference>,
    known: Mutex<Known>,
    /// One reads, the others wait for it.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    hashes: Vec<[u8; 32]>,
    /// When they were read.
    read_at: Option<Instant>,
    /// When reading failed last, and why.
    failed: Option<(Instant, ReadError)>,
}

/// What is known of a secret without the backend.
enum Answer {
    Is,
    IsNot,
    /// The backend was away a moment ago.
    Away(ReadError),
    /// Only the backend can tell.
    Ask,
}

impl Credentials {
    pub(super) fn new(references: Vec<Reference>) -> Self {
        Self { references, known: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    pub(super) async fn include(&self, secret: &[u8], backends: &Backends) -> Result<bool, ReadError> {
        if self.references.is_empty() {
            return Ok(false);
        }
        let hash = sha256(&[secret]);
        if let Some(answer) = self.ask_known(&hash).settled() {
            return answer;
        }
        let _turn = self.reading.lock().await;
        // Somebody else may have read it meanwhile.
        if let Some(answer) = self.ask_known(&hash).settled() {
            return answer;
        }
        let read = self.read(backends).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(hashes) => *known = Known { hashes, read_at: Some(Instant::now()), failed: None },
            Err(error) => {
                tracing::warn!(%error, "a service's credential cannot be read: what was read last counts");
                known.failed = Some((Instant::now(), error.clone()));
                if !known.include(&hash) {
                    return Err(error);
                }
            }
        }
        Ok(known.include(&hash))
    }

    /// Whether `secret` is one of those that were read a moment ago.
    pub(super) fn are_known_to_include(&self, secret: &[u8]) -> bool {
        matches!(self.ask_known(&sha256(&[secret])), Answer::Is)
    }

    fn ask_known(&self, hash: &[u8; 32]) -> Answer {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let age = known.read_at.map(|moment| moment.elapsed());
        let failed = known.failed.as_ref().filter(|(moment, _)| moment.elapsed() < PAUSE);
        match (known.include(hash), failed) {
            (true, Some(_)) => Answer::Is,
            (true, None) if age.is_some_and(|age| age < FRESH) => Answer::Is,
            (false, Some((_, error))) => Answer::Away(error.clone()),
            (false, None) if age.is_some_and(|age| age < PAUSE) => Answer::IsNot,
            (_, None) => Answer::Ask,
        }
    }

    async fn read(&self, backends: &Backends) -> Result<Vec<[u8; 32]>, ReadError> {
        let mut hashes = Vec::new();
        let mut failed = None;
        for reference in &self.references {
            // One that is gone does not take the others along.
            match read(reference, backends, ReadReason::Service).await {
                Ok(secret) => hashes.push(sha256(&[secret.expose_secret().as_bytes()])),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if hashes.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "one of a service's credentials cannot be read");
                Ok(hashes)
            }
            None => Ok(hashes),
        }
    }
}

impl Answer {
    /// `None` where the backend has to be asked.
    fn settled(self) -> Option<Result<bool, ReadError>> {
        match self {
            Self::Is => Some(Ok(true)),
            Self::IsNot => Some(Ok(false)),
            Self::Away(error) => Some(Err(error)),
            Self::Ask => None,
        }
    }
}

impl Known {
    /// All are looked at, each in constant time.
    fn include(&self, hash: &[u8; 32]) -> bool {
        let is_one =
            self.hashes.iter().fold(subtle::Choice::from(0), |found, known| found | known.ct_eq(hash));
        is_one.into()
    }
}

/// Tries whether a service's credential can be read, and used.
pub async fn check(reference: &Reference, backends: &Backends) -> Result<(), ReadError> {
    read(reference, backends, ReadReason::Check).await.map(drop)
}

async fn read(
    reference: &Reference,
    backends: &Backends,
    reason: ReadReason,
) -> Result<SecretString, ReadError> {
    let secret = backends.read(reference, reason).await?;
    if secret.expose_secret().len() < SHORTEST {
        return Err(ReadError::Malformed(format!(
            "{reference} has fewer than {SHORTEST} characters, and could be guessed; `openssl rand -hex 32` makes a good one"
        )));
    }
    Ok(secret)
}
