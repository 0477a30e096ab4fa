//! Who may see and end the sessions of others.

use super::Caller;
use crate::identity::Email;

/// Administrators, by provider: whoever one of the lists names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admins(pub Vec<AdminsOfProvider>);

/// The administrators among the users of one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminsOfProvider {
    /// The name of the provider: the same group or e-mail at another one is somebody else's.
    pub provider: String,
    pub groups: Vec<String>,
    /// They count only where the provider vouches for them.
    pub emails: Vec<String>,
}

impl Admins {
    pub(super) fn include(&self, caller: &Caller) -> bool {
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
