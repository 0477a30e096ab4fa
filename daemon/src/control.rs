//! The control socket, by which other `infrad` commands ask the daemon that holds the data directory.
//!
//! It is `dataDir/control.sock`, mode 0600, and answers nobody but the user whom the daemon runs as, and root. An
//! operation is posted as JSON; the answer is JSON, or the bytes of a backup, or why it failed.

mod client;
mod server;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::keys::KeyStatus;
use crate::platform;
use crate::tls::{CertificateState, LocalAuthority};

pub use client::{ControlError, ask, ask_for_file};
pub use server::ControlSocket;

const SOCKET: &str = "control.sock";

/// What the daemon can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// By what users reach and prove it: [`Identity`].
    Identity,
    /// [`DaemonStatus`].
    Status,
    /// [`KeyStatus`].
    KeyStatus,
    /// Wraps the data key under the first root key of the configuration file as it is now: [`KeyStatus`].
    Rewrap,
    /// Moves to a new data key: [`KeyStatus`].
    Rotate,
    /// Makes a recovery key: its text.
    CreateRecovery,
    /// The bytes of a backup.
    Backup,
    /// The certificates of the daemon's own authority, and of the one that is to come: [`AuthorityCertificates`].
    Authority,
    /// Has another authority take over after so many seconds: [`AuthorityCertificates`].
    RotateAuthority { overlap_seconds: u32, replaces: bool },
    /// Gets a new certificate now: [`DaemonStatus`].
    RenewCertificate,
    /// The live sessions of a user, by e-mail or subject, or of everybody: [`infra_shared::api::ListedSessions`].
    Sessions { user: Option<String> },
    /// The hosts of each provider's endpoints, by its name: [`crate::store::RememberedEndpoints`] for those that were asked.
    ProviderEndpoints,
    /// Ends a session; whether there was one that had not ended.
    EndSession { id: SessionID },
    /// Ends those of a user, by e-mail or subject, or of everybody; how many.
    EndSessions { user: Option<String> },
}

impl Operation {
    /// Whether it may take minutes: it waits for somebody else, or reads or writes all that is stored.
    fn is_long(&self) -> bool {
        match self {
            Self::Rewrap
            | Self::Rotate
            | Self::Backup
            | Self::RenewCertificate
            | Self::Sessions { .. }
            | Self::EndSessions { .. } => true,
            Self::Identity
            | Self::Status
            | Self::KeyStatus
            | Self::CreateRecovery
            | Self::Authority
            | Self::RotateAuthority { .. }
            | Self::ProviderEndpoints
            | Self::EndSession { .. } => false,
        }
    }
}

/// The answer to an operation.
pub enum Answered {
    Json(serde_json::Value),
    File(Box<dyn Read + Send>),
    Failed(OperationFailure),
}

/// Why an operation failed, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{cause}")]
pub struct OperationFailure {
    pub cause: String,
    /// Whether somebody else is away, so that trying again later may help.
    pub is_away: bool,
    /// What to try.
    #[serde(default)]
    pub advice: Option<String>,
}

/// By what users reach and prove the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    #[serde(rename = "publicURLs")]
    pub public_urls: Vec<Origin>,
    pub pin: Pin,
}

/// The daemon's own certification authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityCertificates {
    pub pin: Pin,
    #[serde(rename = "certificatePEM")]
    pub certificate_pem: String,
    pub next: Option<NextAuthority>,
}

/// The certification authority that is to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NextAuthority {
    pub pin: Pin,
    #[serde(rename = "certificatePEM")]
    pub certificate_pem: String,
    pub takeover_at: Timestamp,
}

/// How the daemon is. What is not known while it waits for its root key is `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DaemonStatus {
    pub schema: u32,
    pub state: DaemonState,
    /// Why it is not ready.
    pub waiting_for: Option<String>,
    pub version: String,
    pub process: u32,
    pub started_at: Timestamp,
    pub identity: Option<Identity>,
    /// What it serves HTTPS with, the source for its names first.
    pub certificates: Vec<CertificateState>,
    /// The certification authority of its own that is to come, and when.
    pub next_authority: Option<NextAuthority>,
    pub keys: Option<KeyStatus>,
    pub live_sessions: Option<u64>,
    /// How often the client secrets were read since the start, by reason.
    pub secret_reads: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DaemonState {
    /// It answers users.
    Ready,
    /// It waits for its root key and does not listen yet, or it listens and its store cannot be used.
    Waiting,
}

impl Answered {
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

/// The longest path that a socket can have: `sun_path` of unix(7), without the zero at its end.
const MAX_SOCKET_PATH: usize = 107;

/// Where the socket is, and a path to it that the system accepts.
struct SocketPath {
    real: PathBuf,
    short: PathBuf,
    /// What `short` leads through.
    _directory: Option<OwnedFd>,
}

impl SocketPath {
    /// Where the real path is too long, the short one leads through a descriptor of the directory.
    fn of(data_dir: &Path) -> io::Result<Self> {
        let real = data_dir.join(SOCKET);
        if real.as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self { short: real.clone(), real, _directory: None });
        }
        let directory = platform::open_directory(data_dir)?;
        let short = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()).into();
        Ok(Self { real, short, _directory: Some(directory) })
    }
}
