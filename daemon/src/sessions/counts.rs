//! How logins and sessions ended, counted by few words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts since the start. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Counts(Arc<Mutex<SessionCounts>>);

/// How often logins and sessions ended in which way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// By the provider's name, empty where it is not known, and by `finished` or the reason of the refusal.
    pub logins: BTreeMap<(String, &'static str), u64>,
    /// By the reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// How often providers were asked again, by name and by what came of it.
    pub revalidations: BTreeMap<(String, &'static str), u64>,
}

impl Counts {
    /// `provider` is the name of one that there is: a stranger's text makes no new count.
    pub(super) fn login(&self, provider: Option<&str>, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.logins.entry((provider.unwrap_or_default().to_owned(), outcome)).or_default() += 1;
    }

    pub(super) fn ended(&self, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.ended.entry(reason).or_default() += 1;
    }

    pub(super) fn revalidation(&self, provider: &str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.revalidations.entry((provider.to_owned(), outcome)).or_default() += 1;
    }

    pub(super) fn now(&self) -> SessionCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
