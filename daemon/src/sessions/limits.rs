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

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            lifetime: SignedDuration::from_hours(12),
            inactivity_timeout: SignedDuration::from_hours(4),
            max_per_user: 48,
            record_addresses: false,
            revalidate_every: None,
        }
    }
}
