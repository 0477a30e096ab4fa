//! Files and directories that only their owner may read.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use tempfile::TempDir;
use zeroize::Zeroizing;

use super::{PlatformError, credentials};

/// Ensures that `path` is a directory of this user with mode 0700, and creates it if needed.
pub fn ensure_private_directory(path: &Path) -> Result<(), PlatformError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(PlatformError::io(path))?;
    expect_private(path, &path.symlink_metadata().map_err(PlatformError::io(path))?)
}

/// Checks that [`ensure_private_directory`] would succeed and the directory is writable. Creates nothing.
pub fn check_private_directory(path: &Path) -> Result<(), PlatformError> {
    match path.symlink_metadata() {
        Ok(metadata) => {
            expect_private(path, &metadata)?;
            check_writable(path)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => check_missing_directory(path),
        Err(error) => Err(PlatformError::io(path)(error)),
    }
}

/// Checks that a file could be created at `path`, in an existing directory.
pub fn check_file_place(path: &Path) -> Result<(), PlatformError> {
    check_writable(directory_of(path))
}

/// Like [`check_file_place`], if the directory would be created too.
pub fn check_file_place_or_created(path: &Path) -> Result<(), PlatformError> {
    let directory = directory_of(path);
    match directory.try_exists() {
        Ok(false) => check_missing_directory(directory),
        _ => check_writable(directory),
    }
}

/// The first directory above that is there decides.
fn check_missing_directory(path: &Path) -> Result<(), PlatformError> {
    let above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
    let found = above.into_iter().find(|above| !matches!(above.try_exists(), Ok(false)));
    check_writable(found.unwrap_or(Path::new(".")))
}

fn check_writable(directory: &Path) -> Result<(), PlatformError> {
    let metadata = std::fs::metadata(directory).map_err(PlatformError::io(directory))?;
    if !metadata.is_dir() {
        return Err(PlatformError::OtherKind {
            path: directory.display().to_string(),
            expected: "a directory",
        });
    }
    let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    rustix::fs::access(directory, wanted).map_err(|error| PlatformError::io(directory)(error.into()))
}

fn expect_private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), PlatformError> {
    let name = || path.display().to_string();
    if metadata.is_symlink() {
        return Err(PlatformError::Link { path: name() });
    }
    if !metadata.is_dir() {
        return Err(PlatformError::OtherKind { path: name(), expected: "a directory" });
    }
    if metadata.uid() != own_user() {
        return Err(PlatformError::OtherOwner { path: name(), owner: metadata.uid() });
    }
    if metadata.mode() & 0o077 != 0 {
        return Err(PlatformError::TooOpen { path: name(), mode: 0o700 });
    }
    Ok(())
}

/// Reads a private file of at most `limit` bytes.
///
/// It must be a regular file, not a link, owned by this user or root, without permissions for others. Its group may
/// read it if root owns it: see [`is_too_open`].
pub fn read_private_file(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, PlatformError> {
    let name = || path.display().to_string();
    // Do not follow links, and do not block if the file is a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let place = credentials::handed(path);
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(place).map_err(
        |error| {
            if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::LOOP) {
                PlatformError::Link { path: name() }
            } else {
                PlatformError::io(path)(error)
            }
        },
    )?;
    // Check the open file, so that the checked file is the one that is read.
    let metadata = file.metadata().map_err(PlatformError::io(path))?;
    if !metadata.is_file() {
        return Err(PlatformError::OtherKind { path: name(), expected: "a file" });
    }
    if metadata.uid() != own_user() && metadata.uid() != 0 {
        return Err(PlatformError::OtherOwner { path: name(), owner: metadata.uid() });
    }
    if is_too_open(metadata.mode(), metadata.uid(), own_user()) {
        // Root can give a file to the group of the reader, which keeps its right to read.
        let kept = if metadata.uid() == own_user() { 0o700 } else { 0o740 };
        return Err(PlatformError::TooOpen { path: name(), mode: metadata.mode() & kept });
    }

    // Allocate the full size at once, because a growing buffer leaves copies behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut contents).map_err(PlatformError::io(path))?;
    if contents.len() > limit {
        return Err(PlatformError::TooLarge { path: name(), limit });
    }
    Ok(contents)
}

/// Reads a certificate or a private key that another program maintains, through links, such as those of a Kubernetes
/// mount. Returns the cause of a failure, without the path. Other users must not be able to read a private key.
pub fn read_pem_file(path: &Path, limit: usize, is_private: bool) -> Result<Zeroizing<Vec<u8>>, String> {
    // Allocate for the whole file: a growing buffer would leave copies of the key behind.
    let mut contents = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    // Do not block on a named pipe without a writer.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(credentials::handed(path));
    let file = file.map_err(|error| error.to_string())?;
    // Check the open file, so that the file checked is the file read.
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("this is not a regular file".to_owned());
    }
    if is_private && metadata.mode() & 0o007 != 0 {
        let mode = metadata.mode() & 0o640;
        return Err(format!(
            "other users can read this private key: run `chmod {mode:o} {}`",
            path.display()
        ));
    }
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut contents).map_err(|error| error.to_string())?;
    if contents.len() > limit {
        return Err(format!("the file is larger than {limit} bytes"));
    }
    Ok(contents)
}

/// Reads a file as systemd reads the source of a credential: with any owner and mode, through links.
pub fn read_as_manager(path: &Path, limit: usize) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut contents = Zeroizing::new(Vec::with_capacity(limit.saturating_add(1)));
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut contents)?;
    Ok(contents)
}

