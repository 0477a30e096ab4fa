//! Owners and access lists. The system and administrators can read every file, as root can elsewhere, and so do not count as
//! other users.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

use super::super::{Openness, Owner};
use super::descriptor::{self, Descriptor};

/// How a message says that only this user has access to a file.
pub(crate) const FILE_ALONE: &str = "";

/// The owner of a file, unless it is this user or the system: files of an administrator may belong to the group.
pub(crate) fn other_owner(path: &Path, _metadata: &Metadata) -> io::Result<Option<Owner>> {
    other_parent_owner(path)
}

/// The owner of a directory, unless it is this user or the system.
pub(crate) fn other_parent_owner(directory: &Path) -> io::Result<Option<Owner>> {
    let owner = Descriptor::of(directory)?.owner()?;
    let is_other = owner != descriptor::own_sid()? && !descriptor::is_system(&owner);
    Ok(is_other.then(|| Owner { name: descriptor::name(&owner), is_system: false }))
}

/// Whether other users can create, replace or delete files in a directory.
pub(crate) fn writable_by_others(path: &Path, _metadata: &Metadata) -> io::Result<Option<Openness>> {
    Ok(openness(&Descriptor::of(path)?.may_write()?))
}

/// What to do about a directory that others can write to.
pub(crate) fn writable_hint(path: &str, _openness: &Openness) -> String {
    format!("set `INFRA_HOME` to a directory in it, such as {path}\\infra: `infra` creates it for you alone")
}

/// Whether other users have any access to a file.
pub(crate) fn open_to_others(path: &Path, _metadata: &Metadata) -> io::Result<Option<Openness>> {
    Ok(openness(&Descriptor::of(path)?.may_read_or_write()?))
}

fn openness(others: &[String]) -> Option<Openness> {
    let names: Vec<String> = others.iter().map(|sid| descriptor::name(sid)).collect();
    let description = format!("access for {}", names.join(", "));
    (!names.is_empty()).then_some(Openness { description, is_shared: false })
}

/// Removes the access of other users to a file. Returns false if it cannot, or if the file system ignores it.
pub(crate) fn tighten(path: &Path, _file: &File) -> bool {
    let is_private = || {
        Descriptor::of(path).and_then(|list| list.may_read_or_write()).is_ok_and(|others| others.is_empty())
    };
    descriptor::protect(path).is_ok() && is_private()
}

/// Whether the file system of a directory keeps access lists: FAT has none, and then everyone has access.
pub(crate) fn keeps_access(directory: &Path) -> bool {
    Descriptor::of(directory).is_ok_and(|descriptor| descriptor.has_list())
}

/// Creates a directory for this user only, and missing ones above it.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match descriptor::create_directory(path) {
        // Another process of this program was faster. The caller checks what is there.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Whether this user can create files in a directory. Only creating one tells, since more than a list decides. The file is
/// deleted when it is closed.
pub(crate) fn check_writable(directory: &Path) -> io::Result<()> {
    tempfile::tempfile_in(directory).map(drop)
}
