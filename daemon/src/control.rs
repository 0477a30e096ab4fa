//! The control socket, on which `infrad` commands send operations to the running daemon.
//!
//! The socket is `dataDir/control.sock`, mode 0600. It accepts only the daemon's own user and root. A command posts
//! an operation as JSON. The response is JSON, the bytes of a backup, or an error.

mod client;
mod server;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::jwt::TokenKeyState;
use crate::keys::KeyStatus;
use crate::platform;
use crate::store::Member;
use crate::tls::{CertificateState, LocalAuthority};

pub use client::{ControlError, call, call_for_file};
pub use server::ControlSocket;

const SOCKET: &str = "control.sock";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// How users reach and identify the daemon: [`Identity`].
    Identity,
    /// Returns [`DaemonStatus`].
    Status,
    /// Returns [`KeyStatus`].
    KeyStatus,
    /// Rewraps the data key under the first root key in the current configuration file. Returns [`KeyStatus`].
    Rewrap,
    /// Moves to a new data key. Returns [`KeyStatus`].
    Rotate,
    /// Creates a recovery key and returns its text.
    CreateRecovery,
    /// Returns the bytes of a backup.
    Backup,
    /// Returns the daemon CA's certificate and the next one: [`AuthorityCertificates`].
    Authority,
    /// Creates a CA that takes over after this time. Returns [`AuthorityCertificates`].
    RotateAuthority { overlap_seconds: u32, replaces: bool },
    /// Publishes the next key that signs audience tokens, or replaces all of them at once. Returns a list of
    /// [`TokenKeyState`].
    RotateTokenKeys { immediately: bool },
    /// Obtains a new certificate now. Returns [`DaemonStatus`].
    RenewCertificate,
    /// Lists the live sessions of a user (by email or subject) or of all users:
    /// [`infra_shared::api::ListedSessions`].
    Sessions { user: Option<String> },
    /// Returns the known endpoint hosts by provider: [`crate::store::RememberedEndpoints`].
    ProviderEndpoints,
    /// Revokes a session. Returns whether it existed and had not ended.
    #[serde(rename = "endSession")]
    RevokeSession { id: SessionID },
    /// Returns the ID of the session of a live audience token with this ID, or `null`.
    SessionOfAudienceToken { id: String },
    /// Revokes the sessions of a user (by email or subject) or of all users. Returns the number.
    #[serde(rename = "endSessions")]
    RevokeSessions { user: Option<String> },
}

impl Operation {
    /// Whether it may take minutes, because it waits for another server or processes all stored data.
    fn is_long(&self) -> bool {
        match self {
            Self::Rewrap
            | Self::Rotate
            | Self::Backup
            | Self::RenewCertificate
            | Self::Sessions { .. }
            | Self::RevokeSessions { .. } => true,
            Self::Identity
            | Self::Status
            | Self::KeyStatus
            | Self::CreateRecovery
            | Self::Authority
            | Self::RotateAuthority { .. }
            | Self::RotateTokenKeys { .. }
            | Self::ProviderEndpoints
            | Self::SessionOfAudienceToken { .. }
            | Self::RevokeSession { .. } => false,
        }
    }
}

pub enum OperationResult {
    Json(serde_json::Value),
    File(Box<dyn Read + Send>),
    Failed(OperationFailure),
}

/// Why an operation failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{cause}")]
pub struct OperationFailure {
    pub cause: String,
    /// Whether another server is unavailable, so that a retry may succeed.
    #[serde(rename = "is_away")]
    pub is_transient: bool,
    #[serde(default, rename = "advice")]
    pub hint: Option<String>,
}

/// How users reach and identify the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    #[serde(rename = "publicURLs")]
    pub public_urls: Vec<Origin>,
    pub pin: Pin,
}

/// The daemon's own CA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityCertificates {
    pub pin: Pin,
    #[serde(rename = "certificatePEM")]
    pub certificate_pem: String,
    pub next: Option<NextAuthority>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextAuthority {
    pub pin: Pin,
    #[serde(rename = "certificatePEM")]
    pub certificate_pem: String,
    pub takeover_at: Timestamp,
}

/// The status of the daemon. Values that are unknown while it waits for its root key are `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonStatus {
    pub schema: u32,
    pub state: DaemonState,
    /// What needs the operator, if the state is `degraded`.
    #[serde(default)]
    pub reason: Option<String>,
    pub waiting_for: Option<String>,
    pub version: String,
    pub pid: u32,
    pub started_at: Timestamp,
    pub identity: Option<Identity>,
    #[serde(default)]
    pub addresses: Vec<SocketAddr>,
    /// The certificates in use. The source for the public names comes first.
    pub certificates: Vec<CertificateState>,
    /// The next CA and when it takes over.
    #[serde(rename = "nextCA")]
    pub next_authority: Option<NextAuthority>,
    pub keys: Option<KeyStatus>,
    /// The published keys that sign audience tokens; empty if no service has signed tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_keys: Vec<TokenKeyState>,
    /// Why the daemon could not start again with the root keys in the configuration on disk.
    #[serde(default)]
    pub root_key_problem: Option<String>,
    pub live_sessions: Option<u64>,
    /// The daemons that share the store; empty for a store of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Member>,
    /// The server of the database that this daemon connected to last; `None` for a store of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_server: Option<String>,
    /// Reads of client secrets since the start, by reason.
    pub secret_reads: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    Ready,
    /// Users are served, and something needs the operator. The daemon reports `ready`; `infrad status` decides.
    Degraded,
    /// It waits for its root key and does not listen yet, or its store is unusable.
    Waiting,
}

impl OperationResult {
    pub fn json(value: &impl Serialize) -> Self {
        Self::Json(serde_json::to_value(value).expect("an answer is plain JSON"))
    }
}

impl AuthorityCertificates {
    pub fn of(authority: &LocalAuthority) -> Self {
        Self {
            pin: authority.pin(),
            certificate_pem: authority.certificate_pem(),
            next: NextAuthority::of(authority),
        }
    }
}

impl NextAuthority {
    pub fn of(authority: &LocalAuthority) -> Option<Self> {
        let (pin, takeover_at) = authority.next()?;
        Some(Self { pin, certificate_pem: authority.next_certificate_pem()?, takeover_at })
    }
}

/// Whether a daemon with this data directory may be asked. `true` if this user cannot tell.
pub fn may_run(data_dir: &Path) -> bool {
    !matches!(data_dir.join(SOCKET).try_exists(), Ok(false))
}

/// The path of the socket, and a path to it that the system accepts.
struct SocketPath {
    real: PathBuf,
    short: PathBuf,
    /// The directory that `short` refers to.
    _directory: Option<OwnedFd>,
}

impl SocketPath {
    /// If the path is too long, `short` goes through a descriptor of the directory.
    fn of(data_dir: &Path) -> io::Result<Self> {
        let real = data_dir.join(SOCKET);
        if real.as_os_str().len() <= platform::MAX_SOCKET_PATH {
            return Ok(Self { short: real.clone(), real, _directory: None });
        }
        let (short, directory) = platform::short_path(data_dir)?;
        Ok(Self { real, short: short.join(SOCKET), _directory: Some(directory) })
    }
}
