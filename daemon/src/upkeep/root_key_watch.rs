//! Notices if the daemon could not start again with the root keys in the configuration on disk. A running daemon does not
//! need them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::keys::{RootKeySettings, StoreKeys};
use crate::platform::{self, blocking};

/// Reads the root keys from the configuration on disk. `None` if it cannot be used.
type ReadRootKeys = Box<dyn Fn(&Path) -> Option<Vec<RootKeySettings>> + Send + Sync>;

/// The problem, as of the last look. Clones share it.
#[derive(Clone)]
pub struct RootKeyWatch(Arc<Shared>);

struct Shared {
    config_path: PathBuf,
    data_dir: PathBuf,
    read: ReadRootKeys,
    seen: Mutex<Seen>,
    problem: Mutex<Option<String>>,
}

/// What the last look found.
struct Seen {
    root_keys: Vec<RootKeySettings>,
    config: Option<FileState>,
    files: Option<Vec<Option<FileState>>>,
    problem: Option<String>,
}

/// Changes with the contents, the owner or the mode of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileState {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl RootKeyWatch {
    /// Starts with the `root_keys` that the daemon has read.
    pub fn new(
        config_path: PathBuf,
        data_dir: PathBuf,
        root_keys: Vec<RootKeySettings>,
        read: ReadRootKeys,
    ) -> Self {
        let seen = Mutex::new(Seen { root_keys, config: None, files: None, problem: None });
        Self(Arc::new(Shared { config_path, data_dir, read, seen, problem: Mutex::default() }))
    }

    /// Why the daemon could not start again.
    pub fn problem(&self) -> Option<String> {
        self.0.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files, and reads only those that changed. A file system that hangs delays only the next look.
    pub(super) async fn look(&self, keys: &Arc<StoreKeys>) {
        let (shared, keys) = (self.0.clone(), Arc::clone(keys));
        let found = blocking(move || shared.find(&keys)).await;
        let before = std::mem::replace(
            &mut *self.0.problem.lock().unwrap_or_else(PoisonError::into_inner),
            found.clone(),
        );
        match (before, found) {
            (before, Some(problem)) if before.as_ref() != Some(&problem) => tracing::error!(
                problem,
                "this daemon cannot start again with the root key in its configuration: keep it running, and follow \
                 docs/runbooks.md#the-root-key-is-lost"
            ),
            (Some(_), None) => {
                tracing::info!("the root key in the configuration opens the store again");
            }
            _ => {}
        }
    }
}

impl Shared {
    fn find(&self, keys: &StoreKeys) -> Option<String> {
        let opened_with = &keys.root_key();
        let is_credential = match opened_with {
            RootKeySettings::Native { path } => platform::credential_name(path).is_some(),
            _ => false,
        };
        // systemd reads it for the next start. This process cannot read it.
        if let Some(source) = opened_with.missing_file().filter(|_| is_credential) {
            return Some(format!("{} is missing", source.display()));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let config = FileState::of_config(&self.config_path);
        if seen.config != config {
            if let Some(root_keys) = (self.read)(&self.config_path) {
                seen.root_keys = root_keys;
            }
            (seen.config, seen.files) = (config, None);
        }
        let native = seen.root_keys.iter().filter_map(|root_key| match root_key {
            RootKeySettings::Native { path } => Some(platform::handed(path).into_owned()),
            _ => None,
        });
        let files: Vec<Option<FileState>> =
            native.chain([self.data_dir.join("keys.json")]).map(|path| FileState::of_key(&path)).collect();
        if seen.files.as_ref() != Some(&files) {
            let checking = keys.check(&self.data_dir, &seen.root_keys);
            let checked = tokio::runtime::Handle::current().block_on(checking);
            let problem =
                checked.err().map(|error| describe(&error.to_string(), &seen.root_keys, opened_with));
            (seen.files, seen.problem) = (Some(files), problem);
        }
        seen.problem.clone()
    }
}

/// Names the path that the daemon started with, if the configuration on disk names others.
fn describe(error: &str, on_disk: &[RootKeySettings], opened_with: &RootKeySettings) -> String {
    let problem = error.strip_prefix("root key: ").unwrap_or(error);
    let opened_with = opened_with.describe();
    if on_disk.iter().any(|root_key| root_key.describe() == opened_with) {
        return problem.to_owned();
    }
    format!("{problem} (the running infrad opened its data with {opened_with})")
}

impl FileState {
    /// A key that is a link is refused, so the link counts.
    fn of_key(path: &Path) -> Option<Self> {
        path.symlink_metadata().ok().map(|metadata| Self::from_metadata(&metadata))
    }

    /// A configuration may be a link, such as to a version of it.
    fn of_config(path: &Path) -> Option<Self> {
        path.metadata().ok().map(|metadata| Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Metadata) -> Self {
        Self {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
