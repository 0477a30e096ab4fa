//! Workloads: decides which rule of the configuration a token of another issuer matches.
//!
//! CI jobs, pods and machines present an ID token of their platform (RFC 8693). The same verifier as for sign-ins checks it.

mod cluster;
mod diagnostics;
mod issuer;
mod rule;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use infra_shared::digest::sha256;
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::id_token::{self, IDToken, IDTokenError};
use super::{ExchangeLimits, IdentityError, error, unavailable};
use crate::fair_queue::QueueError;
use crate::outbound;
use issuer::{CLUSTER, Issuer};

pub use rule::ClaimRule;

/// Domain separation for the ID of a used token.
const USED_TOKEN: &[u8] = b"infra-workload-token-v1";
/// A longer `jti` identifies no token.
const MAX_TOKEN_ID_BYTES: usize = 1024;

/// One entry of `workloads`.
#[derive(Debug, Clone)]
pub struct WorkloadSettings {
    pub name: String,
    /// Exactly as the issuer writes it, byte for byte, or [`Self::CLUSTER`].
    pub issuer: String,
    /// A token must name one of them, and no other. Empty accepts nothing.
    pub audiences: Vec<String>,
    /// All must match. Never empty.
    pub claims: Vec<ClaimRule>,
    /// Names of the services that the workload may use.
    pub services: Vec<String>,
    /// Maximum lifetime of an audience token.
    pub lifetime: SignedDuration,
    /// CA certificates for the issuer, instead of the operating system's. The same for all rules of an issuer.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
}

impl WorkloadSettings {
    /// The issuer that means the cluster in which the daemon runs.
    pub const CLUSTER: &str = CLUSTER;

    pub fn is_of_cluster(&self) -> bool {
        self.issuer == CLUSTER
    }
}

/// All rules, and the issuers that they trust.
#[derive(Default)]
pub struct Workloads {
    rules: Vec<WorkloadSettings>,
    issuers: Vec<Issuer>,
}

/// Why a token proves no workload. `Display` is for the log: it contains no text of an unverified token.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    #[error("the token is no ID token, or no rule of `workloads` has its issuer")]
    UnknownIssuer,
    #[error("{0}")]
    Rejected(IdentityError),
    #[error("no rule of `workloads` for this issuer lists the token's audience")]
    Audience,
    /// Names the first claim that differs of each rule, with the claim's verified value.
    #[error("no rule of `workloads` matches the token: {0}")]
    Claims(String),
    #[error("issuer {issuer}: {cause}")]
    Unavailable { issuer: String, cause: IdentityError },
    #[error("one client has too many requests waiting for the issuer")]
    QueueFull,
}

/// A workload, proven by a completely verified token. Only this file creates one.
#[derive(Debug)]
pub struct IdentifiedWorkload {
    issuer: String,
    subject: String,
    token_id: [u8; 16],
    expires_at: Timestamp,
    rules: Vec<MatchingRule>,
}

/// A rule that a token matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchingRule {
    pub name: String,
    pub lifetime: SignedDuration,
}

impl Workloads {
    /// Makes no network request.
    pub fn new(
        rules: Vec<WorkloadSettings>,
        exchanges: &ExchangeLimits,
        calls: outbound::Limits,
    ) -> Result<Self, IdentityError> {
        let mut issuers: Vec<Issuer> = Vec::new();
        for rule in &rules {
            if !issuers.iter().any(|issuer| issuer.name() == rule.issuer) {
                issuers.push(Issuer::new(&rule.issuer, rule.authorities.clone(), exchanges, calls)?);
            }
        }
        Ok(Self { rules, issuers })
    }

    pub fn rules(&self) -> &[WorkloadSettings] {
        &self.rules
    }

    /// Whether the configuration still has the rule, for the same issuer. The issuer of the cluster is known to it alone.
    pub fn has(&self, name: &str, issuer: &str) -> bool {
        self.rules.iter().any(|rule| rule.name == name && (rule.issuer == issuer || rule.is_of_cluster()))
    }

    /// Verifies `token` at `now`, and finds the rules that it matches, in the order of the configuration.
    ///
    /// The unverified issuer only selects the keys. A broken issuer fails its own tokens, and its callers wait in a queue
    /// of their own.
    pub async fn identify(
        &self,
        token: &SecretString,
        client: IpAddr,
        now: Timestamp,
    ) -> Result<IdentifiedWorkload, WorkloadError> {
        let (issuer, claimed) = self.claimed_issuer(token).ok_or(WorkloadError::UnknownIssuer)?;
        let permit = issuer.queue.acquire(client).await.map_err(|error| match error {
            QueueError::QueueFull => WorkloadError::QueueFull,
            QueueError::TimedOut => issuer.unavailable(unavailable("too many exchanges were in progress")),
        })?;
        tokio::time::timeout_at(permit.deadline, self.match_rules(issuer, &claimed, token, now))
            .await
            .unwrap_or_else(|_| Err(issuer.unavailable(unavailable("the exchange timed out"))))
    }

