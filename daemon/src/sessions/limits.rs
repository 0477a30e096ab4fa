//! How long sessions last, and how many a user may have.

use jiff::SignedDuration;

/// The limits of every session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLimits {
    pub lifetime: SignedDuration,
    pub inactivity_timeout: SignedDuration,
    pub max_per_user: u32,
    /// Whether it is recorded where logins come from.
    pub record_addresses: bool,
    /// How often the provider is asked again about a session; `None`: never.
    pub revalidate_every: Option<SignedDuration>,
}
