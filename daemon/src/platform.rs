//! Everything specific to an operating system: private files, locks, locked memory, accounts, systemd and terminals.

mod access;
mod accounts;
mod blocking;
mod credentials;
mod files;
mod handed_sockets;
mod hang_up;
mod hidden_input;
mod lock;
mod memory;
mod private_files;
mod run_as;
mod service_manager;
mod shell;
mod since_boot;
mod socket_path;
mod unit;
mod usage;

use std::io::ErrorKind;
use std::path::Path;

pub use access::{Access, Purpose};
pub use accounts::Account;
pub use blocking::{blocking, uncancelled};
pub use credentials::{
    credential_name, credential_source, credentials_directory, handed, is_credential, is_encrypted_credential,
};
pub use files::allow_open_files;
pub use handed_sockets::HandedSockets;
pub use hang_up::HangUp;
pub use hidden_input::HiddenInput;
pub use lock::{DataDirectoryLock, expect_unlocked, lock_data_directory, lock_holder};
pub use memory::lock_memory;
pub use private_files::{
    BESIDE, check_file_place, check_file_place_or_created, check_private_directory, create_file,
    ensure_private_directory, read_as_manager, read_pem_file, read_private_file, replace_file,
    sync_directory, temporary_directory,
};
pub use run_as::run_as;
pub use service_manager::ServiceManager;
pub use shell::quoted;
pub use since_boot::since_boot;
pub use socket_path::{MAX_SOCKET_PATH, short_path};
pub use unit::{SOCKET_UNIT, UNIT, Unit, start_once};
pub use usage::{ProcessUsage, free_bytes};

/// Why a file or directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    #[error("other users can read {path}: run `chmod {mode:o} {path}`")]
    TooOpen { path: String, mode: u32 },
    #[error("{path} is a symbolic link: configure the path that it points to")]
    Link { path: String },
    #[error("{path} belongs to another user (uid {owner}): {}", hint_for_owner(*owner))]
    OtherOwner { path: String, owner: u32 },
    #[error("{path} is not {expected}")]
    OtherKind { path: String, expected: &'static str },
    #[error("{path} is larger than {limit} bytes")]
    TooLarge { path: String, limit: usize },
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
    #[error("{path} is in use by another infrad (process {process})")]
    Locked { path: String, process: String },
    #[error(
        "cannot lock {path}: {source}; `dataDir` needs a file system with locks (flock), which keep a second daemon \
         away from the store: set `dataDir` to a directory on a local file system"
    )]
    NoLocks { path: String, source: std::io::Error },
}

/// Never suggests taking files away from the user that the daemon runs as.
fn hint_for_owner(owner: u32) -> String {
    if owner == 0 {
        return "infrad probably ran as root once; give it to the user that runs infrad with `chown`"
            .to_owned();
    }
    format!(
        "run infrad as that user: as root, `infrad as-service COMMAND` if systemd runs the daemon, otherwise \
         `runuser -u {} -- infrad COMMAND`",
        Account::name_of(owner)
    )
}

impl PlatformError {
    /// Whether the file or directory does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether this user lacks permission for the file or directory.
    pub fn is_permission_denied(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied)
    }

    /// A hint, if the message itself contains none.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::ReadOnlyFilesystem => Some(
                "configure a writable path; for a path outside the unit's own directories, `systemctl edit infrad` \
                 and add `ReadWritePaths=` under `[Service]`",
            ),
            Self::Io { source, .. }
                if [ErrorKind::StorageFull, ErrorKind::QuotaExceeded].contains(&source.kind()) =>
            {
                Some(
                    "free space on the file system of that path (`df PATH` names it), or configure a path on another \
                     file system",
                )
            }
            _ => None,
        }
    }

    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.display().to_string();
        move |source| Self::Io { path, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chown_is_suggested_only_for_root_owned_data() {
        let told = |owner| PlatformError::OtherOwner { path: "/data".to_owned(), owner }.to_string();
        assert!(
            told(998).contains("run infrad as that user") && !told(998).contains("chown"),
            "{}",
            told(998)
        );
        assert!(told(0).contains("`chown`"), "{}", told(0));
    }

    #[test]
    fn read_only_file_system_has_advice() {
        let error =
            |kind: std::io::ErrorKind| PlatformError::Io { path: "/data".to_owned(), source: kind.into() };
        let hint = error(std::io::ErrorKind::ReadOnlyFilesystem).hint();
        assert!(hint.is_some_and(|hint| hint.contains("ReadWritePaths=")));
        assert_eq!(error(std::io::ErrorKind::NotFound).hint(), None);
    }
}