    /// Parsed claims take a hundred times the memory of their text, so none wait with the request.
    fn claimed_issuer(&self, token: &SecretString) -> Option<(&Issuer, String)> {
        let claims = id_token::unverified_claims(token)?;
        let claimed = claims.get("iss").and_then(Value::as_str)?;
        let find = |name: &str| self.issuers.iter().find(|issuer| issuer.name() == name);
        // Only the cluster itself knows which issuer it has.
        let issuer = find(claimed).or_else(|| find(CLUSTER))?;
        Some((issuer, claimed.to_owned()))
    }

    async fn match_rules(
        &self,
        issuer: &Issuer,
        claimed: &str,
        token: &SecretString,
        now: Timestamp,
    ) -> Result<IdentifiedWorkload, WorkloadError> {
        let metadata = issuer.metadata(now).await.map_err(|cause| issuer.unavailable(cause))?;
        if metadata.issuer != claimed {
            return Err(WorkloadError::UnknownIssuer);
        }
        let of_issuer = || self.rules.iter().filter(|rule| rule.issuer == issuer.name());
        // Verified once, so that a token costs as much with many rules as with one.
        let audiences: Vec<String> = of_issuer().flat_map(|rule| rule.audiences.iter().cloned()).collect();
        let id_token = match issuer.verify(token, &audiences, now).await? {
            Ok(id_token) => id_token,
            Err(IDTokenError::AudienceMismatch) => return Err(WorkloadError::Audience),
            Err(broken) => return Err(WorkloadError::Rejected(error::from_id_token(broken, token, now))),
        };
        let (mut matching, mut differences) = (Vec::new(), Vec::new());
        // A rule that lists other audiences says nothing about the token.
        let lists = |rule: &&WorkloadSettings| {
            id_token::check_workload_audience(&id_token.claims, &rule.audiences).is_ok()
        };
        for rule in of_issuer().filter(lists) {
            match rule::first_difference(&rule.claims, &id_token.claims) {
                None => matching.push(MatchingRule { name: rule.name.clone(), lifetime: rule.lifetime }),
                Some(difference) => differences.push(format!("`{}`: {difference}", rule.name)),
            }
        }
        if matching.is_empty() && differences.is_empty() {
            return Err(WorkloadError::Audience);
        }
        if matching.is_empty() {
            return Err(WorkloadError::Claims(differences.join("; ")));
        }
        let issuer = metadata.issuer.clone();
        let token_id = token_id(&issuer, &id_token, token);
        let expires_at = Timestamp::from_second(id_token.expires_at).unwrap_or(now);
        Ok(IdentifiedWorkload { issuer, subject: id_token.subject, token_id, expires_at, rules: matching })
    }
}

impl IdentifiedWorkload {
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The same for each presentation of the token.
    pub fn token_id(&self) -> [u8; 16] {
        self.token_id
    }

    /// When the presented token expires.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Never empty.
    pub fn rules(&self) -> &[MatchingRule] {
        &self.rules
    }
}

#[cfg(test)]
impl IdentifiedWorkload {
    /// A workload that no token proves, with one matching rule.
    pub(crate) fn unproven(
        subject: &str,
        token_id: [u8; 16],
        expires_at: Timestamp,
        rule: MatchingRule,
    ) -> Self {
        let issuer = "https://ci.test".to_owned();
        Self { issuer, subject: subject.to_owned(), token_id, expires_at, rules: vec![rule] }
    }
}

/// Identifies a verified token: by its `jti` (RFC 7519 §4.1.7), or by the hash of what is signed. The signature does not
/// count, because an ECDSA signature has a second valid form.
fn token_id(issuer: &str, id_token: &IDToken, token: &SecretString) -> [u8; 16] {
    let named = id_token.claims.get("jti").and_then(Value::as_str);
    let named = named.filter(|id| (1..=MAX_TOKEN_ID_BYTES).contains(&id.len()));
    let signed = token.expose_secret().rsplit_once('.').map_or("", |(signed, _)| signed);
    let (kind, id) = named.map_or((&b"\0signed\0"[..], signed), |id| (&b"\0jti\0"[..], id));
    let hash = sha256(&[USED_TOKEN, b"\0", issuer.as_bytes(), kind, id.as_bytes()]);
    *hash.first_chunk().expect("32 bytes have 16")
}
