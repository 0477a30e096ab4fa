//! A test OpenID provider: honest by default, and hostile on request.
//!
//! Authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636), discovery, RS256, ES256 and EdDSA keys, `iss`
//! in the authorization response (RFC 9207). It signs in the user that the test chooses, without a page.

mod endpoints;
mod misbehaviour;
mod refresh;
mod signing;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use infra_shared::pin::Pin;
use jiff::SignedDuration;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

pub use misbehaviour::{IDTokenDraft, Misbehaviour, Signed};
pub use signing::{Algorithm, Key};

use crate::authority::Authority;
use crate::https::{Request, Server};

/// The client of every test provider.
pub const CLIENT_ID: &str = "infra-test-client";
/// The client secret, which also serves as a canary: it may appear only in a token request.
pub const CLIENT_SECRET: &str = "canary-client-secret-0123456789abcdef";

/// A running provider, stopped when dropped.
pub struct Provider {
    state: Arc<State>,
    authority: Authority,
    issuer: String,
    _server: Server,
}

/// The features of a provider.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The path of the issuer: `""`, or `/oauth2/default` as at Okta's custom servers.
    pub issuer_path: String,
    pub client_authentication: ClientAuthentication,
    /// The algorithm of ID token signatures.
    pub algorithm: Algorithm,
    pub has_userinfo: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    Basic,
    Post,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Discovery,
    Keys,
    Authorization,
    Token,
    UserInfo,
    Revocation,
}

/// What the user does at the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Person {
    SignsIn(String),
    Cancels,
}

struct State {
    settings: Settings,
    inner: Mutex<Inner>,
}

struct Inner {
    issuer: String,
    keys: signing::Keys,
    person: Person,
    misbehaviour: Misbehaviour,
    requests: Vec<(Endpoint, Request)>,
    codes: HashMap<String, endpoints::Grant>,
    spent_codes: HashSet<String>,
    access_tokens: HashMap<String, String>,
    /// The issued refresh tokens, by token.
    refresh_tokens: HashMap<String, refresh::Issued>,
    revoked: Vec<String>,
    inactive: HashSet<String>,
    clock: SignedDuration,
    last_id_token: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            issuer_path: String::new(),
            client_authentication: ClientAuthentication::Basic,
            algorithm: Algorithm::RS256,
            has_userinfo: true,
        }
    }
}

impl Provider {
    /// Starts an honest provider that signs in `alice`.
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    pub fn start_with(settings: Settings) -> Self {
        let authority = Authority::new();
        let path = settings.issuer_path.clone();
        let state = Arc::new(State {
            settings,
            inner: Mutex::new(Inner {
                issuer: String::new(),
                keys: signing::Keys::generate(),
                person: Person::SignsIn("alice".to_owned()),
                misbehaviour: Misbehaviour::default(),
                requests: Vec::new(),
                codes: HashMap::new(),
                spent_codes: HashSet::new(),
                access_tokens: HashMap::new(),
                refresh_tokens: HashMap::new(),
                revoked: Vec::new(),
                inactive: HashSet::new(),
                clock: SignedDuration::ZERO,
                last_id_token: None,
            }),
        });
        let answering = Arc::clone(&state);
        let server = Server::start(authority.issue(), move |request| {
            let answer = endpoints::answer(&answering, &request);
            async move { answer }
        });
        let issuer = format!("https://127.0.0.1:{}{path}", server.port());
        state.lock().issuer.clone_from(&issuer);
        Self { state, authority, issuer, _server: server }
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The CA file for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// SHA-256 of the CA's public key.
    pub fn authority_pin(&self) -> Pin {
        self.authority.pin()
    }

    pub fn authority_certificate(&self) -> CertificateDer<'static> {
        self.authority.certificate()
    }

    /// Sets the user at the browser.
    pub fn person(&self, person: Person) {
        self.state.lock().person = person;
    }

    /// Replaces all misbehaviour with this one.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.state.lock().misbehaviour = misbehaviour;
    }

    /// Restores the honest behaviour.
    pub fn behave(&self) {
        self.misbehave(Misbehaviour::default());
    }

    /// Rejects every later request on behalf of this user.
    pub fn deactivate(&self, user: &str) {
        self.state.lock().inactive.insert(user.to_owned());
    }

    /// Sets how far the provider's clock is ahead of this machine's.
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.state.lock().clock = ahead;
    }

    /// The refresh tokens that are still valid.
    pub fn live_refresh_tokens(&self) -> Vec<String> {
        refresh::live(&self.state.lock())
    }

    /// Every refresh token issued so far.
    pub fn issued_refresh_tokens(&self) -> Vec<String> {
        self.state.lock().refresh_tokens.keys().cloned().collect()
    }

    /// Every access token issued so far.
    pub fn issued_access_tokens(&self) -> Vec<String> {
        self.state.lock().access_tokens.keys().cloned().collect()
    }

    /// The revoked refresh tokens, in order.
    pub fn revoked(&self) -> Vec<String> {
        self.state.lock().revoked.clone()
    }

    /// Replaces all keys with new ones under new names, and publishes only these.
    pub fn rotate_keys(&self) {
        self.state.lock().keys = signing::Keys::generate();
    }

    /// The number of calls of an endpoint.
    pub fn calls(&self, endpoint: Endpoint) -> usize {
        self.requests(endpoint).len()
    }

    /// The requests to an endpoint, in order.
    pub fn requests(&self, endpoint: Endpoint) -> Vec<Request> {
        let inner = self.state.lock();
        inner
            .requests
            .iter()
            .filter(|(called, _)| *called == endpoint)
            .map(|(_, request)| request.clone())
            .collect()
    }

    pub fn forget_requests(&self) {
        self.state.lock().requests.clear();
    }

    /// Every issued code and access token, and the last ID token. None of them may appear anywhere.
    pub fn issued_secrets(&self) -> Vec<String> {
        let inner = self.state.lock();
        let codes = inner.codes.keys().chain(&inner.spent_codes);
        codes.chain(inner.access_tokens.keys()).chain(&inner.last_id_token).cloned().collect()
    }

    /// The published keys (RFC 7517 §5).
    pub fn published_keys(&self) -> Value {
        self.state.lock().keys.published()
    }

    /// Signs a token that no login requested, changed before and after.
    pub fn sign(
        &self,
        claims: &Value,
        before: impl FnOnce(&mut IDTokenDraft),
        after: impl FnOnce(&mut Signed),
    ) -> String {
        endpoints::other_token(&self.state.lock(), &self.state.settings, claims, before, after)
    }

    /// The last issued ID token, for replays.
    pub fn last_id_token(&self) -> Option<String> {
        self.state.lock().last_id_token.clone()
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
