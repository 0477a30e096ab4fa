//! The control socket, by which other `infrad` commands ask the daemon that holds the data directory.
//!
//! It is `dataDir/control.sock`, mode 0600, and answers nobody but the user whom the daemon runs as, and root.

mod client;
mod server;

use std::path::{Path, PathBuf};

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use serde::{Deserialize, Serialize};

pub use client::{ControlError, ask_identity};
pub use server::ControlSocket;

/// By what users reach and prove the daemon: the answer to `GET /identity`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    #[serde(rename = "publicURLs")]
    pub public_urls: Vec<Origin>,
    pub pin: Pin,
}

fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}
