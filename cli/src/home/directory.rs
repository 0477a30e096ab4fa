//! The directory: no other user can add, replace or delete files in it. The modes of the files protect what is in them.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{HomeError, io_error};
use crate::terminal::Terminal;

/// Checks the directory and returns whether it exists. Never changes its mode: it may be shared, as `/tmp` is.
pub(super) fn check(path: &Path, terminal: Terminal) -> Result<bool, HomeError> {
    let metadata = match path.symlink_metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(path)(error)),
    };
    match check_metadata(path, &metadata) {
        Err(HomeError::WritableByOthers { .. }) if !keeps_modes(path) => warn_no_modes(path, terminal),
        checked => checked?,
    }
    Ok(true)
}

/// Whether the file system of a directory keeps modes, by a file that is deleted at once.
fn keeps_modes(directory: &Path) -> bool {
    let Ok(probe) = tempfile::tempfile_in(directory) else { return true };
    let mode = 0o400;
    let changed = probe.set_permissions(Permissions::from_mode(mode)).and_then(|()| probe.metadata());
    changed.is_ok_and(|metadata| metadata.mode() & 0o777 == mode)
}

/// Rejects what is not a directory of this user that only this user can write to.
pub(super) fn check_metadata(path: &Path, metadata: &Metadata) -> Result<(), HomeError> {
    check_owner(path, metadata)?;
    if !metadata.is_dir() {
        return Err(HomeError::OtherKind { path: path.display().to_string(), expected: "a directory" });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & WRITABLE_BY_OTHERS != 0 {
        return Err(HomeError::WritableByOthers { path: path.display().to_string(), mode });
    }
    Ok(())
}

/// Permission bits that let other users create, replace or delete files in a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Only the owner of a file may delete or rename it.
const STICKY: u32 = 0o1000;

/// What to do about a directory with this mode that others can write to.
pub(super) fn writable_hint(path: &str, mode: u32) -> String {
    if mode & STICKY == 0 {
        format!("`chmod go-w {path}`, or set `INFRA_HOME` to a directory that only you can write to")
    } else {
        format!("set `INFRA_HOME` to a directory in it, such as {path}/infra: `infra` creates it")
    }
}

/// Permission bits of other users.
pub(super) const OTHERS: u32 = 0o077;

/// Warns that the mode of `path` was tightened, or that the file system does not support modes.
pub(super) fn warn_tightened(path: &Path, what: &str, now: io::Result<Metadata>, terminal: Terminal) {
    if now.is_ok_and(|metadata| metadata.mode() & OTHERS == 0) {
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
