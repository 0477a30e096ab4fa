//! Who somebody is, according to an OpenID Provider: discovery, code exchange, and the verification of what comes back.

mod algorithms;
mod allow;
mod authorization_url;
mod claims;
mod code_exchange;
mod discovery;
mod examination;
#[cfg(test)]
mod fuzzing;
#[cfg(all(fuzzing, not(test)))]
pub(crate) mod fuzzing;
mod id_token;
mod json;
mod refresh;
mod signing_keys;
mod user_info;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use infra_shared::clock::Clock;
use infra_shared::login_binding::BoundVerifier;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use serde_json::{Map, Value};
use url::Url;

use crate::outbound::{Limits, Outbound};
use crate::secrets::{Backends, ReadError, ReadReason, Reference};
use crate::turns::{NoTurn, Turn, TurnLimits, Turns};
use discovery::{Discovery, Metadata};
use id_token::{Expected, IDToken, Occasion};
use signing_keys::SigningKeys;

pub use allow::Allow;
pub use claims::{Told, ToldEmail};
pub use examination::{Finding, Outcome};
pub use refresh::{Answered, HeldGrant, Judged, RefreshError};

/// The scope that asks for a refresh token (OpenID Connect Core §11).
pub const OFFLINE_ACCESS: &str = "offline_access";

/// Waiting exchanges of all parties together.
const MOST_WAITING: usize = 4096;

/// How exchanges with one provider are limited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Exchanges at a time. One party gets three quarters of them at most.
    pub at_once: usize,
    /// Waiting exchanges of one party.
    pub waiting_of_party: usize,
    /// For everything from the code to the proven identity, the wait for a turn included. A person waits for it.
    pub time: Duration,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { at_once: 32, waiting_of_party: 256, time: Duration::from_secs(10) }
    }
}

impl ExchangeLimits {
    fn turns(&self) -> Turns {
        let Self { at_once, waiting_of_party, time } = *self;
        Turns::new(TurnLimits { at_once, waiting_of_party, waiting: MOST_WAITING, time })
    }
}

/// A provider as the configuration describes it.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    pub name: String,
    pub kind: ProviderKind,
    /// Byte for byte as the provider writes it.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Reference,
    pub client_authentication: ClientAuthentication,
    /// `http://127.0.0.1:PORT/callback`, in the order in which they are tried.
    pub redirect_uris: Vec<String>,
    pub scopes: Vec<String>,
    pub groups_claim: String,
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// Its metadata do not mention PKCE, and the operator knows from elsewhere that it checks it.
    pub assumes_pkce: bool,
    pub allow: Allow,
    /// The certification authorities of the provider, where not the operating system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// `http` issuers on loopback: the development provider's only; no configuration can say so.
    pub development: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    Okta,
    Oidc,
}

/// How the daemon proves itself at the token endpoint (OpenID Connect Core §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    ClientSecretBasic,
    ClientSecretPost,
}

/// The algorithms that an ID token may be signed with (RFC 7518 §3.1, RFC 8037). There is no `none` and no HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// The parameters of an authorization request that differ from login to login.
#[derive(Debug)]
pub struct AuthorizationRequest<'a> {
    pub redirect_uri: &'a str,
    pub state: &'a str,
    pub nonce: &'a SecretString,
    pub code_challenge: &'a str,
}

/// What an authorization response and the ticket bring to the exchange.
#[derive(Debug)]
pub struct CodeGrant<'a> {
    pub code: &'a SecretString,
    pub verifier: &'a BoundVerifier,
    pub redirect_uri: &'a str,
    pub nonce: &'a SecretString,
}

