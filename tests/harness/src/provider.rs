//! An OpenID Provider of the tests: honest by default, and hostile in any way a test asks for.
//!
//! Authorization code flow with PKCE (RFC 6749 §4.1, RFC 7636), discovery, RS256, ES256 and EdDSA keys, `iss` in the
//! authorization response (RFC 9207). It signs in whom the test names, without a page.

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

pub use misbehaviour::{IDTokenDraft, Misbehaviour, Signed};
pub use signing::{Algorithm, Key};

use crate::authority::Authority;
use crate::https::{Request, Server};

/// The client that every provider of the tests knows.
pub const CLIENT_ID: &str = "infra-test-client";
/// Its secret, which also serves as a canary: it may appear in a token call and nowhere else.
pub const CLIENT_SECRET: &str = "canary-client-secret-0123456789abcdef";

/// A running provider; it ends with the value.
pub struct Provider {
    state: Arc<State>,
    authority: Authority,
    issuer: String,
    _server: Server,
}

/// What a provider offers.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What follows the origin in the issuer: `""`, or `/oauth2/default` as at Okta's custom servers.
    pub issuer_path: String,
    pub client_authentication: ClientAuthentication,
    /// What ID tokens are signed with.
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

/// What the person does at the provider.
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
    /// Those that were issued, by the token.
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
    /// An honest provider that signs in `alice`.
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

    /// The file for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// SHA-256 of the public key of its authority.
    pub fn authority_pin(&self) -> Pin {
        self.authority.pin()
    }

    pub fn authority_certificate(&self) -> CertificateDer<'static> {
        self.authority.certificate()
    }

    /// Who sits at the browser from now on.
    pub fn person(&self, person: Person) {
        self.state.lock().person = person;
    }

    /// Misbehaves like this, and in no other way, from now on.
    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.state.lock().misbehaviour = misbehaviour;
    }

    /// Is honest again.
    pub fn behave(&self) {
        self.misbehave(Misbehaviour::default());
    }

    /// Nobody who has this user name may go on from now on.
    pub fn deactivate(&self, user: &str) {
        self.state.lock().inactive.insert(user.to_owned());
    }

    /// How far its clock is ahead of this machine's.
    pub fn set_clock(&self, ahead: SignedDuration) {
        self.state.lock().clock = ahead;
    }

    /// The refresh tokens that still count.
    pub fn live_refresh_tokens(&self) -> Vec<String> {
        refresh::live(&self.state.lock())
    }

    /// Every refresh token that was ever issued.
    pub fn issued_refresh_tokens(&self) -> Vec<String> {
        self.state.lock().refresh_tokens.keys().cloned().collect()
    }

    /// The refresh tokens that were given back, in order.
    pub fn revoked(&self) -> Vec<String> {
        self.state.lock().revoked.clone()
    }

    /// Signs with new keys of new names from now on, and publishes only these.
    pub fn rotate_keys(&self) {
        self.state.lock().keys = signing::Keys::generate();
    }

    /// How often an endpoint was called.
    pub fn calls(&self, endpoint: Endpoint) -> usize {
        self.requests(endpoint).len()
    }

    /// What an endpoint was asked, in order.
    pub fn requests(&self, endpoint: Endpoint) -> Vec<Request> {
        let inner = self.state.lock();
        inner
            .requests
            .iter()
            .filter(|(asked, _)| *asked == endpoint)
            .map(|(_, request)| request.clone())
            .collect()
    }

    pub fn forget_requests(&self) {
        self.state.lock().requests.clear();
    }

    /// Every code and access token that it issued, and the last ID token: none of them may show anywhere.
    pub fn issued_secrets(&self) -> Vec<String> {
        let inner = self.state.lock();
        let codes = inner.codes.keys().chain(&inner.spent_codes);
        codes.chain(inner.access_tokens.keys()).chain(&inner.last_id_token).cloned().collect()
    }

    /// The ID token that was issued last, for replays.
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
