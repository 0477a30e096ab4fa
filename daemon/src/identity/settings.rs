//! A provider as the configuration describes it.

use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::{Allow, OFFLINE_ACCESS};
use crate::secrets::Reference;
use crate::turns::{TurnLimits, Turns};

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
    pub(super) fn turns(&self) -> Turns {
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
    /// Who else may be in the audience of an ID token for this client. Nobody, unless the operator trusts them.
    pub additional_audiences: Vec<String>,
    /// The only hosts, besides the issuer's own, at which its endpoints may be: `HOST` or `HOST:PORT`.
    pub endpoint_hosts: Option<Vec<String>>,
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

impl ProviderSettings {
    /// Asks for a refresh token with every login (OpenID Connect Core §11).
    pub fn ask_for_refresh_tokens(&mut self) {
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

#[cfg(test)]
impl ProviderSettings {
    /// Of a provider that no test reaches.
    pub(super) fn unreachable() -> Self {
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
