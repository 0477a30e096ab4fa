//! What the files hold.

use std::collections::BTreeMap;

use infra_shared::api;
use infra_shared::http::{NoAuthorities, Trust, authorities_from_pem, pin_of_certificate};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::{AudienceToken, SessionID, SessionToken};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ClockOffset;
use super::document::VERSION;

/// `config.json`: the servers that are known.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    version: u32,
    pub current: Option<Origin>,
    pub servers: BTreeMap<Origin, Server>,
}

/// A server that is known.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub trust: TrustRecord,
    /// The provider that was used last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether tokens are mirrored to the keyring.
    #[serde(default)]
    pub keyring: bool,
    /// What it announced last of how it will prove itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<SuccessionRecord>,
    /// By what it was known before, as it had announced: what scripts go on giving to prove it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formerly: Vec<TrustRecord>,
}

/// What a server announced, signed by the authority that it was known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuccessionRecord {
    /// Of two announcements, the one with the higher number counts.
    pub sequence: u64,
    /// The authority that takes over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Whether the operating system's authorities may vouch for it.
    #[serde(default)]
    pub public: bool,
}

/// Why a server is believed to be itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrustRecord {
    /// The operating system's authorities vouch for it.
    System,
    /// The authority with this key vouches for it.
    Pinned { pin: Pin },
    /// The authorities of a PEM file vouch for it; with a pin, that one of them.
    CaFile {
        certificates: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pin: Option<Pin>,
    },
}

/// `sessions.json`: the tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sessions {
    version: u32,
    pub sessions: BTreeMap<Origin, Session>,
    #[serde(default)]
    pub pending_logouts: Vec<PendingLogout>,
}

/// A session at one server, as it was last heard of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    #[serde(serialize_with = "expose", deserialize_with = "token")]
    pub token: SessionToken,
    pub session: api::Session,
    pub user: api::User,
    /// By what the server was proven: the token goes to nobody who is proven by less, even when `config.json` is lost.
    pub trust: TrustRecord,
    #[serde(flatten)]
    pub clock_offset: ClockOffset,
    pub storage: Storage,
    /// That the daemon said it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SessionEnd>,
    /// The session opened elsewhere that the user was told of last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_of: Option<SessionID>,
    /// Tokens of this session for one service each, by what they were asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audience_tokens: BTreeMap<String, StoredAudienceToken>,
}

/// A token for one service, and when it ends by the daemon's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredAudienceToken {
    #[serde(serialize_with = "expose_audience_token", deserialize_with = "audience_token")]
    pub token: AudienceToken,
    pub expires_at: Timestamp,
}

/// How a session ended, in the daemon's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    Expired,
    Revoked,
}

/// Where a token is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    #[serde(rename = "file")]
    File,
    #[serde(rename = "file+keyring")]
    FileAndKeyring,
    #[serde(rename = "environment")]
    Environment,
}

/// A logout that the daemon has not heard of yet. The proof can end the session and nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingLogout {
    pub server: Origin,
    pub id: SessionID,
    pub proof: String,
    pub trust: TrustRecord,
    pub expires_at: Timestamp,
}

impl PendingLogout {
    pub fn of(server: &Origin, session: &Session) -> Self {
        Self {
            server: server.clone(),
            id: session.token.id().clone(),
            proof: session.token.logout_proof().to_text(),
            trust: session.trust.clone(),
            expires_at: session.session.expires_at,
        }
    }
}

impl SuccessionRecord {
    /// What is left of it once it has come to pass: no earlier announcement counts any more.
    #[must_use]
    pub fn fulfilled(self) -> Self {
        Self { pin: None, public: false, ..self }
    }
}

impl Server {
    /// By what it may prove itself when nobody is there any more who does by its trust.
    pub fn successors(&self) -> Vec<TrustRecord> {
        let announced = self.succession;
        let pinned = announced.and_then(|announced| announced.pin).map(|pin| TrustRecord::Pinned { pin });
        let public = announced.filter(|announced| announced.public).map(|_| TrustRecord::System);
        pinned.into_iter().chain(public).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self { version: VERSION, current: None, servers: BTreeMap::new() }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self { version: VERSION, sessions: BTreeMap::new(), pending_logouts: Vec::new() }
    }
}

impl TrustRecord {
    /// What a client is to accept.
    pub fn to_trust(&self) -> Result<Trust, NoAuthorities> {
        Ok(match self {
            Self::System => Trust::System,
            Self::Pinned { pin } => Trust::Pinned { pin: *pin, authorities: None },
            Self::CaFile { certificates, pin } => {
                let authorities = authorities_from_pem(certificates.as_bytes())?;
                match pin {
                    Some(pin) => Trust::Pinned { pin: *pin, authorities: Some(authorities) },
                    None => Trust::Authorities(authorities),
                }
            }
        })
    }

    /// The pins of the authorities that a server known by this may speak by; none where the operating system decides.
    pub fn pins(&self) -> Vec<Pin> {
        match self {
            Self::System => Vec::new(),
            Self::Pinned { pin } | Self::CaFile { pin: Some(pin), .. } => vec![*pin],
            Self::CaFile { certificates, pin: None } => {
                let certificates = authorities_from_pem(certificates.as_bytes()).unwrap_or_default();
                certificates.iter().filter_map(pin_of_certificate).collect()
            }
        }
    }

    /// Whether somebody who gives `offered` to prove a server means one that is known by this.
    pub fn agrees_with(&self, offered: &Self) -> bool {
        match (self, offered) {
            _ if self == offered => true,
            // A file with more authorities than before, such as the one that is to come.
            (Self::CaFile { pin, .. }, Self::CaFile { pin: offered_pin, .. }) => {
                let known = self.pins();
                pin == offered_pin
                    && !known.is_empty()
                    && known.iter().all(|pin| offered.pins().contains(pin))
            }
            (Self::Pinned { pin }, Self::CaFile { pin: None, .. }) => offered.pins().contains(pin),
            _ => false,
        }
    }

    /// What it is, for people.
    pub fn described(&self) -> String {
        let pins = || self.pins().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::System => "the system's certification authorities".to_owned(),
            Self::Pinned { pin } => pin.to_string(),
            Self::CaFile { pin: Some(pin), .. } => format!("a CA file, and {pin}"),
            Self::CaFile { .. } => format!("a CA file with {}", pins()),
        }
    }

    /// Its name in `status --json`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Pinned { .. } => "pinned",
            Self::CaFile { .. } => "ca_file",
        }
    }
}

fn expose<S: Serializer>(token: &SessionToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

fn token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionToken, D::Error> {
    let text = String::deserialize(deserializer)?;
    SessionToken::parse(&text).ok_or_else(|| serde::de::Error::custom("not a session token"))
}

fn expose_audience_token<S: Serializer>(token: &AudienceToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

fn audience_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AudienceToken, D::Error> {
    let text = String::deserialize(deserializer)?;
    AudienceToken::parse(&text).ok_or_else(|| serde::de::Error::custom("not a token for an audience"))
}
