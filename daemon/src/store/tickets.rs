//! Used login tickets.

use jiff::Timestamp;

use super::engine::await_engine;
use super::{Store, StoreError};

/// Whether a ticket was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    Unused,
    AlreadyUsed,
}

impl Store {
    /// Records that the ticket `id` was used; durable when it returns. The row stays until `expires_at`, measured by
    /// the latest time seen, so that setting the clock back revives no ticket.
    pub async fn consume_ticket(
        &self,
        id: [u8; 16],
        expires_at: Timestamp,
    ) -> Result<TicketState, StoreError> {
        await_engine!(self, engine => engine.consume_ticket(id, expires_at))
    }
}
