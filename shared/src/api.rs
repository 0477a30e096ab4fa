//! The wire format between `infra`, `infrad` and services: JSON bodies, camelCase, described in `docs/api.md`.

mod delegation;
mod problem;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::origin::Origin;
use crate::pin::Pin;
use crate::token_text::SessionID;

pub use delegation::{Delegation, DelegationRequest, DelegationResponse, MAX_DELEGATED_AUDIENCES, is_label};
pub use problem::{MEDIA_TYPE, Problem, ProblemCode};

/// Response to `GET /v1/server`: what a client needs before it logs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub version: String,
    pub now: Timestamp,
    pub providers: Vec<Provider>,
    /// Pins of the daemon's own CA. Empty if the daemon serves no certificate from that CA.
    #[serde(default)]
    pub pins: Vec<Pin>,
    /// Addresses at which the daemon accepts logins. Empty if the daemon does not list them.
    #[serde(default, rename = "publicURLs", skip_serializing_if = "Vec::is_empty")]
    pub public_urls: Vec<Origin>,
    /// Signed announcement of a CA rollover, if the daemon has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_rollover: Option<String>,
}

/// An identity provider that the daemon accepts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    pub name: String,
    pub kind: String,
    pub issuer: String,
    /// Loopback redirect URIs registered at the provider, in the order in which a client tries them.
    #[serde(rename = "redirectURIs")]
    pub redirect_uris: Vec<String>,
}

/// Body of `POST /v1/logins`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartLoginRequest {
    pub provider: String,
    #[serde(rename = "redirectURI")]
    pub redirect_uri: String,
    pub state: String,
    pub code_challenge: String,
}

/// Response to [`StartLoginRequest`]. The daemon stores nothing, because the ticket holds everything it needs later.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartLoginResponse {
    #[serde(serialize_with = "expose")]
    pub ticket: SecretString,
    #[serde(rename = "authorizationURL")]
    pub authorization_url: String,
    pub expires_at: Timestamp,
}

/// Body of `POST /v1/logins/finish`. The client repeats it only if the daemon rejected it before it used the ticket
/// (429).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishLoginRequest {
    #[serde(serialize_with = "expose")]
    pub ticket: SecretString,
    #[serde(serialize_with = "expose")]
    pub code: SecretString,
    #[serde(serialize_with = "expose")]
    pub code_verifier: SecretString,
    /// Issuer named in the authorization response, if any (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Name that the user gave to the machine. Display only: no decision depends on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(default)]
    pub login_method: LoginMethod,
}

/// How the authorization response reached the client, as the client reports it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginMethod {
    /// The browser delivered it to the loopback listener.
    #[default]
    Browser,
    /// The user pasted it into the terminal.
    Paste,
}

/// Response to [`FinishLoginRequest`]. The token is never shown again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishLoginResponse {
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    pub session: Session,
    pub user: User,
    pub now: Timestamp,
}

/// Response to `GET /v1/session`: the session, its user and its expiry. Generic so that the daemon can serialize
/// borrowed values on its busiest route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentSession<S = Session, U = User> {
    pub session: S,
    pub user: U,
    pub now: Timestamp,
    /// Sessions opened after this one. Present only in answers to `?use=false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<NewerSessions>,
}

/// The user's other live sessions that were opened after the caller's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewerSessions {
    /// Number of sessions, 1 to 100. Counting stops at 100.
    pub count: usize,
    pub newest: ListedSession,
}

/// Response to `GET /v1/sessions`: a user's live sessions, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSessions {
    pub sessions: Vec<ListedSession>,
    pub now: Timestamp,
}

/// A session as its user or an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    #[serde(flatten)]
    pub session: Session,
    pub last_used_at: Timestamp,
    /// Machine name that the client reported. Not verified.
    pub device: Option<String>,
    /// `None` for a workload, which never logs in.
    pub login_method: Option<LoginMethod>,
    /// Client address at login, if the operator records addresses.
    pub address: Option<String>,
    /// Whether this is the caller's own session.
    pub current: bool,
    pub user: ListedUser,
}

/// User of a listed session. Leaves out the groups: there may be hundreds, and they are the same in every session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedUser {
    pub name: Option<String>,
    pub email: Option<String>,
    pub provider: String,
    pub issuer: String,
    pub subject: String,
}

/// Response to `DELETE /v1/sessions?which=others`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationResponse {
    /// Number of sessions that this request revoked.
    pub revoked: usize,
    /// Whether the caller's own session matched the selection. It is never revoked.
    pub includes_current: bool,
}

/// The signed-in user. (`issuer`, `subject`) is the identity; the other fields are for display.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    pub name: Option<String>,
    pub email: Option<String>,
    pub groups: Vec<String>,
    pub provider: String,
    pub issuer: String,
    pub subject: String,
}

/// Prefix of the provider and the subject of a workload. No configured provider and no person has it.
pub const WORKLOAD: &str = "workload:";

impl User {
    /// The name of the rule in `workloads` if the user is a workload, not a person.
    #[must_use]
    pub fn workload(&self) -> Option<&str> {
        self.provider.strip_prefix(WORKLOAD)
    }

    /// Whether both are the same identity.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.issuer, &self.subject) == (&other.issuer, &other.subject)
    }
}

impl ListedUser {
    /// Names the user in a table: `alice@example.com (okta)`, or `workload:ci/SUBJECT`. Not yet printable.
    #[must_use]
    pub fn label(&self) -> String {
        if self.provider.starts_with(WORKLOAD) {
            return self.subject.clone();
        }
        let name = self.email.as_ref().or(self.name.as_ref()).unwrap_or(&self.subject);
        format!("{name} ({})", self.provider)
    }
}

impl Session {
    /// The earlier of both expiry times.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.expires_at.min(self.idle_expires_at)
    }
}

impl From<User> for ListedUser {
    fn from(User { name, email, groups: _, provider, issuer, subject }: User) -> Self {
        Self { name, email, provider, issuer, subject }
    }
}

/// A session and its two expiry times, by the daemon's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionID,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub idle_expires_at: Timestamp,
    /// Present if another session opened this one for a command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
}

/// Body of `POST /v1/tokens`: requests an audience token for one service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceTokenRequest {
    /// Audience or name of a service in the daemon's configuration.
    pub audience: String,
}

/// Response to [`AudienceTokenRequest`]. The token is never shown again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AudienceTokenResponse {
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    /// The service's audience, even if the client requested it by name.
    pub audience: String,
    /// At most ten minutes after `now`, and never after the session expires.
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// Body of `POST /v1/logouts`: revokes a session without its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logout {
    pub id: SessionID,
    #[serde(serialize_with = "expose")]
    pub proof: SecretString,
}

/// Serializes a secret, into the body of a request or into what is encrypted.
pub fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}
