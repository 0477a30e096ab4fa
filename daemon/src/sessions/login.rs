//! Decides logins: `start_login` stores nothing, `finish_login` checks everything.

use std::fmt;
use std::net::IpAddr;

use infra_shared::api::{
    FinishLoginRequest, FinishLoginResponse, Session, StartLoginRequest, StartLoginResponse, User,
};
use infra_shared::login_binding::BoundVerifier;
use infra_shared::printable::printable;
use infra_shared::token_text::SessionToken;
use secrecy::ExposeSecret;

use super::ticket::Ticket;
use super::{Sessions, add, truncate_to_second};
use crate::addresses::client_key;
use crate::audit::DeniedUser;
use crate::identity::{
    AuthorizationRequest, CodeExchange, ExchangeOutcome, IdentityError, Provider, RefreshCredential,
    VerifiedIdentity,
};
use crate::keys::DecryptError;
use crate::store::{ClientInfo, NewSession, StoreError, TicketState, TokenHash};

/// Accepted length of `state`: long enough to be unguessable, short enough for any provider.
const STATE_CHARACTERS: std::ops::RangeInclusive<usize> = 22..=128;

/// A base64url SHA-256 (RFC 7636 §4.2).
const CHALLENGE_CHARACTERS: usize = 43;

/// RFC 6749 sets no limit for codes. No known provider comes close to this one.
const MAX_CODE_BYTES: usize = 4096;

/// Longest stored device name (RFC 1035 §2.3.4 allows 63 characters for a label).
const MAX_DEVICE_CHARACTERS: usize = 64;

/// Why a login is refused. `Display` is for the log; clients see less.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("there is no provider with that name")]
    UnknownProvider,
    #[error("the redirect URI is not in the provider's `redirectPorts`")]
    UnregisteredRedirectURI,
    #[error("malformed state")]
    MalformedState,
    #[error("malformed code challenge")]
    MalformedChallenge,
    #[error("malformed code")]
    MalformedCode,
    #[error("malformed code verifier")]
    MalformedVerifier,
    #[error("ticket: {0}")]
    Ticket(#[from] DecryptError),
    #[error("ticket expired")]
    TicketExpired,
    #[error("the ticket was already used")]
    TicketUsed,
    #[error("the code verifier does not match the challenge in the ticket")]
    CodeVerifierMismatch,
    #[error("the login is bound to another daemon, or to a provider that is not configured here")]
    BindingMismatch,
    /// The codes of two logins were mixed up (RFC 9700 §4.4), most likely by the provider that the login was bound to.
    #[error("the login is bound to the provider `{bound_to}`, but its ticket is for `{ticket}`")]
    ProviderMismatch { bound_to: String, ticket: String },
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("`allow` does not admit this user: {0}")]
    DeniedByPolicy(Box<PolicyDenial>),
    #[error("store: {0}")]
    Store(#[from] StoreError),
}

/// The user that the policy does not admit, with the details that an operator needs to find out why.
#[derive(Debug)]
pub struct PolicyDenial(pub(super) DeniedUser);

impl PolicyDenial {
    fn new(identity: &VerifiedIdentity) -> Self {
        Self(DeniedUser {
            subject: identity.subject().to_owned(),
            email: identity.email().map(ToOwned::to_owned),
            email_verified: identity.verified_email().is_some(),
            groups: identity.groups_claim().to_string(),
        })
    }
}

impl fmt::Display for PolicyDenial {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DeniedUser { subject, email, email_verified, groups } = &self.0;
        let verified = if *email_verified { "verified" } else { "not verified" };
        let email = email.as_ref().map_or("none".to_owned(), |email| format!("{email} ({verified})"));
        write!(formatter, "subject {subject}, e-mail {email}, groups {groups}")
    }
}

impl LoginError {
    /// Whether the failure counts towards the rate limit: the client caused it, after its ticket cost a write or a call
    /// to the provider. Failures of the provider, the store or a clock do not count, even if they used up a ticket.
    pub fn counts_toward_rate_limit(&self) -> bool {
        matches!(
            self,
            Self::TicketUsed | Self::DeniedByPolicy(_) | Self::Identity(IdentityError::Rejected(_))
        )
    }
}

impl Sessions {
    /// Starts a login: returns the authorization URL and a ticket with all state of the login.
    pub async fn start_login(&self, request: &StartLoginRequest) -> Result<StartLoginResponse, LoginError> {
        let provider = self.find_provider(&request.provider).ok_or(LoginError::UnknownProvider)?;
        if !provider.settings().redirect_uris.contains(&request.redirect_uri) {
            return Err(LoginError::UnregisteredRedirectURI);
        }
        if !STATE_CHARACTERS.contains(&request.state.len()) || !is_url_safe(&request.state) {
            return Err(LoginError::MalformedState);
        }
        if request.code_challenge.len() != CHALLENGE_CHARACTERS || !is_url_safe(&request.code_challenge) {
            return Err(LoginError::MalformedChallenge);
        }

        let ticket = Ticket::mint(
            &request.provider,
            &request.redirect_uri,
            &request.code_challenge,
            self.checked_now()?,
        );
        let authorization_url = provider
            .authorization_url(&AuthorizationRequest {
                redirect_uri: &request.redirect_uri,
                state: &request.state,
                nonce: &ticket.nonce,
                code_challenge: &request.code_challenge,
            })
            .await?;
        Ok(StartLoginResponse {
            ticket: ticket.seal(&self.ticket_key),
            authorization_url: authorization_url.into(),
            expires_at: ticket.expires_at,
        })
    }

