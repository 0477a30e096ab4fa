//! Leases of jobs that one member does at a time.

use tokio_postgres::Transaction;

use super::Postgres;
use super::statements::parameters;
use crate::store::StoreError;
use crate::store::leases::{Job, Lease};

/// Only the clock of the database decides. A new holder gets a higher fence. An ended lease has no holder, so the next one
/// gets a higher fence too, even if it is the same member. A lease that no member can have taken is free.
const TAKE: &str = "INSERT INTO leases AS l (name, holder, fence, until) VALUES ($1, $2, 1, now() + interval '15 s') \
    ON CONFLICT (name) DO UPDATE SET holder = $2, until = now() + interval '15 s', fence = \
    CASE WHEN l.fence BETWEEN 0 AND 1000000000000000000 THEN l.fence + (l.holder <> $2)::int ELSE 0 END \
    WHERE l.until < now() OR l.until > now() + interval '1 min' OR l.holder = $2 RETURNING fence";

/// Renews a lease that is over too, if no other member has taken it since.
const RENEW: &str =
    "UPDATE leases SET until = now() + interval '15 s' WHERE name = $1 AND holder = $2 AND fence = $3";

const END: &str =
    "UPDATE leases SET holder = '', until = '-infinity' WHERE name = $1 AND holder = $2 AND fence = $3";

/// Locks the row, so that no member takes the lease before the transaction ends.
const HELD: &str =
    "SELECT FROM leases WHERE name = $1 AND holder = $2 AND fence = $3 AND until > now() FOR SHARE";

impl Postgres {
    pub(in crate::store) async fn take_lease(&self, job: Job) -> Result<Option<Lease>, StoreError> {
        let rows = self.write_returning(TAKE, parameters![job.as_str(), self.member.as_str()]).await?;
        rows.first().map(|row| Ok(Lease { job, fence: row.try_get("fence")? })).transpose()
    }

    pub(in crate::store) async fn renew_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        let (job, member) = (lease.job.as_str(), self.member.as_str());
        Ok(self.write(RENEW, parameters![job, member, lease.fence]).await? == 1)
    }

    pub(in crate::store) async fn end_lease(&self, lease: &Lease) -> Result<(), StoreError> {
        let (job, member) = (lease.job.as_str(), self.member.as_str());
        self.write(END, parameters![job, member, lease.fence]).await.map(|_| ())
    }

    pub(in crate::store) async fn end_job_leases(&self) -> Result<(), StoreError> {
        let end = "UPDATE leases SET holder = '', until = '-infinity' WHERE holder = $1";
        self.write(end, parameters![self.member.as_str()]).await.map(|_| ())
    }

    /// Fails unless this member holds the lease until the transaction ends. Call it first in every transaction of the job.
    pub(super) async fn expect_held(
        &self,
        transaction: &Transaction<'_>,
        lease: &Lease,
    ) -> Result<(), StoreError> {
        let (job, member) = (lease.job.as_str(), self.member.as_str());
        match transaction.query_typed_opt(HELD, parameters![job, member, lease.fence]).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::Leased(lease.job.as_str())),
        }
    }
}
