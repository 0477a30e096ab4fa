//! Whom a service admits.

use crate::identity::Allow;
use crate::sessions::Caller;

/// Who is admitted, by provider: whoever one of the rules names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedUsers {
    /// Whoever may sign in.
    Everyone,
    /// The name of a provider, and who of its users: the same group or e-mail at another one is somebody else's.
    Listed(Vec<(String, Allow)>),
}

impl AllowedUsers {
    pub(super) fn admit(&self, caller: &Caller) -> bool {
        let user = caller.user();
        match self {
            Self::Everyone => true,
            Self::Listed(rules) => rules.iter().any(|(provider, allow)| {
                *provider == user.provider && allow.admits(&user.groups, caller.verified_email())
            }),
        }
    }

    /// Those of `all` providers whose users may be admitted, each once.
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
