//! Which users a service admits.

use crate::sessions::{Caller, ProviderRule};

/// Rules by provider. A user needs a match in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedUsers {
    /// Every user who may sign in.
    Everyone,
    Listed(Vec<ProviderRule>),
}

impl AllowedUsers {
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        match self {
            Self::Everyone => true,
            Self::Listed(rules) => rules.iter().any(|rule| rule.admits(caller)),
        }
    }

    /// Names of the providers in `all` whose users may be admitted, without duplicates.
    pub fn providers<'a>(&'a self, all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let mut names: Vec<&str> = match self {
            Self::Everyone => all.collect(),
            Self::Listed(rules) => rules.iter().map(|rule| rule.provider.as_str()).collect(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }
}
