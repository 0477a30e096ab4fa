//! The daemons that share a store.

use std::fmt;

use infra_shared::random;

/// The id of one run of a daemon, chosen at random at its start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberID(String);

impl MemberID {
    pub fn random() -> Self {
        Self(random::alphanumeric(16))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberID {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