/// Why there is no identity. `Display` is for the log: precise, without any text or secret from the provider.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The provider cannot be reached or does not answer as one: worth another try.
    #[error("provider unavailable: {0}")]
    Unavailable(String),
    /// One caller has as many exchanges waiting as it may have.
    #[error("too many exchanges of one address wait")]
    TooManyWait,
    /// The provider does not take the daemon's client secret (RFC 6749 §5.2 `invalid_client`).
    #[error(
        "invalid_client: the provider refused the client secret that was just read from {reference}; was it replaced \
         there or at the provider, or is `clientID` or `clientAuthentication` wrong?"
    )]
    ClientRefused { reference: String },
    /// The client secret cannot be read.
    #[error("client secret: {0}")]
    ClientSecret(#[from] ReadError),
    /// The provider refused the code, or what it sent does not prove anybody. The text is a reason code of our own.
    #[error("refused: {0}")]
    Refused(String),
}

/// One provider, with what was learned of it.
pub struct Provider {
    settings: ProviderSettings,
    backends: Backends,
    clock: Arc<dyn Clock>,
    outbound: Outbound,
    discovery: Discovery,
    signing_keys: SigningKeys,
    turns: Turns,
}

impl ProviderSettings {
    /// Asks for a refresh token with every login (OpenID Connect Core §11).
    pub fn ask_for_refresh_tokens(&mut self) {
        if !self.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            self.scopes.push(OFFLINE_ACCESS.to_owned());
        }
    }
}

impl Provider {
    /// Asks nobody anything yet.
    pub fn new(
        settings: ProviderSettings,
        backends: Backends,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let outbound = Outbound::new(settings.authorities.clone())
            .map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        Ok(Self {
            settings,
            backends,
            clock,
            outbound,
            discovery: Discovery::default(),
            signing_keys: SigningKeys::default(),
            turns: ExchangeLimits::default().turns(),
        })
    }

    /// The same with other limits of exchanges, and of each call.
    pub fn limited(mut self, exchanges: &ExchangeLimits, calls: Limits) -> Result<Self, IdentityError> {
        self.turns = exchanges.turns();
        self.outbound = Outbound::limited(self.settings.authorities.clone(), calls)
            .map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        Ok(self)
    }

    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// The URL that the browser is sent to (OpenID Connect Core §3.1.2.1).
    pub async fn authorization_url(&self, request: &AuthorizationRequest<'_>) -> Result<Url, IdentityError> {
        let metadata = self.metadata().await?;
        Ok(authorization_url::build(&metadata.authorization_endpoint, &self.settings, request))
    }

    /// Checks the `iss` of an authorization response (RFC 9207 §2.4), before the code is used for anything.
    pub async fn check_response_issuer(&self, iss: Option<&str>) -> Result<(), IdentityError> {
        if let Some(iss) = iss {
            return if iss == self.settings.issuer {
                Ok(())
            } else {
                Err(refused("response_issuer_differs"))
            };
        }
        let metadata = self.metadata().await?;
        // RFC 9207 §2.4: who says that it sends the parameter, and did not, did not send the response.
        if metadata.sends_response_issuer { Err(refused("response_issuer_missing")) } else { Ok(()) }
    }

    async fn metadata(&self) -> Result<Arc<Metadata>, IdentityError> {
        self.discovery.metadata(&self.outbound, &self.settings, self.clock.now()).await
    }

    /// Waits until `party` may exchange a code. Its time runs from now.
    pub async fn take_turn(&self, party: IpAddr) -> Result<Turn, IdentityError> {
        self.turns.take(party).await.map_err(|error| match error {
            NoTurn::TooManyWait => IdentityError::TooManyWait,
            NoTurn::NotInTime => unavailable("too many exchanges were under way"),
        })
    }

    /// Exchanges a code and verifies everything that comes back, within one limit for all of it and the wait before.
    pub async fn exchange(&self, turn: Turn, grant: CodeGrant<'_>) -> Result<Exchanged, IdentityError> {
        tokio::time::timeout_at(turn.end, self.exchange_in_turn(grant))
            .await
            .unwrap_or_else(|_| Err(unavailable("the exchange took too long")))
    }

