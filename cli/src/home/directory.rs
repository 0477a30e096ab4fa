//! The directory: private to its owner.

use std::fs::{self, DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{HomeError, io_error};
use crate::terminal::Terminal;

/// Checks the directory and returns whether it exists. Tightens a mode that is too open, and reports that.
pub(super) fn check(path: &Path, terminal: Terminal) -> Result<bool, HomeError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(path)(error)),
    };
    check_owner(path, &metadata)?;
    if !metadata.is_dir() {
        return Err(HomeError::OtherKind { path: path.display().to_string(), expected: "a directory" });
    }
    if metadata.mode() & OTHERS != 0 {
        let tightened = fs::set_permissions(path, Permissions::from_mode(0o700));
        let now = tightened.and_then(|()| path.symlink_metadata());
        warn_tightened(path, "was accessible to other users: now only you have access (0700)", now, terminal);
    }
    Ok(true)
}

/// Permission bits of other users.
pub(super) const OTHERS: u32 = 0o077;

/// Warns once in a run that the mode of `path` was tightened, or that the file system does not support modes.
pub(super) fn warn_tightened(path: &Path, what: &str, now: io::Result<Metadata>, terminal: Terminal) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if now.is_ok_and(|metadata| metadata.mode() & OTHERS == 0) {
        terminal.warn(&format!("{} {what}", path.display()));
    } else if !WARNED.swap(true, Ordering::Relaxed) {
        terminal.warn(&format!(
            "{} cannot be made private: its file system does not support modes, so other users of this machine may be able to \
             read your sessions; set INFRA_HOME to a directory on another file system",
            path.display()
        ));
    }
}

/// As [`check`], but creates a missing directory.
pub(super) fn ensure(path: &Path, terminal: Terminal) -> Result<(), HomeError> {
    if check(path, terminal)? {
        return Ok(());
    }
    check_parent_owner(path)?;
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path))?;
    check(path, terminal).map(|_| ())
}

/// Refuses to create a directory in another user's directory. Under `sudo`, `HOME` may be the user's, who could not
/// use or remove files of root. A parent owned by root, such as `/tmp`, is accepted.
pub(super) fn check_parent_owner(path: &Path) -> Result<(), HomeError> {
    let exists = |parent: &&Path| parent.symlink_metadata().is_ok();
    let Some(parent) = path.ancestors().skip(1).find(exists) else { return Ok(()) };
    let owner = parent.metadata().map_err(io_error(parent))?.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let (path, parent) = (path.display().to_string(), parent.display().to_string());
        return Err(HomeError::OtherParentOwner { path, parent, owner });
    }
    Ok(())
}

/// Rejects links and files of other users.
pub(super) fn check_owner(path: &Path, metadata: &Metadata) -> Result<(), HomeError> {
    if metadata.is_symlink() {
        return Err(HomeError::Link { path: path.display().to_string() });
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return Err(HomeError::OtherOwner { path: path.display().to_string(), owner: metadata.uid() });
    }
    Ok(())
}
