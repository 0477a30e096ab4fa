//! Owners and modes.

use std::fs::{DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::Access;
use rustix::process::geteuid;

use super::super::{Openness, Owner};

/// How a message says that only this user has access to a file.
pub(crate) const FILE_ALONE: &str = " (0600)";

/// Permission bits of other users.
const OTHERS: u32 = 0o077;
/// Permission bits that let other users create, replace or delete files in a directory.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// Only the owner of a file may delete or rename it.
const STICKY: u32 = 0o1000;
const ROOT: u32 = 0;

/// The owner of a file, unless it is this user.
#[expect(clippy::unnecessary_wraps, reason = "other systems ask for the owner")]
pub(crate) fn other_owner(_path: &Path, metadata: &Metadata) -> io::Result<Option<Owner>> {
    let uid = metadata.uid();
    let owner = || Owner { name: format!("uid {uid}"), is_system: uid == ROOT };
    Ok((uid != geteuid().as_raw()).then(owner))
}

/// The owner of a directory, unless it is this user or root.
pub(crate) fn other_parent_owner(directory: &Path) -> io::Result<Option<Owner>> {
    Ok(other_owner(directory, &directory.metadata()?)?.filter(|owner| !owner.is_system))
}

/// Whether other users can create, replace or delete files in a directory.
#[expect(clippy::unnecessary_wraps, reason = "other systems ask for the access")]
pub(crate) fn writable_by_others(_path: &Path, metadata: &Metadata) -> io::Result<Option<Openness>> {
    let mode = metadata.mode() & 0o7777;
    let openness = || Openness { description: format!("mode {mode:04o}"), is_shared: mode & STICKY != 0 };
    Ok((mode & WRITABLE_BY_OTHERS != 0).then(openness))
}

/// What to do about a directory that others can write to.
pub(crate) fn writable_hint(path: &str, openness: &Openness) -> String {
    if openness.is_shared {
        format!("set `INFRA_HOME` to a directory in it, such as {path}/infra: `infra` creates it")
    } else {
        format!("`chmod go-w {path}`, or set `INFRA_HOME` to a directory that only you can write to")
    }
}

/// Whether other users have any access to a file.
#[expect(clippy::unnecessary_wraps, reason = "other systems ask for the access")]
pub(crate) fn open_to_others(_path: &Path, metadata: &Metadata) -> io::Result<Option<Openness>> {
    let mode = metadata.mode() & 0o7777;
    let openness = || Openness { description: format!("mode {mode:04o} instead of 0600"), is_shared: false };
    Ok((mode & OTHERS != 0).then(openness))
}

/// Removes the access of other users to a file. Returns false if it cannot, or if the file system ignores it.
pub(crate) fn tighten(_path: &Path, file: &File) -> bool {
    let tightened = file.set_permissions(Permissions::from_mode(0o600));
    tightened.and_then(|()| file.metadata()).is_ok_and(|metadata| metadata.mode() & OTHERS == 0)
}

/// Whether the file system of a directory keeps modes, by a file that is deleted at once.
pub(crate) fn keeps_access(directory: &Path) -> bool {
    let Ok(probe) = tempfile::tempfile_in(directory) else { return true };
    let mode = 0o400;
    let changed = probe.set_permissions(Permissions::from_mode(mode)).and_then(|()| probe.metadata());
    changed.is_ok_and(|metadata| metadata.mode() & 0o777 == mode)
}

/// Creates a directory, and missing ones above it, for this user only.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether this user can create files in a directory. Creates none.
pub(crate) fn check_writable(directory: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}
