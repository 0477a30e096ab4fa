//! How logins and sessions ended, counted by few words.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::LoginRefusal;
use crate::store::EndReason;

/// Counts since the start. Clones are the same.
#[derive(Clone)]
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

/// What may come of asking a provider again.
const REVALIDATIONS: [&str; 6] =
    ["confirmed", "unproven", "refused", "answer_lost", "not_admitted", "unavailable"];
/// How a login may end without a provider of ours.
const WITHOUT_PROVIDER: [&str; 3] = ["bad_request", "ticket_not_ours", "too_often"];

impl Counts {
    /// Counts that begin at zero for everything that alerts are made of: Prometheus sees no increase in a series that begins
    /// with one.
    pub(super) fn of(providers: impl Iterator<Item = String>) -> Self {
        let mut counts = SessionCounts::default();
        for provider in providers {
            let logins = LoginRefusal::REASONS.into_iter().chain(["finished"]);
            counts.logins.extend(logins.map(|outcome| ((provider.clone(), outcome), 0)));
            counts.revalidations.extend(REVALIDATIONS.map(|outcome| ((provider.clone(), outcome), 0)));
        }
        counts.logins.extend(WITHOUT_PROVIDER.map(|outcome| ((String::new(), outcome), 0)));
        counts.ended.extend(EndReason::ALL.map(|reason| (reason.as_str(), 0)));
        Self(Arc::new(Mutex::new(counts)))
    }

    /// `provider` is the name of one that there is: a stranger's text makes no new count.
    pub(super) fn login(&self, provider: Option<&str>, outcome: &'static str) {
        let is_known =
            LoginRefusal::REASONS.contains(&outcome) || ["finished", "too_often"].contains(&outcome);
        debug_assert!(is_known, "{outcome} is not counted from the start");
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
