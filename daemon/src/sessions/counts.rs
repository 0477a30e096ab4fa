//! Counts the outcomes of logins, sessions and revalidations.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{ExchangeError, LoginError};
use crate::store::EndReason;

/// Counters since the daemon started. Clones share them.
#[derive(Clone)]
pub(super) struct Counts(Arc<Mutex<SessionCounts>>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionCounts {
    /// By provider name, or empty if unknown, and by `finished` or the reason for refusal.
    pub logins: BTreeMap<(String, &'static str), u64>,
    /// Logins sent to the provider, by its name. Many of them and none finished indicate an outage of the provider.
    pub started: BTreeMap<String, u64>,
    /// By reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Revalidations, by provider name and outcome.
    pub revalidations: BTreeMap<(String, &'static str), u64>,
    /// Exchanges of workloads, by the name of the rule, or empty if unknown, and by `issued` or the reason for refusal.
    pub workload_tokens: BTreeMap<(String, &'static str), u64>,
    /// Tokens that were validated from memory while the database was away.
    pub validations_in_grace: u64,
}

const REVALIDATIONS: [&str; 7] = [
    "confirmed",
    "userinfo_failed",
    "unverified",
    "rejected",
    "response_lost",
    "denied_by_policy",
    "unavailable",
];
/// Outcomes of logins that name no configured provider.
const WITHOUT_PROVIDER: [&str; 3] = ["bad_request", "invalid_ticket", "rate_limited"];

impl Counts {
    /// Initializes all counters used in alerts to zero, because Prometheus sees no increase in a series that starts at
    /// one.
    pub(super) fn new(
        providers: impl Iterator<Item = String>,
        workloads: impl Iterator<Item = String>,
    ) -> Self {
        let mut counts = SessionCounts::default();
        for provider in providers {
            let logins = LoginError::REASONS.into_iter().chain(["finished"]);
            counts.logins.extend(logins.map(|outcome| ((provider.clone(), outcome), 0)));
            counts.revalidations.extend(REVALIDATIONS.map(|outcome| ((provider.clone(), outcome), 0)));
            counts.started.insert(provider, 0);
        }
        counts.logins.extend(WITHOUT_PROVIDER.map(|outcome| ((String::new(), outcome), 0)));
        for workload in workloads.chain([String::new()]) {
            let outcomes = ExchangeError::REASONS.into_iter().chain(["issued"]);
            counts.workload_tokens.extend(outcomes.map(|outcome| ((workload.clone(), outcome), 0)));
        }
        counts.ended.extend(EndReason::ALL.map(|reason| (reason.as_str(), 0)));
        Self(Arc::new(Mutex::new(counts)))
    }

    /// `provider` must be the name of a configured provider, so that clients cannot create new series.
    pub(super) fn login(&self, provider: Option<&str>, outcome: &'static str) {
        let is_known =
            LoginError::REASONS.contains(&outcome) || ["finished", "rate_limited"].contains(&outcome);
        debug_assert!(is_known, "{outcome} is not counted from the start");
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.logins.entry((provider.unwrap_or_default().to_owned(), outcome)).or_default() += 1;
    }

    /// `provider` must be the name of a configured provider.
    pub(super) fn started(&self, provider: &str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.started.entry(provider.to_owned()).or_default() += 1;
    }

    /// `rule` must be the name of a configured rule, or empty.
    pub(super) fn workload_token(&self, rule: &str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.workload_tokens.entry((rule.to_owned(), outcome)).or_default() += 1;
    }

    pub(super) fn ended(&self, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.ended.entry(reason).or_default() += 1;
    }

    pub(super) fn revalidation(&self, provider: &str, outcome: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.revalidations.entry((provider.to_owned(), outcome)).or_default() += 1;
    }

    pub(super) fn validation_in_grace(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).validations_in_grace += 1;
    }

    pub(super) fn now(&self) -> SessionCounts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
