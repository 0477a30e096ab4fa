//! Rules that select users by provider: administrators, and the users that a service admits.

use super::Caller;
use crate::identity::Allow;

/// A rule for the users of one provider. The same group or e-mail at another provider does not match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRule {
    pub provider: String,
    pub allow: Allow,
}

impl ProviderRule {
    pub fn admits(&self, caller: &Caller) -> bool {
        let user = caller.user();
        self.provider == user.provider && self.allow.admits(&user.groups, caller.verified_email())
    }
}
