//! Used login tickets.

use jiff::Timestamp;

use super::Postgres;
use super::statements::parameters;
use crate::store::{StoreError, TicketState, time};

impl Postgres {
    pub(in crate::store) async fn consume_ticket(
        &self,
        id: [u8; 16],
        expires_at: Timestamp,
    ) -> Result<TicketState, StoreError> {
        let insert = "INSERT INTO consumed_tickets (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let expires_at = time::to_database(expires_at);
        let inserted = self.write(insert, parameters![id.as_slice(), expires_at]).await?;
        // Read after the insert: a purge records the latest time before it deletes a ticket. Every member's time counts.
        if inserted == 0 || self.read_latest().await? >= expires_at {
            return Ok(TicketState::AlreadyUsed);
        }
        Ok(TicketState::Unused)
    }
}
