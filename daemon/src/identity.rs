//! Sign-in through an OpenID provider: discovery, code exchange and verification of what the provider returns.

mod algorithms;
mod allow;
mod authorization_url;
mod cache_lifetime;
mod claims;
mod diagnostics;
mod discovery;
mod ed25519;
mod email;
mod endpoints;
mod error;
mod fetch_cache;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod groups;
mod id_token;
mod json;
mod metadata;
mod oauth_client;
mod refresh;
mod rejected_codes;
mod settings;
mod signing_keys;
mod unusable;
mod user_info;
mod workloads;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::login_binding::BoundVerifier;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::audit::Audit;
use crate::fair_queue::{FairQueue, Permit, QueueError};
use crate::outbound::{LIMITS, Limits, Outbound, SSRFGuard};
use crate::secrets::{Backends, ReadReason};
use crate::store::Store;
use claims::ClaimSets;
use discovery::Discovery;
use endpoints::Endpoints;
use id_token::{Client, Expectations, Flow, Recipient};
use metadata::Metadata;
use rejected_codes::{CodeAttempt, RejectedCodeLimiter};
use signing_keys::{KeySource, SigningKeys};

pub use allow::Allow;
pub use claims::{ClaimsUpdate, EmailClaim, Source, Sources};
pub use diagnostics::{CheckResult, Outcome};
pub use email::{Email, is_domain};
pub use endpoints::{describe_change, is_endpoint_host};
pub use error::IdentityError;
pub use groups::{GroupsClaim, TooManyGroups};
pub use oauth_client::UnverifiedTokens;
pub use refresh::{BACKGROUND_TIMEOUT, RefreshCredential, RefreshError, RefreshedClaims};
pub use settings::{ClientAuthentication, ExchangeLimits, ProviderKind, ProviderSettings, SigningAlgorithm};
pub use workloads::{
    ClaimRule, IdentifiedWorkload, MatchingRule, WorkloadError, WorkloadSettings, Workloads,
};

/// The scope that asks for a refresh token (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// The parameters of an authorization request that differ between logins.
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    pub redirect_uri: &'a str,
    pub state: &'a str,
    pub nonce: &'a SecretString,
    pub code_challenge: &'a str,
}

/// Values from the authorization response and the login ticket that the code exchange needs.
#[derive(Debug)]
pub struct CodeExchange<'a> {
    pub code: &'a SecretString,
    pub verifier: &'a BoundVerifier,
    pub redirect_uri: &'a str,
    pub nonce: &'a SecretString,
}

/// One provider, with its cached metadata and keys.
pub struct Provider {
    settings: ProviderSettings,
    backends: Backends,
    clock: Arc<dyn Clock>,
    outbound: Outbound,
    discovery: Discovery,
    signing_keys: SigningKeys,
    queue: FairQueue,
    rejected_codes: RejectedCodeLimiter,
}

pub struct ExchangePermit {
    permit: Permit,
    attempt: CodeAttempt,
}

impl Provider {
    /// Creates the provider without any network request.
    pub fn new(
        settings: ProviderSettings,
        backends: Backends,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        Self::with_limits(settings, backends, clock, &ExchangeLimits::default(), LIMITS)
    }

    /// Like [`Self::new`], with other limits of exchanges and of each call.
    pub fn with_limits(
        settings: ProviderSettings,
        backends: Backends,
        clock: Arc<dyn Clock>,
        exchanges: &ExchangeLimits,
        calls: Limits,
    ) -> Result<Self, IdentityError> {
        // Only the development provider is reached over plain HTTP, and it runs on this machine.
        let guard =
            (!settings.development).then(|| SSRFGuard::trusting(endpoints::configured_hosts(&settings)));
        let outbound = Outbound::with_guard(settings.authorities.clone(), calls, guard.clone())
            .map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        Ok(Self {
            settings,
            backends,
            clock,
            outbound,
            discovery: Discovery::new(Endpoints::guarded_by(guard), exchanges.fetch_timeout()),
            signing_keys: SigningKeys::new(exchanges.fetch_timeout(), Duration::ZERO),
            queue: exchanges.queue(),
            rejected_codes: RejectedCodeLimiter::default(),
        })
    }

