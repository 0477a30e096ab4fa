//! Contents of the files.

use std::collections::BTreeMap;

use infra_shared::api;
use infra_shared::http::{NoAuthorities, Trust, authorities_from_pem, pin_of_certificate};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::{ServiceToken, SessionID, SessionToken};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ClockOffset;
use super::document::VERSION;

/// `config.json`: the known servers.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    version: u32,
    pub current: Option<Origin>,
    pub servers: BTreeMap<Origin, Server>,
}

/// A known server.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub trust: TrustRecord,
    /// The last used provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Whether tokens are copied to the keyring.
    #[serde(default)]
    pub keyring: bool,
    /// The server's last CA rollover announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_rollover: Option<CARolloverRecord>,
    /// Trust records that announcements replaced. Scripts may still pass them to prove the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous_trust: Vec<TrustRecord>,
}

/// An announcement signed by the server's authority at that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CARolloverRecord {
    /// The announcement with the higher number wins.
    pub sequence: u64,
    /// The next authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// Whether the operating system's authorities may sign the server's certificate.
    #[serde(default)]
    pub public: bool,
}

/// How a server proves its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TrustRecord {
    /// By a certificate of the operating system's authorities.
    System,
    /// By a certificate of the authority with this key.
    Pinned { pin: Pin },
    /// By a certificate of the authorities in a PEM file, or only of the pinned one.
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

/// A session at one server, as last reported by the daemon.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    #[serde(serialize_with = "expose", deserialize_with = "token")]
    pub token: SessionToken,
    pub session: api::Session,
    pub user: api::User,
    /// How the server proved itself. The token is never sent with weaker proof, even if `config.json` is lost.
    pub trust: TrustRecord,
    #[serde(flatten)]
    pub clock_offset: ClockOffset,
    pub storage: Storage,
    /// Set if the daemon reported that the session ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<SessionEnd>,
    /// The last session opened elsewhere that was shown in a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_notified: Option<SessionID>,
    /// Audience tokens of this session, by the requested audience or name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub audience_tokens: BTreeMap<String, StoredAudienceToken>,
}

/// An audience token with its expiry by the daemon's clock.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredAudienceToken {
    #[serde(serialize_with = "expose_audience_token", deserialize_with = "audience_token")]
    pub token: ServiceToken,
    pub expires_at: Timestamp,
}

/// How a session ended, as reported by the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionEnd {
    Expired,
    Revoked,
}

/// Where a token is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    #[serde(rename = "file")]
    File,
    #[serde(rename = "file+keyring")]
    FileAndKeyring,
    #[serde(rename = "environment")]
    Environment,
}

/// A sign-out that has not reached the daemon. The proof can only revoke this session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingLogout {
    pub server: Origin,
    pub id: SessionID,
    pub proof: String,
    pub trust: TrustRecord,
    /// By the daemon's clock.
    pub expires_at: Timestamp,
    #[serde(flatten)]
    pub clock_offset: ClockOffset,
}

impl PendingLogout {
    pub fn new(server: &Origin, session: &Session) -> Self {
        Self {
            server: server.clone(),
            id: session.token.id().clone(),
            proof: session.token.logout_proof().to_text(),
            trust: session.trust.clone(),
            expires_at: session.session.expires_at,
            clock_offset: session.clock_offset,
        }
    }
}

impl CARolloverRecord {
    /// The record after the rollover. Its number stays, so that earlier announcements are rejected.
    #[must_use]
    pub fn completed(self) -> Self {
        Self { pin: None, public: false, ..self }
    }
}

impl Server {
    /// Records by which the server may prove itself if its own no longer works.
    pub fn announced_anchors(&self) -> Vec<TrustRecord> {
        let announced = self.ca_rollover;
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
    /// The identity check for a client.
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

    /// Pins of the authorities in this record. Empty for the operating system's.
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

    /// Whether `offered` is compatible with this record.
    pub fn agrees_with(&self, offered: &Self) -> bool {
        match (self, offered) {
            _ if self == offered => true,
            // The file may contain more authorities than before, such as the next one.
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

    /// Description for people.
    pub fn description(&self) -> String {
        let pins = || self.pins().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::System => "the system's certification authorities".to_owned(),
            Self::Pinned { pin } => pin.to_string(),
            Self::CaFile { pin: Some(pin), .. } => format!("a CA file and {pin}"),
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

fn expose_audience_token<S: Serializer>(token: &ServiceToken, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.expose())
}

fn audience_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ServiceToken, D::Error> {
    let text = String::deserialize(deserializer)?;
    ServiceToken::parse(&text).ok_or_else(|| serde::de::Error::custom("not a token for an audience"))
}
