//! Records logins in the audit log and the metrics.

use std::net::IpAddr;

use infra_shared::api::{FinishLogin, FinishedLogin, StartLogin, StartedLogin};

use super::ticket::Ticket;
use super::{LoginRefusal, Sessions};
use crate::audit::{Counted, Event};
use crate::identity::IdentityError;

/// Which rate limit a client address exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooOften {
    Start,
    /// Too many failed attempts.
    Finish,
}

impl Sessions {
    pub fn record_login_start(&self, request: &StartLogin, started: &Result<StartedLogin, LoginRefusal>) {
        // Only names of configured providers are logged, never a client's text.
        let provider = self.find_provider(&request.provider).map(|_| request.provider.as_str());
        match (started, provider) {
            (Ok(_), Some(provider)) => {
                self.counts.started(provider);
                self.audit.record_or_count(&Event::LoginStarted { provider }, Counted::Started);
            }
            (Err(refusal), provider) => self.record_refusal(provider, refusal, None),
            (Ok(_), None) => {}
        }
    }

    pub fn record_login_finish(
        &self,
        request: &FinishLogin,
        finished: &Result<FinishedLogin, LoginRefusal>,
        from: IpAddr,
        request_id: &str,
    ) {
        match finished {
            Ok(FinishedLogin { session, user, .. }) => {
                self.counts.login(Some(&user.provider), "finished");
                self.audit.record(&Event::LoginFinished {
                    provider: &user.provider,
                    session: session.id.as_str(),
                    issuer: &user.issuer,
                    subject: &user.subject,
                    email: user.email.as_deref(),
                    address: self.recorded(from),
                });
            }
            Err(refusal) => {
                let ticket = Ticket::open(&request.ticket, &self.ticket_key).ok();
                let provider = ticket.as_ref().map(|ticket| ticket.provider.as_str());
                self.record_refusal(provider, refusal, Some(request_id));
            }
        }
    }

    /// Counts a login that was rejected because its client address exceeded a rate limit.
    pub fn count_too_often(&self, what: TooOften) {
        self.counts.login(None, "rate_limited");
        self.audit.count(match what {
            TooOften::Start => Counted::StartTooOften,
            TooOften::Finish => Counted::FinishTooOften,
        });
    }

    fn record_refusal(&self, provider: Option<&str>, refusal: &LoginRefusal, request: Option<&str>) {
        self.counts.login(provider, refusal.reason());
        let detail = refusal.to_string();
        let user = if let LoginRefusal::NotAdmitted(user) = refusal { Some(&user.0) } else { None };
        let event =
            Event::LoginRejected { provider, reason: refusal.reason(), detail: &detail, request, user };
        // The provider authenticated this user, so the event is not rate-limited: the operator must be able to find it.
        if user.is_some() {
            self.audit.record(&event);
        } else {
            self.audit.record_or_count(&event, Counted::Refused);
        }
    }
}

impl LoginRefusal {
    /// All reasons, so that every counter starts at zero.
    pub(super) const REASONS: [&str; 15] = [
        "bad_request",
        "invalid_ticket",
        "ticket_expired",
        "ticket_used",
        "code_verifier_mismatch",
        "binding_mismatch",
        "provider_mismatch",
        "provider_unavailable",
        "queue_full",
        "rejected_code_limit",
        "invalid_client",
        "client_secret_unavailable",
        "identity_rejected",
        "denied_by_policy",
        "store_unavailable",
    ];

    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownProvider
            | Self::UnregisteredRedirectURI
            | Self::MalformedState
            | Self::MalformedChallenge
            | Self::MalformedCode
            | Self::MalformedVerifier => "bad_request",
            Self::Ticket(_) => "invalid_ticket",
            Self::TicketExpired => "ticket_expired",
            Self::TicketUsed => "ticket_used",
            Self::VerifierDiffers => "code_verifier_mismatch",
            Self::BoundElsewhere => "binding_mismatch",
            Self::BoundToOtherProvider { .. } => "provider_mismatch",
            Self::Identity(IdentityError::Unavailable(_) | IdentityError::Unusable(_)) => {
                "provider_unavailable"
            }
            Self::Identity(IdentityError::QueueFull) => "queue_full",
            Self::Identity(IdentityError::TooManyRejectedCodes(_)) => "rejected_code_limit",
            Self::Identity(IdentityError::ClientRefused { .. }) => "invalid_client",
            Self::Identity(IdentityError::ClientSecret(_)) => "client_secret_unavailable",
            Self::Identity(
                IdentityError::ResponseIssuer(_)
                | IdentityError::Refused(_)
                | IdentityError::ClocksDiffer(_)
                | IdentityError::LimitExceeded(_),
            ) => "identity_rejected",
            Self::NotAdmitted(_) => "denied_by_policy",
            Self::Store(_) => "store_unavailable",
        }
    }
}