    /// Remembers the hosts of the provider's endpoints in `store` and audits changes.
    #[must_use]
    pub fn with_store(mut self, store: Store, audit: Audit) -> Self {
        self.discovery.endpoints.remember_in(store, audit);
        self
    }

    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Builds the URL that the browser is sent to (OpenID Connect Core §3.1.2.1).
    pub async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<Url, IdentityError> {
        let metadata = self.metadata().await?;
        authorization_url::build(&metadata, &self.settings, request)
    }

    /// Checks the `iss` of an authorization response (RFC 9207 §2.4), before the code is used for anything.
    pub async fn check_response_issuer(&self, iss: Option<&str>) -> Result<(), IdentityError> {
        if let Some(iss) = iss {
            return if iss == self.settings.issuer {
                Ok(())
            } else {
                Err(IdentityError::ResponseIssuer("response_issuer_mismatch"))
            };
        }
        let metadata = self.metadata().await?;
        // RFC 9207 §2.4: if the provider promised the parameter, a response without it came from elsewhere.
        if metadata.sends_response_issuer {
            return Err(IdentityError::ResponseIssuer("response_issuer_missing"));
        }
        Ok(())
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, IdentityError> {
        self.discovery.metadata(&self.outbound, &self.settings, self.clock.now()).await
    }

    /// Waits for a permit to exchange a code. The exchange timeout starts here.
    pub async fn acquire_permit(&self, client: IpAddr) -> Result<ExchangePermit, IdentityError> {
        // Before the queue as well, so that a client over its limit neither waits nor takes a place.
        self.rejected_codes.check(client).map_err(IdentityError::RejectedCodeLimit)?;
        let permit = self.queue.acquire(client).await.map_err(|error| match error {
            QueueError::QueueFull => IdentityError::QueueFull,
            QueueError::TimedOut => unavailable("too many exchanges were in progress"),
        })?;
        let attempt = self.rejected_codes.begin_attempt(client).map_err(IdentityError::RejectedCodeLimit)?;
        Ok(ExchangePermit { permit, attempt })
    }

    /// Exchanges a code and verifies everything that comes back, within one timeout that includes the wait before.
    pub async fn exchange(
        &self,
        permit: ExchangePermit,
        code_exchange: CodeExchange<'_>,
    ) -> Result<ExchangeOutcome, FailedExchange> {
        let ExchangePermit { permit, mut attempt } = permit;
        let mut issued = None;
        tokio::time::timeout_at(
            permit.deadline,
            self.exchange_and_verify(code_exchange, &mut attempt, &mut issued),
        )
        .await
        .unwrap_or_else(|_| Err(unavailable("the exchange timed out")))
        .map_err(|error| FailedExchange { error, refresh_token: issued })
    }

    /// Exchanges the code and verifies the response. This is the only place of a login that reads the client secret.
    /// Sets `issued` to the refresh token of the response, before it checks anything else in it.
    async fn exchange_and_verify(
        &self,
        code_exchange: CodeExchange<'_>,
        attempt: &mut CodeAttempt,
        issued: &mut Option<SecretString>,
    ) -> Result<ExchangeOutcome, IdentityError> {
        let metadata = self.metadata().await?;
        let exchanged = self.exchange_code(&metadata, ReadReason::Exchange, &code_exchange, issued).await;
        if matches!(exchanged, Err(IdentityError::Rejected(_))) {
            attempt.rejected();
        }
        let (id_token, tokens) = exchanged?;
        let expected = self.expectations(Flow::Login, code_exchange.nonce, &tokens.access_token);
        let verified = self
            .signing_keys
            .verify(self.key_source(&metadata), expected.now, |keys| {
                id_token::verify(&id_token, &expected, keys)
            })
            .await?;
        let id_token = verified.map_err(|error| error::from_id_token(error, &id_token, expected.now))?;
        let identity =
            self.identity(&id_token.subject, &id_token.claims, &metadata, &tokens.access_token).await?;
        let refresh_credential = tokens.refresh_token.map(|refresh_token| RefreshCredential {
            refresh_token,
            nonce: code_exchange.nonce.clone(),
            auth_time: id_token::seconds(&id_token.claims, "auth_time"),
            subject: id_token.subject,
            sources: identity.sources,
        });
        Ok(ExchangeOutcome { identity, refresh_credential })
    }

    fn key_source<'a>(&'a self, metadata: &'a Metadata) -> KeySource<'a> {
        KeySource::Url { outbound: &self.outbound, url: &metadata.jwks_uri }
    }

    /// What an ID token must fulfil now, next to `access_token`.
    fn expectations<'a>(
        &'a self,
        flow: Flow<'a>,
        nonce: &'a SecretString,
        access_token: &'a SecretString,
    ) -> Expectations<'a> {
        Expectations {
            issuer: &self.settings.issuer,
            recipient: Recipient::Client(Client {
                id: &self.settings.client_id,
                additional_audiences: &self.settings.additional_audiences,
                nonce,
                flow,
                access_token,
            }),
            algorithms: &self.settings.signing_algorithms,
            now: self.clock.now(),
        }
    }

    /// Builds the identity from verified claims, and fetches userinfo if they lack something that was requested.
    async fn identity(
        &self,
        subject: &str,
        claims: &Map<String, Value>,
        metadata: &Metadata,
        access_token: &SecretString,
    ) -> Result<VerifiedIdentity, IdentityError> {
        let needs_user_info = claims::need_user_info(Some(claims), Sources::default(), &self.settings);
        let user_info = if needs_user_info {
            user_info::fetch(&self.outbound, metadata, access_token, subject).await?
        } else {
            None
        };
        let claim_sets = ClaimSets { id_token: Some(claims), user_info: user_info.as_ref() };
        claims::identity(subject, claim_sets, &self.settings)
    }
}

