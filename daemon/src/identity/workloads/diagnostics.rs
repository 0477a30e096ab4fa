//! Tests each issuer for `infrad check --live`, and explains rules that can never match.

use jiff::Timestamp;

use super::{WorkloadSettings, Workloads};
use crate::identity::{CheckResult, IdentityError, Outcome};

impl WorkloadSettings {
    /// Why the rule can never match, as far as the configuration shows.
    pub fn contradiction(&self) -> Option<&'static str> {
        self.audiences.is_empty().then_some("`audiences` is empty, so the rule accepts no token")
    }
}

impl Workloads {
    /// Fetches metadata and keys of each issuer once. Returns the findings by rule name.
    pub async fn diagnose(&self, now: Timestamp) -> Vec<(String, CheckResult)> {
        let mut findings = Vec::new();
        for issuer in &self.issuers {
            let of_issuer = || self.rules.iter().filter(|rule| rule.issuer == issuer.name());
            let first = of_issuer().next().map(|rule| rule.name.clone()).unwrap_or_default();
            let mut add = |rule: &str, what: String, outcome| {
                findings.push((rule.to_owned(), CheckResult { what, outcome }));
            };
            let metadata = match issuer.metadata(now).await {
                Ok(metadata) => metadata,
                Err(error) => {
                    add(&first, format!("issuer {}", issuer.name()), failed(&error));
                    continue;
                }
            };
            add(&first, format!("issuer {}", issuer.name()), Outcome::Works);
            let keys = issuer.check_keys(&metadata, now).await;
            let outcome = keys.map_or_else(|error| failed(&error), |()| Outcome::Works);
            add(&first, "signing keys".to_owned(), outcome);
            if metadata.signs_with_allowed == Some(false) {
                let cause =
                    "the issuer signs with none of the accepted algorithms: RS256, ES256, ES384, EdDSA";
                add(&first, "signing algorithms".to_owned(), never(cause.to_owned(), ""));
            }
            for rule in of_issuer() {
                if let Some(outcome) = explain(rule, &metadata.claims) {
                    add(&rule.name, "claims".to_owned(), outcome);
                }
            }
        }
        findings
    }
}

/// Explains a rule about claims that the issuer does not list. `None` if it lists no claims, or all of them.
fn explain(rule: &WorkloadSettings, listed: &[String]) -> Option<Outcome> {
    if listed.is_empty() {
        return None;
    }
    let is_missing = |name: &&str| !listed.iter().any(|claim| claim == name);
    let missing: Vec<String> = rule
        .claims
        .iter()
        .map(|claim| claim.name.as_str())
        .filter(is_missing)
        .map(|name| {
            let nearest = listed.iter().min_by_key(|claim| strsim::damerau_levenshtein(name, claim));
            let nearest = nearest.filter(|claim| strsim::damerau_levenshtein(name, claim) <= 2);
            nearest.map_or_else(|| format!("`{name}`"), |it| format!("`{name}` (did you mean `{it}`?)"))
        })
        .collect();
    // Discovery §3: the list may be incomplete.
    (!missing.is_empty()).then(|| Outcome::Unknown {
        cause: format!(
            "the issuer's metadata do not list {}: if its tokens lack that claim, the rule never matches",
            missing.join(", ")
        ),
    })
}

fn never(cause: String, hint: &str) -> Outcome {
    Outcome::Fails { cause, hint: hint.to_owned(), is_transient: false }
}

fn failed(error: &IdentityError) -> Outcome {
    Outcome::Fails {
        cause: error.cause(),
        hint: error.hint().to_owned(),
        is_transient: matches!(error, IdentityError::Unavailable(_)),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::identity::ClaimRule;

    #[test]
    fn claim_that_issuer_does_not_list_is_explained() {
        let claim = |name: &str| ClaimRule { name: name.to_owned(), values: vec!["a".to_owned()] };
        let rule = |names: &[&str]| WorkloadSettings {
            name: "ci".to_owned(),
            issuer: "https://issuer.test".to_owned(),
            audiences: vec!["infra".to_owned()],
            claims: names.iter().map(|name| claim(name)).collect(),
            services: Vec::new(),
            lifetime: SignedDuration::from_mins(15),
            authorities: None,
        };
        let listed = ["sub", "repository_id", "ref"].map(str::to_owned);
        assert_eq!(explain(&rule(&["repository_id", "ref"]), &listed), None);
        assert_eq!(explain(&rule(&["anything"]), &[]), None);
        let Some(Outcome::Unknown { cause }) = explain(&rule(&["repositry_id", "team"]), &listed) else {
            panic!("nothing is explained");
        };
        assert!(cause.contains("`repositry_id` (did you mean `repository_id`?), `team`:"), "{cause}");
        assert_eq!(rule(&["sub"]).contradiction(), None);
        let empty = WorkloadSettings { audiences: Vec::new(), ..rule(&["sub"]) };
        assert!(empty.contradiction().is_some_and(|cause| cause.contains("accepts no token")));
    }
}
