//! Per-provider concurrency slots: a stalled provider cannot use another's, and its own shrink to one.

use std::future::Future;

use tokio::task::JoinSet;

use crate::store::StoreError;

/// The slots of one provider.
pub struct Places {
    provider: String,
    most: u32,
    under_way: JoinSet<Result<Came, StoreError>>,
    /// Number of consecutive attempts without a response.
    silent: u32,
}

/// Outcome of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    Answer,
    NoAnswer,
    /// No request was sent.
    NotAsked,
}

impl Places {
    pub(super) fn new(provider: &str, most: u32) -> Self {
        Self { provider: provider.to_owned(), most, under_way: JoinSet::new(), silent: 0 }
    }

    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Number of free slots. Each attempt without a response halves the total, down to one slot that detects when the
    /// provider is back.
    pub(super) fn free(&self) -> u32 {
        let places = self.most.checked_shr(self.silent).unwrap_or_default().max(1);
        places.saturating_sub(u32::try_from(self.under_way.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn begin(&mut self, one: impl Future<Output = Result<Came, StoreError>> + Send + 'static) {
        self.under_way.spawn(one);
    }

    /// Waits until one attempt finishes. Returns `false` if none is running.
    pub async fn one_is_done(&mut self) -> bool {
        let Some(done) = self.under_way.join_next().await else { return false };
        match done {
            Ok(Ok(Came::Answer)) => self.silent = 0,
            Ok(Ok(Came::NoAnswer)) => self.silent = self.silent.saturating_add(1),
            Ok(Ok(Came::NotAsked)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::error!(provider = self.provider, %error, "what a provider answered about a session cannot be stored");
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn silent_provider_shrinks_to_one_slot_until_it_responds() {
        let mut places = Places::new("okta", 16);
        let mut free = Vec::new();
        for came in [Came::NoAnswer; 6].into_iter().chain([Came::NotAsked, Came::Answer]) {
            places.begin(async move { Ok(came) });
            assert!(places.one_is_done().await);
            free.push(places.free());
        }
        assert_eq!(free, [8, 4, 2, 1, 1, 1, 1, 16]);
        assert!(!places.one_is_done().await);
        for _ in 0..16 {
            places.begin(std::future::pending());
        }
        assert_eq!(places.free(), 0);
    }
}