/// Whether users other than `owner` and its reader may use a file with this mode.
///
/// The group may read a file of root, because only root can give it to a group. Kubernetes (a Secret with `fsGroup`)
/// and systemd (a credential with an access list) pass files to unprivileged programs only this way. Root itself does
/// not need it.
pub(super) fn is_too_open(mode: u32, owner: u32, reader: u32) -> bool {
    let handed_to_group = owner == 0 && reader != 0 && mode & 0o077 == 0o040;
    mode & 0o077 != 0 && !handed_to_group
}

/// Creates `path` atomically and durably, with `mode` from the start. Fails if it exists.
pub fn create_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), PlatformError> {
    let write = || {
        write_beside(path, contents, mode)?.persist_noclobber(path)?;
        sync_directory_of(path)
    };
    write().map_err(PlatformError::io(path))
}

/// Replaces `path` atomically and durably, with `mode` from the start: writes a temporary file, syncs it, renames it
/// and syncs the directory.
pub fn replace_file(path: &Path, contents: &[u8], mode: u32) -> Result<(), PlatformError> {
    let write = || {
        write_beside(path, contents, mode)?.persist(path)?;
        sync_directory_of(path)
    };
    write().map_err(PlatformError::io(path))
}

/// Prefix of temporary files. Files left behind by a crash can be deleted.
pub const BESIDE: &str = ".new-";

/// Writes `contents` to a temporary file in the directory of `path` and syncs it.
fn write_beside(path: &Path, contents: &[u8], mode: u32) -> std::io::Result<tempfile::NamedTempFile> {
    let mut beside = tempfile::Builder::new()
        .prefix(BESIDE)
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
        .tempfile_in(directory_of(path))?;
    beside.write_all(contents)?;
    beside.as_file().sync_all()?;
    Ok(beside)
}

/// A directory among the temporary files, with mode 0700, removed when dropped.
pub fn temporary_directory(prefix: &str) -> std::io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(private).tempdir()
}

/// Makes the directory entry of `path` durable.
pub fn sync_directory(path: &Path) -> Result<(), PlatformError> {
    sync_directory_of(path).map_err(PlatformError::io(path))
}

fn sync_directory_of(path: &Path) -> std::io::Result<()> {
    File::open(directory_of(path))?.sync_all().or_else(unless_unsupported)
}

/// Ignores an error that says that the file system cannot sync directories. After a power loss, the previous version of
/// a file may then reappear, which nothing can prevent.
fn unless_unsupported(error: std::io::Error) -> std::io::Result<()> {
    static WARNED: std::sync::Once = std::sync::Once::new();
    let unsupported = [Errno::INVAL, Errno::NOSYS, Errno::NOTSUP].map(Errno::raw_os_error);
    if !error.raw_os_error().is_some_and(|code| unsupported.contains(&code)) {
        return Err(error);
    }
    WARNED.call_once(|| {
        tracing::warn!(
            %error,
            "a file system cannot sync directories: a file replaced just before a power loss may be lost"
        );
    });
    Ok(())
}

/// The directory of `path`; the current directory for a bare name.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o777
    }

    #[test]
    fn private_directory_is_created_with_mode_0700() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a/b");
        ensure_private_directory(&path).expect("a directory");
        assert_eq!(mode(&path), 0o700);
        ensure_private_directory(&path).expect("the same again");
    }

    #[test]
    fn directory_open_to_others_is_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("open");
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, Permissions::from_mode(0o750)).expect("a mode");
        assert!(matches!(ensure_private_directory(&path), Err(PlatformError::TooOpen { mode: 0o700, .. })));
    }

    #[test]
    fn link_to_directory_is_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("link");
        symlink(directory.path(), &path).expect("a link");
        assert!(matches!(ensure_private_directory(&path), Err(PlatformError::Link { .. })));
    }

    #[test]
    fn file_readable_by_others_is_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("secret");
        create_file(&path, b"s", 0o600).expect("a file");
        assert_eq!(read_private_file(&path, 10).expect("contents").as_slice(), b"s");
        for open in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, Permissions::from_mode(open)).expect("a mode");
            assert!(matches!(read_private_file(&path, 10), Err(PlatformError::TooOpen { mode: 0o600, .. })));
        }
    }

    #[test]
    fn root_file_may_be_group_readable_only() {
        const ROOT: u32 = 0;
        const OWN: u32 = 65_532;
        assert!(!is_too_open(0o440, ROOT, OWN) && !is_too_open(0o640, ROOT, OWN));
        for (mode, owner, reader) in [
            // Group-writable, group-executable or open to others.
            (0o460, ROOT, OWN),
            (0o450, ROOT, OWN),
            (0o444, ROOT, OWN),
            (0o404, ROOT, OWN),
            // The reader owns the file and could have kept it private.
            (0o440, OWN, OWN),
            (0o440, ROOT, ROOT),
        ] {
            assert!(is_too_open(mode, owner, reader), "{mode:o} of {owner}, read by {reader}");
        }
    }

    #[test]
    fn link_directory_and_large_file_are_rejected() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        create_file(&file, b"eleven bytes", 0o600).expect("a file");
        symlink(&file, &link).expect("a link");
        assert!(matches!(read_private_file(&link, 100), Err(PlatformError::Link { .. })));
        assert!(matches!(read_private_file(directory.path(), 100), Err(PlatformError::OtherKind { .. })));
        assert!(matches!(read_private_file(&file, 11), Err(PlatformError::TooLarge { limit: 11, .. })));
        assert!(read_private_file(&directory.path().join("none"), 1).expect_err("none").is_not_found());
    }

    #[test]
    fn file_is_replaced_atomically_with_its_mode() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        create_file(&path, b"old", 0o400).expect("a file");
        assert!(create_file(&path, b"other", 0o400).is_err());

        replace_file(&path, b"new", 0o600).expect("replaced");

        assert_eq!(fs::read(&path).expect("a file"), b"new");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 1);
    }
}
