//! The wire format between `infra`, `infrad` and services: JSON bodies, camelCase, described in `docs/api.md`.

mod problem;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::origin::Origin;
use crate::pin::Pin;
use crate::token_text::SessionID;

pub use problem::{MEDIA_TYPE, Problem, ProblemCode};

/// `GET /v1/server`: what a client has to know before it logs in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub version: String,
    pub now: Timestamp,
    pub providers: Vec<Provider>,
    /// The pins of the daemon's own certification authority; empty when it does not serve with one.
    #[serde(default)]
    pub pins: Vec<Pin>,
    /// The addresses at which the daemon accepts logins. Empty from a daemon that does not list them.
    #[serde(default, rename = "publicURLs", skip_serializing_if = "Vec::is_empty")]
    pub public_urls: Vec<Origin>,
    /// What will prove the daemon next, signed by its certification authority, where it announces something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<String>,
}

/// An identity provider that the daemon accepts.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provider {
    pub name: String,
    pub kind: String,
    pub issuer: String,
    /// The loopback addresses that are registered at the provider, in the order in which they are tried.
    #[serde(rename = "redirectURIs")]
    pub redirect_uris: Vec<String>,
}

/// `POST /v1/logins`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartLogin {
    pub provider: String,
    #[serde(rename = "redirectURI")]
    pub redirect_uri: String,
    pub state: String,
    pub code_challenge: String,
}

/// The answer to [`StartLogin`]. The daemon has stored nothing: the ticket holds all that it will need.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartedLogin {
    #[serde(serialize_with = "expose")]
    pub ticket: SecretString,
    #[serde(rename = "authorizationURL")]
    pub authorization_url: String,
    pub expires_at: Timestamp,
}

/// `POST /v1/logins/finish`. Sent once: whatever comes back, it is not sent again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishLogin {
    #[serde(serialize_with = "expose")]
    pub ticket: SecretString,
    #[serde(serialize_with = "expose")]
    pub code: SecretString,
    #[serde(serialize_with = "expose")]
    pub code_verifier: SecretString,
    /// The issuer named by the authorization response, where it named one (RFC 9207).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// What the user calls the machine that signs in: for people to read, and believed by nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(default)]
    pub opened_by: OpenedBy,
}

/// How the authorization response came back to the client, in the client's own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenedBy {
    /// A browser brought it to the loopback listener.
    #[default]
    Browser,
    /// A person pasted it into the terminal.
    Paste,
}

/// The answer to [`FinishLogin`], and the only time that the token is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FinishedLogin {
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    pub session: Session,
    pub user: User,
    pub now: Timestamp,
}

/// `GET /v1/session`: whose token this is, and until when. Who answers it borrows both: it is the busiest route.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentSession<S = Session, U = User> {
    pub session: S,
    pub user: U,
    pub now: Timestamp,
    /// What was opened after this session. Told to who only looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer: Option<NewerSessions>,
}

/// The user's other live sessions that were opened after the one that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewerSessions {
    /// How many there are: 1 or more; no more than a hundred are counted.
    pub count: usize,
    pub newest: ListedSession,
}

/// `GET /v1/sessions`: the live sessions of a user, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSessions {
    pub sessions: Vec<ListedSession>,
    pub now: Timestamp,
}

/// A session as its user, or an administrator, sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    #[serde(flatten)]
    pub session: Session,
    pub last_used_at: Timestamp,
    /// What the client called its machine: nobody vouches for it.
    pub device: Option<String>,
    pub opened_by: OpenedBy,
    /// Where the login came from, where the operator has it recorded.
    pub address: Option<String>,
    /// Whether it is the one that asks.
    pub current: bool,
    pub user: ListedUser,
}

/// Whose a listed session is. Not with the groups: there may be hundreds, and they are the same in each session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedUser {
    pub name: Option<String>,
    pub email: Option<String>,
    pub provider: String,
    pub issuer: String,
    pub subject: String,
}

/// The answer to `DELETE /v1/sessions?which=others`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedSessions {
    /// How many were ended, and had not ended before.
    pub ended: usize,
    /// Whether the one that asked is among those that were meant: it is not ended.
    pub includes_current: bool,
}

/// Who is signed in. The identity is (`issuer`, `subject`); the rest is for people to read.
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

impl From<User> for ListedUser {
    fn from(User { name, email, groups: _, provider, issuer, subject }: User) -> Self {
        Self { name, email, provider, issuer, subject }
    }
}

/// A session and its two limits, by the daemon's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub id: SessionID,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub idle_expires_at: Timestamp,
}

/// `POST /v1/tokens`: asks for a token that one service alone takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenAudienceToken {
    /// The audience, or the name, of a service in the daemon's configuration.
    pub audience: String,
}

/// The answer to [`OpenAudienceToken`], and the only time that the token is shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenedAudienceToken {
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    /// The service's audience, whatever it was asked for by.
    pub audience: String,
    /// At most ten minutes from `now`, and never after the session's own end.
    pub expires_at: Timestamp,
    pub now: Timestamp,
}

/// `POST /v1/logouts`: ends a session without its token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Logout {
    pub id: SessionID,
    #[serde(serialize_with = "expose")]
    pub proof: SecretString,
}

fn expose<S: Serializer>(secret: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose_secret())
}