#[derive(Debug)]
pub struct ExchangeOutcome {
    pub identity: VerifiedIdentity,
    /// For revalidation, if the provider issued a refresh token.
    pub refresh_credential: Option<RefreshCredential>,
}

/// An exchange that proves no identity.
#[derive(Debug)]
pub struct FailedExchange {
    pub error: IdentityError,
    /// The refresh token that the provider issued nevertheless.
    pub refresh_token: Option<SecretString>,
}

/// A user, proven by a completely verified ID token. Only this module can create one.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    issuer: String,
    subject: String,
    name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    groups: GroupsClaim,
    sources: Sources,
}

impl VerifiedIdentity {
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn subject(&self) -> &str {
        &self.subject
    }

    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The e-mail address for display. Rules use [`Self::verified_email`].
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    pub fn verified_email(&self) -> Option<&str> {
        self.email().filter(|_| self.email_verified)
    }

    pub fn groups(&self) -> &[String] {
        self.groups.names()
    }

    /// The groups, with the reason if the claim is missing or unusable.
    pub fn groups_claim(&self) -> &GroupsClaim {
        &self.groups
    }
}

fn rejected(reason: &str) -> IdentityError {
    IdentityError::Rejected(reason.to_owned())
}

fn unavailable(reason: &str) -> IdentityError {
    IdentityError::Unavailable(reason.to_owned())
}

/// Waits for `work`. If it takes longer than `timeout`, the provider is unavailable for this `reason`.
async fn within<T, E: From<IdentityError>>(
    timeout: Duration,
    reason: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(unavailable(reason).into()))
}

#[cfg(test)]
mod tests;
