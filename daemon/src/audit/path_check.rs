//! Checks if a path is safe for the audit log: only infrad's user and root may write or replace the file.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::platform::Account;

const GROUP_MAY_WRITE: u32 = 0o020;
const ALL_MAY_WRITE: u32 = 0o002;
/// Directory flag: only the owner of a file may remove or rename it.
const STICKY: u32 = 0o1000;

/// Why a path is unsafe for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct UnsafePath {
    pub cause: String,
    pub hint: String,
}

/// Finds why `path` is unsafe for the audit log of an infrad that runs as `account`. `None` if it is safe or missing.
pub fn find_fault(path: &Path, account: &Account) -> Option<UnsafePath> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let above = directory.and_then(|directory| {
        fault_of_directory(directory, &std::fs::metadata(directory).ok().filter(Metadata::is_dir)?, account)
    });
    above.or_else(|| fault_of_file(path, &path.symlink_metadata().ok()?, account))
}

fn fault_of_file(path: &Path, metadata: &Metadata, account: &Account) -> Option<UnsafePath> {
    let name = path.display();
    let unfit = |cause: String, hint: String| Some(UnsafePath { cause, hint });
    if metadata.is_symlink() {
        return unfit(
            format!("{name} is a symbolic link"),
            "set `audit.file` to the file that the link points to".to_owned(),
        );
    }
    // A pipe with a stalled reader would lose lines or block every login.
    if !metadata.is_file() {
        let hint = "set `audit.file` to a regular file, or log to the journal: `audit: {journal: true}`";
        return unfit(format!("{name} is not a regular file"), hint.to_owned());
    }
    if is_foreign(metadata, account) {
        return unfit(
            format!("{name} belongs to {}, who can change it", Account::name_of(metadata.uid())),
            format!("`chown {}: {name}`", account.name),
        );
    }
    if metadata.mode() & (GROUP_MAY_WRITE | ALL_MAY_WRITE) != 0 {
        return unfit(
            format!("other users can write to {name} (mode {:04o})", metadata.mode() & 0o7777),
            format!("`chmod go-w {name}`"),
        );
    }
    None
}

fn fault_of_directory(path: &Path, metadata: &Metadata, account: &Account) -> Option<UnsafePath> {
    let (name, mode) = (path.display(), metadata.mode());
    if is_foreign(metadata, account) {
        return Some(UnsafePath {
            cause: format!("{name} belongs to {}, who can replace the log", Account::name_of(metadata.uid())),
            hint: format!(
                "`chown {}: {name}`, or set `audit.file` to a file in another directory",
                account.name
            ),
        });
    }
    // Root may intentionally give a volume to a group (Kubernetes `fsGroup`).
    let too_wide = if metadata.uid() == 0 { ALL_MAY_WRITE } else { GROUP_MAY_WRITE | ALL_MAY_WRITE };
    (mode & too_wide != 0 && mode & STICKY == 0).then(|| UnsafePath {
        cause: format!("other users can replace files in {name} (mode {:04o})", mode & 0o7777),
        hint: format!("`chmod go-w {name}`, or set `audit.file` to a file in another directory"),
    })
}

fn is_foreign(metadata: &Metadata, account: &Account) -> bool {
    ![0, account.uid].contains(&metadata.uid())
}
