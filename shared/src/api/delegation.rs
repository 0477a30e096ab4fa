//! Delegated sessions: a session opens another one for a command, limited to some services.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{Session, expose};
use crate::names::is_name;
use crate::token_text::SessionID;

/// Most services of a delegated session.
pub const MAX_DELEGATED_AUDIENCES: usize = 16;

/// Who opened a delegated session, and where it may be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delegation {
    /// The session that opened it. It ends with that one.
    pub parent: SessionID,
    /// The audiences of the services that accept it and its tokens.
    pub audiences: Vec<String>,
    /// What it is for, in the words of its user.
    pub label: String,
}

/// Body of `POST /v1/delegations`: opens a session that is limited to some services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DelegationRequest {
    /// Audiences or names of services, 1 to [`MAX_DELEGATED_AUDIENCES`].
    pub audiences: Vec<String>,
    /// The daemon shortens it to what is left of the caller's session.
    pub lifetime_seconds: u32,
    pub label: String,
}

/// Response to [`DelegationRequest`]. The token is never shown again.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DelegationResponse {
    /// A session token.
    #[serde(serialize_with = "expose")]
    pub token: SecretString,
    pub session: Session,
    pub now: Timestamp,
}

/// Whether a text is a label: a name as those of services, so that it needs no escaping in logs and headers.
#[must_use]
pub fn is_label(text: &str) -> bool {
    is_name(text)
}
