//! Used login tickets.

use jiff::Timestamp;
use rusqlite::params;

use crate::store::{Store, StoreError, TicketState, time};

impl Store {
    /// Records that the ticket `id` was used; durable when it returns. The row stays until `expires_at`, measured by
    /// the latest time seen, so that setting the clock back revives no ticket.
    pub async fn consume_ticket(
        &self,
        id: [u8; 16],
        expires_at: Timestamp,
    ) -> Result<TicketState, StoreError> {
        self.write_guarded(
            move |transaction, change| {
                let inserted = transaction
                    .prepare_cached("INSERT INTO consumed_tickets (id, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                    .execute(params![id, time::to_database(expires_at)])?;
                if inserted == 0 {
                    return Ok(TicketState::AlreadyUsed);
                }
                change.use_ticket(id)?;
                Ok(TicketState::Unused)
            },
            |_| (),
        )
        .await
    }
}
