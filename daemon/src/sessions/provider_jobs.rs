//! Per-provider concurrency slots: a stalled provider cannot use another's, and its own shrink to one.

use std::future::Future;

use tokio::task::JoinSet;

use crate::store::StoreError;

pub struct ProviderJobs {
    provider: String,
    max: u32,
    running: JoinSet<Result<JobOutcome, StoreError>>,
    /// Number of consecutive attempts without a response.
    without_response: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobOutcome {
    Responded,
    NoResponse,
    /// No request was sent.
    NotSent,
}

impl ProviderJobs {
    pub(super) fn new(provider: &str, max: u32) -> Self {
        Self { provider: provider.to_owned(), max, running: JoinSet::new(), without_response: 0 }
    }

    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Number of free slots. Each attempt without a response halves the total, down to one slot that detects when the
    /// provider is back.
    pub(super) fn free(&self) -> u32 {
        let jobs = self.max.checked_shr(self.without_response).unwrap_or_default().max(1);
        jobs.saturating_sub(u32::try_from(self.running.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn spawn(
        &mut self,
        job: impl Future<Output = Result<JobOutcome, StoreError>> + Send + 'static,
    ) {
        self.running.spawn(job);
    }

    /// Waits until one attempt finishes. Returns `false` if none is running.
    pub async fn wait_for_one(&mut self) -> bool {
        let Some(finished) = self.running.join_next().await else { return false };
        match finished {
            Ok(Ok(JobOutcome::Responded)) => self.without_response = 0,
            Ok(Ok(JobOutcome::NoResponse)) => self.without_response = self.without_response.saturating_add(1),
            Ok(Ok(JobOutcome::NotSent)) | Err(_) => {}
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
        let mut jobs = ProviderJobs::new("okta", 16);
        let mut free = Vec::new();
        for outcome in
            [JobOutcome::NoResponse; 6].into_iter().chain([JobOutcome::NotSent, JobOutcome::Responded])
        {
            jobs.spawn(async move { Ok(outcome) });
            assert!(jobs.wait_for_one().await);
            free.push(jobs.free());
        }
        assert_eq!(free, [8, 4, 2, 1, 1, 1, 1, 16]);
        assert!(!jobs.wait_for_one().await);
        for _ in 0..16 {
            jobs.spawn(std::future::pending());
        }
        assert_eq!(jobs.free(), 0);
    }
}
