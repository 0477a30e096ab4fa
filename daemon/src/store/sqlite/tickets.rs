//! Used login tickets.

use jiff::Timestamp;
use rusqlite::params;

use super::Sqlite;
use crate::store::{StoreError, TicketState, time};

impl Sqlite {
    pub(in crate::store) async fn consume_ticket(
        &self,
        id: [u8; 16],
        expires_at: Timestamp,
    ) -> Result<TicketState, StoreError> {
        self.write_guarded(move |transaction, change| {
            let inserted = transaction
                .prepare_cached(
                    "INSERT INTO consumed_tickets (id, expires_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute(params![id, time::to_database(expires_at)])?;
            if inserted == 0 {
                return Ok(TicketState::AlreadyUsed);
            }
            change.use_ticket(id)?;
            Ok(TicketState::Unused)
        })
        .await
    }
}
