//! Leases of jobs that one member does at a time.
//!
//! The clock of the database alone decides. A lease has a fence, a number that grows whenever a member takes the lease from
//! another. Every write of a job checks the fence in its own transaction, so a member that was paused for longer than its
//! lease writes nothing.

use std::future::Future;
use std::time::Duration;

use super::engine::await_engine;
use super::{Store, StoreError};

/// The pause between renewals. A lease lasts three times as long.
const RENEWAL: Duration = Duration::from_secs(5);

/// A job that one member does at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Orders certificates by ACME.
    Acme,
    /// Creates, announces and replaces the daemon's CA.
    Authority,
    /// Rotates or rewraps the data key.
    KeyRotation,
    /// Deletes expired rows.
    Purge,
    /// Creates and rotates the keys that sign audience tokens.
    TokenKeys,
}

/// The right to do a job, until another member takes it over. Only [`Store::take_lease`] creates one.
#[derive(Debug)]
pub struct Lease {
    pub(super) job: Job,
    pub(super) fence: i64,
}

impl Job {
    /// The stable name in the database.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Acme => "acme",
            Self::Authority => "authority",
            Self::KeyRotation => "key rotation",
            Self::Purge => "purge",
            Self::TokenKeys => "token keys",
        }
    }
}

impl Store {
    /// Takes the lease of `job` for 15 seconds. `None` means that another member holds it.
    ///
    /// Tasks of this member share its lease, and the first to end it ends it for all. They exclude each other with a lock.
    pub async fn take_lease(&self, job: Job) -> Result<Option<Lease>, StoreError> {
        await_engine!(self, engine => engine.take_lease(job))
    }

    /// Takes the lease of `job`, or fails because another member holds it.
    pub async fn expect_lease(&self, job: Job) -> Result<Lease, StoreError> {
        self.take_lease(job).await?.ok_or(StoreError::Leased(job.as_str()))
    }

    /// Runs `work` and renews the lease meanwhile. Drops `work` and fails once another member has the lease.
    pub async fn while_held<T, E: From<StoreError>>(
        &self,
        lease: &Lease,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        // Boxed, so that the futures of the callers stay small.
        let work = Box::pin(work);
        tokio::select! {
            biased;
            done = work => done,
            () = self.renew_until_lost(lease) => Err(StoreError::Leased(lease.job.as_str()).into()),
        }
    }

    async fn renew_until_lost(&self, lease: &Lease) {
        loop {
            // While the database is away, no other member takes the lease either.
            if matches!(await_engine!(self, engine => engine.renew_lease(lease)), Ok(false)) {
                return;
            }
            tokio::time::sleep(RENEWAL).await;
        }
    }

    /// Lets another member take the lease at once. If that fails, the lease ends with its time.
    pub async fn end_lease(&self, lease: Lease) {
        if let Err(error) = await_engine!(self, engine => engine.end_lease(&lease)) {
            tracing::debug!(job = lease.job.as_str(), %error, "cannot end a lease");
        }
    }

    /// Ends the leases of all jobs that were cancelled, when this member stops.
    pub async fn end_job_leases(&self) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.end_job_leases())
    }
}
