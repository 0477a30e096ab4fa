//! What differs by operating system: private files and directories, the lock of the data directory, locked memory.

mod files;
mod handed_sockets;
mod lock;
mod memory;
mod private;
mod service_manager;
mod usage;

use std::path::Path;

pub use files::allow_open_files;
pub use handed_sockets::HandedSockets;
pub use lock::{DataDirectoryLock, lock_data_directory};
pub use memory::lock_memory;
pub use private::{
    BESIDE, create_file, ensure_private_directory, is_credential, read_private_file, replace_file,
    sync_directory,
};
pub use service_manager::ServiceManager;
pub use usage::ProcessUsage;

/// Why a file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    #[error("{path} can be read by others: run `chmod {mode:o} {path}`")]
    TooOpen { path: String, mode: u32 },
    #[error("{path} is a link: name the real place")]
    Link { path: String },
    #[error("{path} belongs to another user (uid {owner}): run `chown` on it, or run infrad as that user")]
    OtherOwner { path: String, owner: u32 },
    #[error("{path} is not {expected}")]
    OtherKind { path: String, expected: &'static str },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: usize },
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error(
        "{path} is in use by another infrad (process {process}): stop that one first, or name another `dataDir`"
    )]
    Locked { path: String, process: String },
}

impl PlatformError {
    /// Whether the file or directory is simply not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::Io { path, source }
    }
}
