//! Which files are a user's kubeconfig, and how one of them is replaced as a whole, by one program at a time.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::KubeconfigError;
use crate::durable::sync_directory;

/// A change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);
/// With the certificates of hundreds of clusters in it, one is smaller.
const MOST_BYTES: u64 = 8 * 1024 * 1024;

/// The files of a kubeconfig, the one that counts most first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(Vec<PathBuf>);

impl Files {
    /// What `--kubeconfig` names, else what `KUBECONFIG` lists, else `~/.kube/config`.
    pub fn find(named: Option<PathBuf>, list: Option<&OsStr>, home: Option<PathBuf>) -> Option<Self> {
        if let Some(named) = named {
            return Some(Self(vec![named]));
        }
        let mut files: Vec<PathBuf> = Vec::new();
        for path in list.map(std::env::split_paths).into_iter().flatten() {
            if !path.as_os_str().is_empty() && !files.contains(&path) {
                files.push(path);
            }
        }
        if files.is_empty() {
            files.push(home?.join(".kube/config"));
        }
        Some(Self(files))
    }

    pub(super) fn read(&self) -> Result<Vec<Contents>, KubeconfigError> {
        self.0.iter().map(|path| Contents::read(path)).collect()
    }
}

/// A file as it was read.
#[derive(Debug, Clone)]
pub(super) struct Contents {
    pub(super) path: PathBuf,
    /// `None` where there is no file.
    pub(super) text: Option<String>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self, KubeconfigError> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), text: None });
            }
            Err(error) => return Err(io_error(path)(error)),
            Ok(_) if bytes.len() as u64 > MOST_BYTES => {
                return Err(KubeconfigError::TooLarge { path: shown(path) });
            }
            Ok(_) => {}
        }
        let text = String::from_utf8(bytes).map_err(|_| KubeconfigError::NotText { path: shown(path) })?;
        Ok(Self { path: path.to_owned(), text: Some(text) })
    }
}

/// Refuses to write where somebody else's file would be replaced, or a link by a file. Makes the folder of a new one.
pub(super) fn prepare(path: &Path) -> Result<(), KubeconfigError> {
    let ours = rustix::process::geteuid().as_raw();
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => Err(KubeconfigError::Link { path: shown(path) }),
        Ok(metadata) if metadata.uid() != ours => {
            Err(KubeconfigError::OtherOwner { path: shown(path), owner: metadata.uid() })
        }
        Ok(metadata) if !metadata.is_file() => Err(KubeconfigError::NotAFile { path: shown(path) }),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = folder(path);
            let there = folder.ancestors().find(|parent| parent.exists()).unwrap_or(Path::new("."));
            let owner = there.metadata().map_err(io_error(there))?.uid();
            // With `sudo`, `HOME` may still be another's: what root leaves there they could not use.
            if owner != ours && owner != 0 {
                return Err(KubeconfigError::OtherOwner { path: shown(there), owner });
            }
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_error(folder))
        }
        Err(error) => Err(io_error(path)(error)),
    }
}

/// `kubectl`'s own lock: a file that lies beside while somebody changes the other.
pub(super) struct Lock {
    path: PathBuf,
}

impl Lock {
    /// Waits for it, with an end.
    pub(super) fn take(file: &Path) -> Result<Self, KubeconfigError> {
        let path = with_suffix(file, ".lock");
        let begun = Instant::now();
        loop {
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if begun.elapsed() >= PATIENCE {
                        return Err(KubeconfigError::Locked {
                            path: shown(&path),
                            seconds: PATIENCE.as_secs(),
                        });
                    }
                    thread::sleep(PAUSE);
                }
                Err(error) => return Err(io_error(&path)(error)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes `text` beside the file, makes it durable, and renames it into place with the old mode.
pub(super) fn write(path: &Path, text: &str) -> Result<(), KubeconfigError> {
    let mode = match path.symlink_metadata() {
        Ok(metadata) => metadata.mode() & 0o777,
        Err(_) => 0o600,
    };
    let write = || -> io::Result<()> {
        let folder = folder(path);
        let mut beside = tempfile::Builder::new()
            .prefix(".kubeconfig.")
            .permissions(Permissions::from_mode(0o600))
            .tempfile_in(folder)?;
        beside.write_all(text.as_bytes())?;
        // What the process makes is narrowed by its umask; the old file's mode was somebody's choice.
        // Where that is refused, as on a file system without modes, the narrow one stays.
        let _ = beside.as_file().set_permissions(Permissions::from_mode(mode));
        beside.as_file().sync_all()?;
        beside.persist(path)?;
        sync_directory(folder)
    };
    write().map_err(io_error(path))
}

/// Keeps a copy of the file beside it, under a name that nothing has yet.
pub(super) fn keep_copy(path: &Path, text: &str) -> Result<PathBuf, KubeconfigError> {
    let free = (1..1000)
        .map(|number| with_suffix(path, &format!(".before-infra-{number}")))
        .find(|path| path.symlink_metadata().is_err());
    let copy = free.unwrap_or_else(|| with_suffix(path, ".before-infra"));
    write(&copy, text).map(|()| copy)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> KubeconfigError {
    let path = shown(path);
    move |source| KubeconfigError::Io { path, source }
}
