//! Administrators: users who may see and revoke the sessions of other users.

use super::Caller;
use crate::identity::Email;

/// Administrators by provider. A user needs a match in one of the lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admins(pub Vec<AdminsOfProvider>);

/// Administrators among the users of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminsOfProvider {
    /// Name of the provider. The same group or e-mail at another provider does not match.
    pub provider: String,
    pub groups: Vec<String>,
    /// Only e-mail addresses that the provider has verified match.
    pub emails: Vec<String>,
}

impl Admins {
    pub(super) fn contains(&self, caller: &Caller) -> bool {
        let user = caller.user();
        self.0.iter().filter(|admins| admins.provider == user.provider).any(|admins| {
            let by_group = user.groups.iter().any(|group| admins.groups.contains(group));
            let by_email = caller
                .verified_email()
                .and_then(Email::parse)
                .is_some_and(|email| admins.emails.iter().any(|listed| email.is(listed)));
            by_group || by_email
        })
    }
}
