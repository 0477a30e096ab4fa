//! Leases of jobs that one member does at a time.

use super::Postgres;
use super::statements::parameters;
use crate::store::StoreError;
use crate::store::leases::Fence;

/// Only the clock of the database decides. A new holder gets a higher fence.
const TAKE: &str = "INSERT INTO leases AS l (name, holder, fence, until) VALUES ($1, $2, 1, now() + interval '15 s') \
    ON CONFLICT (name) DO UPDATE SET holder = $2, fence = l.fence + (l.holder <> $2)::int, \
    until = now() + interval '15 s' WHERE l.until < now() OR l.holder = $2 RETURNING fence";

impl Postgres {
    pub(in crate::store) async fn take_lease(&self, name: &str) -> Result<Option<Fence>, StoreError> {
        let rows = self.write_returning(TAKE, parameters![name, self.member.as_str()]).await?;
        rows.first().map(|row| Ok(Fence(row.try_get("fence")?))).transpose()
    }
}
