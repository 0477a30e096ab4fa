//! Lifetime and number of sessions.

use jiff::SignedDuration;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    pub lifetime: SignedDuration,
    pub inactivity_timeout: SignedDuration,
    pub max_per_user: u32,
    /// Whether to record the client address of logins.
    pub record_addresses: bool,
    /// How often to revalidate a session with its provider. `None` means never.
    pub revalidate_every: Option<SignedDuration>,
}
