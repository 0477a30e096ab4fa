//! Per-provider concurrency slots: a stalled provider cannot use another's, and its own shrink to one.

use std::future::Future;

use tokio::task::JoinSet;

use crate::store::StoreError;

pub struct ProviderSlots {
    provider: String,
    max: u32,
    attempts: JoinSet<Result<AttemptOutcome, StoreError>>,
    /// Number of consecutive attempts without a response.
    unanswered: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    Answered,
    Unanswered,
    /// No request was sent.
    NotSent,
}

impl ProviderSlots {
    pub(super) fn new(provider: &str, max: u32) -> Self {
        Self { provider: provider.to_owned(), max, attempts: JoinSet::new(), unanswered: 0 }
    }

    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Number of free slots. Each attempt without a response halves the total, down to one slot that detects when the
    /// provider is back.
    pub(super) fn free(&self) -> u32 {
        let slots = self.max.checked_shr(self.unanswered).unwrap_or_default().max(1);
        slots.saturating_sub(u32::try_from(self.attempts.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn spawn(
        &mut self,
        attempt: impl Future<Output = Result<AttemptOutcome, StoreError>> + Send + 'static,
    ) {
        self.attempts.spawn(attempt);
    }

    /// Waits until one attempt finishes. Returns `false` if none is running.
    pub async fn wait_for_one(&mut self) -> bool {
        let Some(finished) = self.attempts.join_next().await else { return false };
        match finished {
            Ok(Ok(AttemptOutcome::Answered)) => self.unanswered = 0,
            Ok(Ok(AttemptOutcome::Unanswered)) => self.unanswered = self.unanswered.saturating_add(1),
            Ok(Ok(AttemptOutcome::NotSent)) | Err(_) => {}
            Ok(Err(error)) => {
                tracing::error!(
                    provider = self.provider,
                    %error,
                    "cannot store a provider's response about a session"
                );
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
        let mut slots = ProviderSlots::new("okta", 16);
        let mut free = Vec::new();
        for outcome in [AttemptOutcome::Unanswered; 6]
            .into_iter()
            .chain([AttemptOutcome::NotSent, AttemptOutcome::Answered])
        {
            slots.spawn(async move { Ok(outcome) });
            assert!(slots.wait_for_one().await);
            free.push(slots.free());
        }
        assert_eq!(free, [8, 4, 2, 1, 1, 1, 1, 16]);
        assert!(!slots.wait_for_one().await);
        for _ in 0..16 {
            slots.spawn(std::future::pending());
        }
        assert_eq!(slots.free(), 0);
    }
}
