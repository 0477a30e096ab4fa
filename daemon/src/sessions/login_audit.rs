//! Records logins in the audit log and the metrics.

use std::net::IpAddr;

use infra_shared::api::{FinishLoginRequest, FinishLoginResponse, StartLoginRequest, StartLoginResponse};

use super::ticket::Ticket;
use super::{LoginError, Sessions};
use crate::audit::{Event, SuppressedEvent};
use crate::identity::IdentityError;

/// Which rate limit a client address exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRateLimit {
    Start,
    /// Too many failed attempts.
    Finish,
}

impl Sessions {
    pub fn record_login_start(
        &self,
        request: &StartLoginRequest,
        started: &Result<StartLoginResponse, LoginError>,
    ) {
        // Only names of configured providers are logged, never a client's text.
        let provider = self.find_provider(&request.provider).map(|_| request.provider.as_str());
        match (started, provider) {
            (Ok(_), Some(provider)) => {
                self.counts.started(provider);
                self.audit.record_or_count(&Event::LoginStarted { provider }, SuppressedEvent::Started);
            }
            (Err(error), provider) => self.record_rejection(provider, error, None),
            (Ok(_), None) => {}
        }
    }

    pub fn record_login_finish(
        &self,
        request: &FinishLoginRequest,
        finished: &Result<FinishLoginResponse, LoginError>,
        from: IpAddr,
        request_id: &str,
    ) {
        match finished {
            Ok(FinishLoginResponse { session, user, .. }) => {
                self.counts.login(Some(&user.provider), "finished");
                self.audit.record(&Event::LoginFinished {
                    provider: &user.provider,
                    session: session.id.as_str(),
                    issuer: &user.issuer,
                    subject: &user.subject,
                    email: user.email.as_deref(),
                    address: self.address_to_store(from),
                });
            }
            Err(error) => {
                let ticket = Ticket::open(&request.ticket, &self.ticket_key).ok();
                let provider = ticket.as_ref().map(|ticket| ticket.provider.as_str());
                self.record_rejection(provider, error, Some(request_id));
            }
        }
    }

    /// Counts a login that was rejected because its client address exceeded a rate limit.
    pub fn count_rate_limited_login(&self, what: LoginRateLimit) {
        self.counts.login(None, "rate_limited");
        self.audit.count(match what {
            LoginRateLimit::Start => SuppressedEvent::StartRateLimited,
            LoginRateLimit::Finish => SuppressedEvent::FinishRateLimited,
        });
    }

    fn record_rejection(&self, provider: Option<&str>, error: &LoginError, request: Option<&str>) {
        self.counts.login(provider, error.reason());
        let detail = error.to_string();
        let user = if let LoginError::DeniedByPolicy(user) = error { Some(&user.0) } else { None };
        let event = Event::LoginRejected { provider, reason: error.reason(), detail: &detail, request, user };
        // The provider authenticated this user, so the event is not rate-limited: the operator must be able to find it.
        if user.is_some() {
            self.audit.record(&event);
        } else {
            self.audit.record_or_count(&event, SuppressedEvent::Rejected);
        }
    }
}

impl LoginError {
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
            Self::CodeVerifierMismatch => "code_verifier_mismatch",
            Self::BindingMismatch => "binding_mismatch",
            Self::ProviderMismatch { .. } => "provider_mismatch",
            Self::Identity(IdentityError::Unavailable(_) | IdentityError::Unusable(_)) => {
                "provider_unavailable"
            }
            Self::Identity(IdentityError::QueueFull) => "queue_full",
            Self::Identity(IdentityError::RejectedCodeLimit(_)) => "rejected_code_limit",
            Self::Identity(IdentityError::InvalidClient { .. }) => "invalid_client",
            Self::Identity(IdentityError::ClientSecret(_)) => "client_secret_unavailable",
            Self::Identity(
                IdentityError::ResponseIssuer(_)
                | IdentityError::Rejected(_)
                | IdentityError::ClockSkew(_)
                | IdentityError::LimitExceeded(_),
            ) => "identity_rejected",
            Self::DeniedByPolicy(_) => "denied_by_policy",
            Self::Store(_) => "store_unavailable",
        }
    }
}