    /// Decides a login.
    ///
    /// First checks that the ticket is from this daemon and has not expired, and that the client holds the verifier.
    /// Then checks the binding to this daemon and provider, the issuer, and that the ticket is unused. Only after that
    /// does it exchange the code, verify the identity, apply the policy and open a session.
    pub async fn finish_login(
        &self,
        request: &FinishLoginRequest,
        from: IpAddr,
    ) -> Result<FinishLoginResponse, LoginError> {
        let code = request.code.expose_secret();
        if code.is_empty() || code.len() > MAX_CODE_BYTES || !code.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(LoginError::MalformedCode);
        }
        let ticket = Ticket::open(&request.ticket, &self.ticket_key)?;
        if self.checked_now()? >= ticket.expires_at {
            return Err(LoginError::TicketExpired);
        }
        let verifier =
            BoundVerifier::parse(request.code_verifier.clone()).ok_or(LoginError::MalformedVerifier)?;
        // RFC 9700 §2.1.1: only the client that started the login may redeem the code. Checked before the provider sees
        // it.
        if verifier.challenge() != ticket.code_challenge {
            return Err(LoginError::CodeVerifierMismatch);
        }
        let provider = self.find_provider(&ticket.provider).ok_or(LoginError::UnknownProvider)?;
        self.check_binding(&verifier, provider)?;
        provider.check_response_issuer(request.iss.as_deref()).await?;
        // Before the ticket is consumed, so that a client sent away here can retry with it.
        let permit = provider.acquire_permit(client_key(from)).await?;

        // Stored durably before the code exchange, so that the ticket is not accepted again, even after a restart.
        if self.store.consume_ticket(ticket.id, ticket.expires_at).await? == TicketState::AlreadyUsed {
            return Err(LoginError::TicketUsed);
        }
        let code_exchange = CodeExchange {
            code: &request.code,
            verifier: &verifier,
            redirect_uri: &ticket.redirect_uri,
            nonce: &ticket.nonce,
        };
        let exchanged = provider.exchange(permit, code_exchange).await;
        let ExchangeOutcome { identity, refresh_credential } = exchanged.map_err(|failed| {
            self.revoke_unused_refresh_token(provider, failed.refresh_token);
            failed.error
        })?;
        if !provider.settings().allow.admits(identity.groups(), identity.verified_email()) {
            self.revoke_unused_refresh_token(provider, refresh_credential.map(|it| it.refresh_token));
            return Err(LoginError::DeniedByPolicy(Box::new(PolicyDenial::new(&identity))));
        }
        let client_info = ClientInfo {
            device: request.device.as_deref().and_then(device),
            login_method: request.login_method,
            address: self.address_to_store(from),
        };
        let opened = self.open_session(provider, &identity, refresh_credential.as_ref(), client_info).await;
        if opened.is_err() {
            self.revoke_unused_refresh_token(provider, refresh_credential.map(|it| it.refresh_token));
        }
        opened
    }

    /// Returns `address` if the operator records addresses.
    pub(super) fn address_to_store(&self, address: IpAddr) -> Option<IpAddr> {
        Some(address.to_canonical()).filter(|_| self.limits.record_addresses)
    }

    /// Checks that the client started its login at this daemon and with the provider of the ticket (RFC 9700 §4.4).
    /// Otherwise one provider could redeem the code that another issued to its own user.
    fn check_binding(&self, verifier: &BoundVerifier, provider: &Provider) -> Result<(), LoginError> {
        let now = self.now();
        let is_bound_to = |provider: &Provider| self.bindings.matches(verifier, provider.settings(), now);
        if is_bound_to(provider) {
            return Ok(());
        }
        let other = self.providers.iter().find(|other| is_bound_to(other));
        Err(other.map_or(LoginError::BindingMismatch, |other| LoginError::ProviderMismatch {
            bound_to: other.settings().name.clone(),
            ticket: provider.settings().name.clone(),
        }))
    }

    /// Mints a token for a verified identity and stores the token's hash.
    async fn open_session(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
        refresh_credential: Option<&RefreshCredential>,
        client_info: ClientInfo,
    ) -> Result<FinishLoginResponse, LoginError> {
        let (token, now) = (SessionToken::mint(), self.now());
        let user = User {
            name: identity.name().map(ToOwned::to_owned),
            email: identity.email().map(ToOwned::to_owned),
            groups: identity.groups().to_vec(),
            provider: provider.settings().name.clone(),
            issuer: identity.issuer().to_owned(),
            subject: identity.subject().to_owned(),
        };
        let expires_at = truncate_to_second(add(now, self.limits.lifetime));
        let new = NewSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            user: user.clone(),
            email_verified: identity.verified_email().is_some(),
            client_info,
            refresh_token: self.new_refresh_token(provider, refresh_credential, now),
            delegation: None,
            created_at: now,
            expires_at,
        };
        let revoked = self.store.open_session(new, self.limits.max_per_user).await?;
        self.record_over_limit(token.id(), &revoked);
        let session = Session {
            id: token.id().clone(),
            created_at: truncate_to_second(now),
            expires_at,
            idle_expires_at: self.idle_expires_at(now, expires_at),
            delegation: None,
        };
        Ok(FinishLoginResponse { token: token.expose().into(), session, user, now })
    }
}

/// The client's name for its machine, made printable. `None` if nothing is left.
fn device(text: &str) -> Option<String> {
    Some(printable(text.trim(), MAX_DEVICE_CHARACTERS)).filter(|device| !device.is_empty())
}

/// Whether the text consists of unreserved characters (RFC 3986 §2.3).
fn is_url_safe(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
