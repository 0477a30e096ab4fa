//! Answers to challenges that every member can give, because the authority may connect to any of them.
//!
//! A member looks up an answer only for its own names, one look-up at a time for each, and remembers the outcome for a
//! second: handshakes of strangers cause few look-ups.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::Clock;
use jiff::SignedDuration;
use rustls::sign::CertifiedKey;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::TlsError;
use super::acme::Answer;
use super::issue::normal;
use super::resolver::Protocol;
use crate::store::{Lease, Store};

/// How long the outcome of a look-up counts, from its begin.
const REMEMBERED: Duration = Duration::from_secs(1);
const LOOK_UP: Duration = Duration::from_secs(3);
/// Longer than an order takes, by the clocks of members that differ by some minutes.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);

pub(super) struct SharedChallenges {
    store: Store,
    clock: Arc<dyn Clock>,
    remember_for: Duration,
    remembered: HashMap<(Protocol, String), Mutex<Option<Remembered>>>,
}

struct Remembered {
    begun: Instant,
    answer: Option<Arc<CertifiedKey>>,
}

impl SharedChallenges {
    /// Answers for `names` only.
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>, names: &[String]) -> Self {
        let keys = names.iter().flat_map(|name| Protocol::ALL.map(|protocol| (protocol, normal(name))));
        let remembered = keys.map(|key| (key, Mutex::default())).collect();
        Self { store, clock, remember_for: REMEMBERED, remembered }
    }

    #[cfg(test)]
    pub(super) fn remembering_for(self, remember_for: Duration) -> Self {
        Self { remember_for, ..self }
    }

    /// Stores the answer, and waits until no member remembers that there was none.
    pub(super) async fn publish(
        &self,
        protocol: Protocol,
        name: &str,
        answer: &Answer,
        lease: &Lease,
    ) -> Result<(), TlsError> {
        let expires_at = self.clock.now().checked_add(LIFETIME).unwrap_or(jiff::Timestamp::MAX);
        self.store.save_challenge(row(protocol, name), answer.to_bytes(), expires_at, lease).await?;
        sleep(self.remember_for).await;
        Ok(())
    }

    pub(super) async fn find(&self, protocol: Protocol, name: &str) -> Option<Arc<CertifiedKey>> {
        let mut remembered = self.remembered.get(&(protocol, normal(name)))?.lock().await;
        let recent = remembered.as_ref().filter(|remembered| remembered.begun.elapsed() < self.remember_for);
        if let Some(Remembered { answer, .. }) = recent {
            return answer.clone();
        }
        let begun = Instant::now();
        let answer = timeout(LOOK_UP, self.look_up(protocol, name)).await.ok().flatten();
        *remembered = Some(Remembered { begun, answer: answer.clone() });
        answer
    }

    async fn look_up(&self, protocol: Protocol, name: &str) -> Option<Arc<CertifiedKey>> {
        match self.store.find_challenge(&row(protocol, name), self.clock.now()).await {
            Ok(stored) => Answer::from_bytes(&stored?)?.certified().ok(),
            Err(error) => {
                tracing::debug!(%error, "cannot look up the answer to a challenge");
                None
            }
        }
    }
}

fn row(protocol: Protocol, name: &str) -> String {
    format!("{} {}", String::from_utf8_lossy(protocol.name()), normal(name))
}
