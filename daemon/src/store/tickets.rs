//! Used login tickets.

/// Whether a ticket was used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketState {
    Unused,
    AlreadyUsed,
}
