//! The directory: no other user can add, replace or delete files in it. The modes of the files protect what is in them.

use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{HomeError, io_error};
use crate::platform;
use crate::terminal::Terminal;

/// Checks the directory and returns whether it exists. Never changes its mode: it may be shared, as `/tmp` is.
pub(super) fn check(path: &Path, terminal: Terminal) -> Result<bool, HomeError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(path)(error)),
    };
    match check_metadata(path, &metadata) {
        Err(HomeError::WritableByOthers { .. }) if !platform::keeps_access(path) => {
            warn_no_modes(path, terminal);
        }
        checked => checked?,
    }
    Ok(true)
}

/// Rejects what is not a directory of this user that only this user can write to.
pub(super) fn check_metadata(path: &Path, metadata: &Metadata) -> Result<(), HomeError> {
    check_owner(path, metadata)?;
    if !metadata.is_dir() {
        return Err(HomeError::OtherKind { path: path.display().to_string(), expected: "a directory" });
    }
    match platform::writable_by_others(path, metadata).map_err(io_error(path))? {
        Some(openness) => Err(HomeError::WritableByOthers { path: path.display().to_string(), openness }),
        None => Ok(()),
    }
}

/// Warns that the mode of `path` was tightened, or that the file system does not support modes.
pub(super) fn warn_tightened(path: &Path, what: &str, is_private: bool, terminal: Terminal) {
    if is_private {
        terminal.warn(&format!("{} {what}", path.display()));
    } else {
        warn_no_modes(path, terminal);
    }
}

/// Warns once in a run.
fn warn_no_modes(path: &Path, terminal: Terminal) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        terminal.warn(&format!(
            "{} cannot be made private: its file system does not support {}, so other users of this machine may be able to \
             read your sessions; set INFRA_HOME to a directory on another file system",
            path.display(),
            platform::ACCESS_CONTROL
        ));
    }
}

/// As [`check`], but creates a missing directory.
pub(super) fn ensure(path: &Path, terminal: Terminal) -> Result<(), HomeError> {
    if check(path, terminal)? {
        return Ok(());
    }
    check_parent_owner(path)?;
    platform::create_private_directory(path).map_err(io_error(path))?;
    check(path, terminal).map(|_| ())
}

/// Refuses to create a directory in another user's directory. Under `sudo`, `HOME` may be the user's, who could not
/// use or remove files of root. A parent owned by root, such as `/tmp`, is accepted.
pub(super) fn check_parent_owner(path: &Path) -> Result<(), HomeError> {
    let exists = |parent: &&Path| parent.symlink_metadata().is_ok();
    let Some(parent) = path.ancestors().skip(1).find(exists) else { return Ok(()) };
    if let Some(owner) = platform::other_parent_owner(parent).map_err(io_error(parent))? {
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
    match platform::other_owner(path, metadata).map_err(io_error(path))? {
        Some(owner) => Err(HomeError::OtherOwner { path: path.display().to_string(), owner }),
        None => Ok(()),
    }
}
