//! Jobs at providers for sessions, in slots per provider: a stalled provider cannot use another's, and its own shrink
//! to one.

use std::future::Future;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{Sessions, provider_revocation, revalidation};
use crate::store::{LeaseRequest, RefreshTokenRow, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Revalidates live sessions.
    Revalidation,
    /// Revokes the provider's tokens of ended sessions.
    Revocation,
}

impl JobKind {
    pub const ALL: [Self; 2] = [Self::Revalidation, Self::Revocation];

    pub fn name(self) -> &'static str {
        match self {
            Self::Revalidation => "revalidation",
            Self::Revocation => "revocation",
        }
    }

    /// Maximum concurrent jobs per provider.
    fn max_concurrent(self) -> u32 {
        match self {
            Self::Revalidation => 16,
            Self::Revocation => 8,
        }
    }
}

/// The jobs of one kind at one provider.
pub struct ProviderJobs {
    kind: JobKind,
    provider: String,
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

impl Sessions {
    /// Starts due jobs in the free slots and returns their number.
    pub async fn start_due(self: &Arc<Self>, jobs: &mut ProviderJobs) -> Result<usize, StoreError> {
        let limit = jobs.free();
        if limit == 0 {
            return Ok(0);
        }
        let (provider, sealer, now) = (jobs.provider.clone(), self.sealer.clone(), self.clock.now());
        let lease = |lease_duration, max_delay| LeaseRequest {
            provider,
            sealer,
            now,
            lease_duration,
            max_delay,
            limit,
        };
        match jobs.kind {
            JobKind::Revalidation => {
                let Some(every) = self.limits.revalidate_every else { return Ok(0) };
                let lease = lease(revalidation::LEASE, every.max(revalidation::FIRST_PAUSE));
                let due = self.store.lease_due_refresh_tokens(lease).await?;
                Ok(jobs.spawn_each(due, |row| {
                    let sessions = self.clone();
                    async move { sessions.revalidate(row, every).await }
                }))
            }
            JobKind::Revocation => {
                let lease = lease(provider_revocation::LEASE, provider_revocation::PAUSE);
                let due = self.store.lease_refresh_tokens_to_revoke(lease).await?;
                Ok(jobs.spawn_each(due, |row| {
                    let sessions = self.clone();
                    async move { sessions.revoke_provider_token(&row).await }
                }))
            }
        }
    }
}

impl ProviderJobs {
    pub fn new(kind: JobKind, provider: &str) -> Self {
        Self { kind, provider: provider.to_owned(), running: JoinSet::new(), without_response: 0 }
    }

    /// Number of free slots. Each attempt without a response halves the total, down to one slot that detects when the
    /// provider is back.
    fn free(&self) -> u32 {
        let jobs = self.kind.max_concurrent().checked_shr(self.without_response).unwrap_or_default().max(1);
        jobs.saturating_sub(u32::try_from(self.running.len()).unwrap_or(u32::MAX))
    }

    /// Starts a job for each row and returns their number.
    fn spawn_each<J>(&mut self, rows: Vec<RefreshTokenRow>, job: impl Fn(RefreshTokenRow) -> J) -> usize
    where
        J: Future<Output = Result<JobOutcome, StoreError>> + Send + 'static,
    {
        let count = rows.len();
        for row in rows {
            self.running.spawn(job(row));
        }
        count
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
        let mut jobs = ProviderJobs::new(JobKind::Revalidation, "okta");
        let mut free = Vec::new();
        for outcome in
            [JobOutcome::NoResponse; 6].into_iter().chain([JobOutcome::NotSent, JobOutcome::Responded])
        {
            jobs.running.spawn(async move { Ok(outcome) });
            assert!(jobs.wait_for_one().await);
            free.push(jobs.free());
        }
        assert_eq!(free, [8, 4, 2, 1, 1, 1, 1, 16]);
        assert!(!jobs.wait_for_one().await);
        for _ in 0..16 {
            jobs.running.spawn(std::future::pending());
        }
        assert_eq!(jobs.free(), 0);
    }
}
