//! The provider rows, as configured at the last start of each daemon.

use super::engine::await_engine;
use super::{Store, StoreError};
use crate::keys::Sealed;

#[derive(Clone)]
pub struct ProviderRow {
    pub name: String,
    pub issuer: String,
    /// The sign-in policy as text. Equal policies have equal texts.
    pub allow_policy: String,
    /// The secret itself for `plaintext`, only its reference for every other kind.
    pub client_secret_reference: Sealed,
}

/// What the stored providers mean for sessions, compared with those that a daemon lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderComparison {
    pub change: ProviderChange,
    /// Stopped members whose rows decide nothing any more.
    pub(super) settled: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderChange {
    /// All stored providers are listed, with the same issuer and policy.
    None,
    /// No running daemon lists one of them: its sessions end.
    Left,
    /// Another running member lists one of them, so its sessions stay until that member stops.
    ListedByOther,
}

/// What of a stored row decides about sessions.
pub(super) struct StoredProvider {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) allow_policy: String,
    pub(super) member: StoredBy,
}

/// Which daemon stored a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoredBy {
    /// The one that compares, now or at its last start.
    This,
    OtherRunning,
    Stopped(String),
}

/// Compares what a daemon lists with the stored rows.
pub(super) fn compare(rows: &[ProviderRow], stored: &[StoredProvider]) -> ProviderComparison {
    let is_missing = |stored: &StoredProvider| {
        !rows.iter().any(|row| {
            row.name == stored.name && row.issuer == stored.issuer && row.allow_policy == stored.allow_policy
        })
    };
    let is_of_other = |stored: &&StoredProvider| stored.member == StoredBy::OtherRunning;
    if stored.iter().filter(is_of_other).any(is_missing) {
        return ProviderComparison { change: ProviderChange::ListedByOther, settled: Vec::new() };
    }
    let change = if stored.iter().any(is_missing) { ProviderChange::Left } else { ProviderChange::None };
    let stopped = stored.iter().filter_map(|stored| match &stored.member {
        StoredBy::Stopped(member) => Some(member.clone()),
        _ => None,
    });
    ProviderComparison { change, settled: stopped.collect() }
}

impl ProviderComparison {
    /// Whether rows can be removed.
    pub fn settles_any(&self) -> bool {
        !self.settled.is_empty()
    }
}

impl Store {
    /// Compares `rows` with the stored providers: those of the last start, or of all members.
    pub async fn compare_providers(&self, rows: &[ProviderRow]) -> Result<ProviderComparison, StoreError> {
        await_engine!(self, engine => engine.compare_providers(rows))
    }

    /// Stores the providers of this daemon. Removes the rows that `compared` settles: call it once their sessions have
    /// ended.
    pub async fn replace_providers(
        &self,
        rows: Vec<ProviderRow>,
        compared: &ProviderComparison,
    ) -> Result<(), StoreError> {
        await_engine!(self, engine => engine.replace_providers(rows, compared))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Sealed;

    fn stored(name: &str, member: StoredBy) -> StoredProvider {
        let (issuer, allow_policy) = ("https://okta.test".to_owned(), "everyone".to_owned());
        StoredProvider { name: name.to_owned(), issuer, allow_policy, member }
    }

    fn row(name: &str) -> ProviderRow {
        ProviderRow {
            name: name.to_owned(),
            issuer: "https://okta.test".to_owned(),
            allow_policy: "everyone".to_owned(),
            client_secret_reference: Sealed::from_store(Vec::new()),
        }
    }

    #[test]
    fn provider_leaves_once_no_running_member_lists_it() {
        let stopped = || StoredBy::Stopped("member".to_owned());
        let (listed, old) = ([row("new")], "old");
        for (members, change, settles) in [
            (vec![(old, StoredBy::This)], ProviderChange::Left, false),
            (vec![(old, stopped())], ProviderChange::Left, true),
            (vec![("new", StoredBy::OtherRunning), (old, stopped())], ProviderChange::Left, true),
            (vec![(old, StoredBy::OtherRunning)], ProviderChange::ListedByOther, false),
            (vec![(old, StoredBy::OtherRunning), (old, stopped())], ProviderChange::ListedByOther, false),
            (vec![("new", StoredBy::OtherRunning), ("new", stopped())], ProviderChange::None, true),
            (Vec::new(), ProviderChange::None, false),
        ] {
            let rows: Vec<_> = members.into_iter().map(|(name, member)| stored(name, member)).collect();
            let compared = compare(&listed, &rows);
            assert_eq!((compared.change, compared.settles_any()), (change, settles));
        }
    }
}
