//! Which users a service admits.

use crate::identity::Allow;
use crate::sessions::Caller;

/// Rules by provider. A user needs a match in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedUsers {
    /// Every user who may sign in.
    Everyone,
    /// Provider names and rules for their users. The same group or e-mail at another provider does not match.
    Listed(Vec<(String, Allow)>),
}

impl AllowedUsers {
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        let user = caller.user();
        match self {
            Self::Everyone => true,
            Self::Listed(rules) => rules.iter().any(|(provider, allow)| {
                *provider == user.provider && allow.admits(&user.groups, caller.verified_email())
            }),
        }
    }

    /// Names of the providers in `all` whose users may be admitted, without duplicates.
    pub fn providers<'a>(&'a self, all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut names: Vec<&str> = match self {
            Self::Everyone => all.collect(),
            Self::Listed(rules) => rules.iter().map(|(provider, _)| provider.as_str()).collect(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }
}
