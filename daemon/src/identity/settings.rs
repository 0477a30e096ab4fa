//! Provider settings from the configuration.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::{Allow, BACKGROUND_TIMEOUT, OFFLINE_ACCESS};
use crate::fair_queue::{FairQueue, QueueLimits};
use crate::secrets::Reference;

/// Maximum number of waiting exchanges of all clients together.
const MAX_WAITING: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Maximum concurrent exchanges. One client gets at most three quarters of them.
    pub concurrent: usize,
    pub waiting_per_client: usize,
    /// Timeout from the code to the verified identity, including the wait in the queue. A user waits for it.
    pub timeout: Duration,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { concurrent: 32, waiting_per_client: 256, timeout: Duration::from_secs(10) }
    }
}

impl ExchangeLimits {
    /// Timeout of a fetch of metadata or keys. An exchange may need one of each. If the provider answers neither, a third
    /// of the time remains to continue with cached ones, and half of it for a call in the background.
    pub(super) fn fetch_timeout(&self) -> Duration {
        (self.timeout / 3).min(BACKGROUND_TIMEOUT / 2)
    }

    pub(super) fn queue(&self) -> FairQueue {
        self.queue_of(MAX_WAITING)
    }

    /// A queue with at most `waiting` exchanges of all clients together.
    pub(super) fn queue_of(&self, waiting: usize) -> FairQueue {
        let Self { concurrent, waiting_per_client, timeout } = *self;
        FairQueue::new(QueueLimits { concurrent, waiting_per_client, waiting, timeout })
    }
}

#[derive(Debug, Clone)]
pub struct ProviderSettings {
    pub name: String,
    pub kind: ProviderKind,
    /// Exactly as the provider writes it, byte for byte.
    pub issuer: String,
    pub client_id: String,
    pub client_secret: Reference,
    pub client_authentication: ClientAuthentication,
    /// `http://127.0.0.1:PORT/callback`, in the order in which the client tries them.
    pub redirect_uris: Vec<String>,
    pub scopes: Vec<String>,
    pub groups_claim: String,
    pub signing_algorithms: Vec<SigningAlgorithm>,
    /// The provider does not advertise PKCE, but the operator confirmed that it enforces it.
    pub assumes_pkce: bool,
    /// Other audiences that the operator trusts in an ID token for this client. Empty by default.
    pub additional_audiences: Vec<String>,
    /// If set, the only hosts other than the issuer's where endpoints may be: `HOST` or `HOST:PORT`.
    pub endpoint_hosts: Option<Vec<String>>,
    pub allow: Allow,
    /// CA certificates for the provider, instead of the operating system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Allows an `http` issuer on loopback. Only for the development provider; no configuration can set it.
    pub development: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderKind {
    Okta,
    Oidc,
}

/// How the daemon authenticates at the token endpoint (OpenID Connect Core §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    ClientSecretBasic,
    ClientSecretPost,
}

/// The accepted ID token signing algorithms (RFC 7518 §3.1, RFC 8037). `none` and HMAC are excluded.
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

impl ProviderSettings {
    /// Requests a refresh token with every login (OpenID Connect Core §11).
    pub fn request_refresh_tokens(&mut self) {
        if !self.scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
            self.scopes.push(OFFLINE_ACCESS.to_owned());
        }
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

#[cfg(any(test, fuzzing))]
impl ProviderSettings {
    /// Settings of a provider that no test reaches.
    pub(crate) fn unreachable() -> Self {
        Self {
            name: "okta".to_owned(),
            kind: ProviderKind::Okta,
            issuer: "https://okta.test".to_owned(),
            client_id: "0oa1".to_owned(),
            client_secret: crate::secrets::Backends::built_in().parse("env:SECRET").expect("a reference"),
            client_authentication: ClientAuthentication::ClientSecretBasic,
            redirect_uris: Vec::new(),
            scopes: Vec::new(),
            groups_claim: "groups".to_owned(),
            signing_algorithms: Vec::new(),
            allow: Allow::Everyone,
            authorities: None,
            development: false,
            assumes_pkce: false,
            additional_audiences: Vec::new(),
            endpoint_hosts: None,
        }
    }
}
