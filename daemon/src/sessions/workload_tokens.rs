//! Issues audience tokens to workloads.
//!
//! A workload has no session token. Its audience token belongs to a session of its own, whose session token is dropped at
//! once, so that it is looked up, listed, revoked and copied like any other.

use std::net::IpAddr;
use std::time::Duration;

use infra_shared::api::{User, WORKLOAD};
use infra_shared::token_text::{AudienceToken, ServiceToken, SessionID, SessionToken};
use jiff::Timestamp;
use secrecy::SecretString;

use super::{MintedAudienceToken, Sessions, TokenFormat, add, truncate_to_second};
use crate::addresses::client_key;
use crate::audit::{Event, SuppressedEvent};
use crate::identity::{IdentifiedWorkload, IdentityError, MatchingRule, WorkloadError};
use crate::jwt::NewToken;
use crate::store::{
    AudienceTokenRow, ClientInfo, EndReason, IssueOutcome, NewSession, StoreError, TicketState, TokenHash,
};

/// Maximum number of live tokens of one subject of a rule. The oldest is revoked for the next.
const MAX_PER_WORKLOAD: u32 = 1024;

/// Why a token exchange is refused. `Display` is for the log; clients see less.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error("{0}")]
    Malformed(&'static str),
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    #[error("no service has this audience or name, or no rule that matches the token lists it")]
    Target,
    #[error("the token was already used")]
    TokenUsed,
    #[error("the token was revoked while it was issued")]
    Revoked,
    #[error("rate limit exceeded")]
    RateLimited(Duration),
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

/// What an exchange issued.
#[derive(Debug)]
pub struct WorkloadToken {
    pub minted: MintedAudienceToken,
    pub issued_at: Timestamp,
    /// `workload:NAME/SUBJECT`.
    pub subject: String,
}

impl Sessions {
    /// Verifies the token of a workload and finds the rules that it matches. The token stays unused.
    pub async fn identify_workload(
        &self,
        token: &SecretString,
        from: IpAddr,
    ) -> Result<IdentifiedWorkload, ExchangeError> {
        let now = self.checked_now()?;
        Ok(self.workloads.identify(token, client_key(from), now).await?)
    }

    /// Issues a token of a workload for `service` under `rule`. Uses up the presented token, and outlives neither that
    /// token nor the rule's `lifetime`.
    pub async fn issue_workload_token(
        &self,
        workload: &IdentifiedWorkload,
        rule: &MatchingRule,
        (audience, format): (&str, &TokenFormat),
        from: IpAddr,
    ) -> Result<WorkloadToken, ExchangeError> {
        let now = self.checked_now()?;
        let mut expires_at = truncate_to_second(add(now, rule.lifetime)).min(workload.expires_at());
        if format.is_jwt() {
            expires_at = self.signed_token_expires_at(now, rule.lifetime, expires_at);
        }
        if now >= expires_at {
            return Err(
                WorkloadError::Rejected(IdentityError::Rejected("ID token: expired".to_owned())).into()
            );
        }
        // Stored durably before anything is issued, so that no member and no restart accepts the token again. After its
        // expiry, the verifier rejects it.
        if self.store.consume_ticket(workload.token_id(), workload.expires_at()).await?
            == TicketState::AlreadyUsed
        {
            return Err(ExchangeError::TokenUsed);
        }
        let provider = format!("{WORKLOAD}{}", rule.name);
        let subject = format!("{provider}/{}", workload.subject());
        let dropped = SessionToken::mint();
        let session = NewSession {
            id: dropped.id().clone(),
            token_hash: TokenHash::of(&dropped),
            user: User {
                name: None,
                email: None,
                groups: Vec::new(),
                provider,
                issuer: workload.issuer().to_owned(),
                subject: subject.clone(),
            },
            email_verified: false,
            client_info: ClientInfo { address: self.address_to_store(from), ..ClientInfo::default() },
            refresh_token: None,
            delegation: None,
            created_at: now,
            expires_at,
        };
        let (id, client) = (session.id.clone(), session.user.provider.clone());
        let revoked = self.store.open_session(session, MAX_PER_WORKLOAD).await?;
        self.record_over_limit(&id, &revoked);
        let minted = if format.is_jwt() {
            self.sign(&NewToken {
                audience,
                subject: &subject,
                session: &id,
                client: &client,
                delegated_to: None,
                issued_at: now,
                expires_at,
                verified_email: None,
                // A workload is in no group.
                groups: format.named_groups().map(|_| &[][..]),
            })?
        } else {
            self.issue_opaque_token(&id, audience, [now, expires_at]).await?
        };
        self.counts.workload_token(&rule.name, "issued");
        self.audit.record(&Event::WorkloadTokenIssued {
            workload: &rule.name,
            session: id.as_str(),
            issuer: workload.issuer(),
            subject: &subject,
            audience,
            address: self.address_to_store(from),
        });
        tracing::info!(session = %id, workload = rule.name, audience, "issued a token to a workload");
        Ok(WorkloadToken { minted, issued_at: now, subject })
    }

    /// Issues the only token of the new session of a workload.
    async fn issue_opaque_token(
        &self,
        session: &SessionID,
        audience: &str,
        [created_at, expires_at]: [Timestamp; 2],
    ) -> Result<MintedAudienceToken, ExchangeError> {
        let token = AudienceToken::mint();
        let row = AudienceTokenRow {
            id: token.id().clone(),
            token_hash: TokenHash::of_audience_token(&token),
            session: session.clone(),
            audience: audience.to_owned(),
            created_at,
            expires_at,
        };
        match self.store.issue_audience_token(row, 1).await? {
            IssueOutcome::Issued => {
                Ok(MintedAudienceToken { token: ServiceToken::Opaque(token), expires_at })
            }
            // An operator revoked the new session.
            IssueOutcome::SessionEnded | IssueOutcome::LimitReached(_) => {
                self.end_session(session, EndReason::Operator).await?;
                Err(ExchangeError::Revoked)
            }
        }
    }

    /// Records an exchange that was refused. `rule` is known once the token was verified.
    pub fn record_refused_exchange(&self, rule: Option<&str>, error: &ExchangeError, request_id: &str) {
        self.counts.workload_token(rule.unwrap_or_default(), error.reason());
        if matches!(error, ExchangeError::RateLimited(_)) {
            return self.audit.count(SuppressedEvent::WorkloadRateLimited);
        }
        let (reason, detail) = (error.reason(), error.to_string());
        let event =
            Event::WorkloadTokenRejected { workload: rule, reason, detail: &detail, request: request_id };
        if error.counts_toward_rate_limit() {
            self.audit.record_or_count(&event, SuppressedEvent::WorkloadRejected);
        } else {
            // So that a flood of these hides neither the others nor rejected logins.
            self.audit.record_unverified_or_count(&event, SuppressedEvent::WorkloadRejected);
        }
    }
}

impl ExchangeError {
    /// All reasons, so that every counter starts at zero.
    pub(super) const REASONS: [&str; 11] = [
        "bad_request",
        "unknown_issuer",
        "token_rejected",
        "wrong_audience",
        "no_matching_rule",
        "target_denied",
        "token_used",
        "issuer_unavailable",
        "queue_full",
        "rate_limited",
        "store_unavailable",
    ];

    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "bad_request",
            Self::Workload(WorkloadError::UnknownIssuer) => "unknown_issuer",
            Self::Workload(WorkloadError::Rejected(_)) => "token_rejected",
            Self::Workload(WorkloadError::Audience) => "wrong_audience",
            Self::Workload(WorkloadError::Claims(_)) => "no_matching_rule",
            Self::Target => "target_denied",
            Self::TokenUsed => "token_used",
            Self::Workload(WorkloadError::Unavailable { .. }) => "issuer_unavailable",
            Self::Workload(WorkloadError::QueueFull) => "queue_full",
            Self::RateLimited(_) => "rate_limited",
            Self::Revoked | Self::Store(_) => "store_unavailable",
        }
    }

    /// Whether the failure counts towards the rate limit: the client caused it, with a token that its issuer signed.
    pub fn counts_toward_rate_limit(&self) -> bool {
        matches!(self, Self::Workload(WorkloadError::Claims(_)) | Self::Target | Self::TokenUsed)
    }
}