    /// The client secret is read here, and only here.
    async fn exchange_in_turn(&self, grant: CodeGrant<'_>) -> Result<Exchanged, IdentityError> {
        let metadata = self.metadata().await?;
        let tokens = code_exchange::exchange(
            &self.outbound,
            &metadata,
            &self.settings,
            (&self.backends, ReadReason::Exchange),
            &grant,
        )
        .await?;
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: grant.nonce,
            occasion: Occasion::Login,
            algorithms: &self.settings.signing_algorithms,
            access_token: &tokens.access_token,
            now: self.clock.now(),
        };
        let id_token = self.verify(&tokens.id_token, &expected, &metadata.jwks_uri).await?;
        let identity =
            self.identity(&id_token.subject, &id_token.claims, &metadata, &tokens.access_token).await?;
        let held = tokens.refresh_token.map(|refresh_token| HeldGrant {
            refresh_token,
            nonce: grant.nonce.clone(),
            auth_time: id_token::seconds(&id_token.claims, "auth_time"),
            subject: id_token.subject,
        });
        Ok(Exchanged { identity, held })
    }

    /// The person whom verified claims name, with what the provider says at its userinfo endpoint where those leave
    /// something out that was asked for.
    async fn identity(
        &self,
        subject: &str,
        claims: &Map<String, Value>,
        metadata: &Metadata,
        access_token: &SecretString,
    ) -> Result<VerifiedIdentity, IdentityError> {
        let user_info = if claims::are_missing(claims, &self.settings) {
            user_info::fetch(&self.outbound, metadata, access_token, subject).await?
        } else {
            None
        };
        claims::identity(subject, claims, user_info.as_ref(), &self.settings)
    }

    /// Verifies with the keys at hand, and once more with fresh ones when the provider may have changed them.
    async fn verify(
        &self,
        token: &SecretString,
        expected: &Expected<'_>,
        jwks_uri: &Url,
    ) -> Result<IDToken, IdentityError> {
        let begun_at = Instant::now();
        let keys = self.signing_keys.keys(&self.outbound, jwks_uri, expected.now).await?;
        let verified = match id_token::verify(token, expected, &keys) {
            // A provider that does not name its keys, or gives a new key the old name, changed it without a word.
            Err(error) if error.is_of_keys() => {
                let keys = self
                    .signing_keys
                    .refetch(&self.outbound, jwks_uri, expected.now, (&keys, begun_at))
                    .await?;
                id_token::verify(token, expected, &keys)
            }
            verified => verified,
        };
        verified.map_err(|error| IdentityError::Refused(format!("ID token: {error}")))
    }
}

/// What an exchange brings.
#[derive(Debug)]
pub struct Exchanged {
    pub identity: VerifiedIdentity,
    /// What the provider can be asked with again, where it gave a refresh token.
    pub held: Option<HeldGrant>,
}

/// A person, proven by a completely verified ID token. This room alone can make one.
#[derive(Debug, Clone)]
pub struct VerifiedIdentity {
    issuer: String,
    subject: String,
    name: Option<String>,
    email: Option<String>,
    email_verified: bool,
    groups: Vec<String>,
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

    /// The e-mail, for people to read; rules use [`Self::verified_email`].
    pub fn email(&self) -> Option<&str> {
        self.email.as_deref()
    }

    pub fn verified_email(&self) -> Option<&str> {
        self.email().filter(|_| self.email_verified)
    }

    pub fn groups(&self) -> &[String] {
        &self.groups
    }
}

impl std::fmt::Display for ProviderKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Okta => "okta",
            Self::Oidc => "oidc",
        })
    }
}

fn refused(reason: &str) -> IdentityError {
    IdentityError::Refused(reason.to_owned())
}

fn unavailable(reason: &str) -> IdentityError {
    IdentityError::Unavailable(reason.to_owned())
}

impl From<crate::outbound::OutboundError> for IdentityError {
    fn from(error: crate::outbound::OutboundError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests;
