//! Notices if the daemon could not start again with the root keys in the configuration on disk. A running daemon does not
//! need them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

use crate::keys::{RootKeySettings, StoreKeys};
use crate::platform::{self, blocking};

/// How long a look may take. A file system that takes longer is a problem for the next start.
const LIMIT: Duration = Duration::from_secs(10);

/// Reads the root keys from the configuration on disk. `None` if it cannot be used.
type ReadRootKeys = Box<dyn Fn(&Path) -> Option<Vec<RootKeySettings>> + Send + Sync>;

/// A look at the files, and the problem that it finds.
type Look = Pin<Box<dyn Future<Output = Option<String>> + Send>>;

/// The problem, as of the last look. Clones share it.
#[derive(Clone)]
pub struct RootKeyWatch(Arc<Shared>);

struct Shared {
    config_path: PathBuf,
    data_dir: PathBuf,
    read: ReadRootKeys,
    seen: Mutex<Seen>,
    problem: Mutex<Option<String>>,
    /// A look beyond its limit. No other starts before it ends, so a file system that hangs blocks one thread.
    unfinished: Mutex<Option<Look>>,
    /// What the look is reading. `None` before it starts.
    reading: Mutex<Option<String>>,
}

/// What the last look found.
struct Seen {
    root_keys: Vec<RootKeySettings>,
    config: Option<FileState>,
    files: Option<Vec<Option<FileState>>>,
    /// The id of the root key that wraps the data key. Another member may change it.
    needed: String,
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
        let seen =
            Mutex::new(Seen { root_keys, config: None, files: None, needed: String::new(), problem: None });
        Self(Arc::new(Shared {
            config_path,
            data_dir,
            read,
            seen,
            problem: Mutex::default(),
            unfinished: Mutex::default(),
            reading: Mutex::default(),
        }))
    }

    /// Why the daemon could not start again.
    pub fn problem(&self) -> Option<String> {
        lock(&self.0.problem).clone()
    }

    /// The root keys in the configuration on disk, or those of the last one that could be used.
    pub(super) async fn root_keys(&self) -> Vec<RootKeySettings> {
        let shared = self.0.clone();
        blocking(move || {
            (shared.read)(&shared.config_path).unwrap_or_else(|| lock(&shared.seen).root_keys.clone())
        })
        .await
    }

    /// Looks at the files and at what wraps the data key, and reads only files that changed.
    pub(super) async fn look(&self, keys: &Arc<StoreKeys>) {
        let found = self.find_within(LIMIT, keys).await;
        let before = std::mem::replace(&mut *lock(&self.0.problem), found.clone());
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

    /// Continues the look that has not ended, or starts one. If it does not end within `limit`, that is the problem.
    async fn find_within(&self, limit: Duration, keys: &Arc<StoreKeys>) -> Option<String> {
        let unfinished = lock(&self.0.unfinished).take();
        let mut look = unfinished.unwrap_or_else(|| {
            let (shared, keys) = (self.0.clone(), Arc::clone(keys));
            *lock(&shared.reading) = None;
            Box::pin(blocking(move || shared.find(&keys)))
        });
        if let Ok(found) = timeout(limit, look.as_mut()).await {
            return found;
        }
        *lock(&self.0.unfinished) = Some(look);
        match &*lock(&self.0.reading) {
            Some(file) => Some(format!("{file} cannot be read: its file system does not respond")),
            // Every thread for such work is busy.
            None => self.problem(),
        }
    }
}

impl Shared {
    fn reads(&self, file: String) {
        *lock(&self.reading) = Some(file);
    }

    fn find(&self, keys: &StoreKeys) -> Option<String> {
        let opened_with = &keys.root_key();
        self.reads(opened_with.describe());
        // systemd reads it for the next start. This process cannot read it.
        if let Some(problem) = opened_with.source_problem() {
            return Some(problem);
        }
        let mut seen = lock(&self.seen);
        self.reads(self.config_path.display().to_string());
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
        let native = native.chain([self.data_dir.join("keys.json")]).collect::<Vec<PathBuf>>();
        let state_of = |path: &PathBuf| {
            self.reads(path.display().to_string());
            FileState::of_key(path)
        };
        let files: Vec<Option<FileState>> = native.iter().map(state_of).collect();
        let needed = keys.status().root_key;
        if seen.files.as_ref() != Some(&files) || seen.needed != needed {
            let read = native.iter().map(|path| path.display().to_string());
            self.reads(read.collect::<Vec<String>>().join(" or "));
            let checking = keys.check(&self.data_dir, &seen.root_keys);
            let checked = tokio::runtime::Handle::current().block_on(checking);
            let problem =
                checked.err().map(|error| describe(&error.to_string(), &seen.root_keys, opened_with));
            (seen.files, seen.needed, seen.problem) = (Some(files), needed, problem);
        }
        seen.problem.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustix::fs::{CWD, Mode, mkfifoat};

    use super::*;
    use crate::keys::Keys;

    /// Shorter than any test, so that each look ends at its limit.
    const AT_ONCE: Duration = Duration::from_millis(1);

    /// A pipe that releases its readers in the end, also if the test fails.
    struct Pipe(PathBuf);

    impl Pipe {
        fn release(&self) {
            drop(File::options().read(true).write(true).open(&self.0));
        }
    }

    impl Drop for Pipe {
        fn drop(&mut self) {
            self.release();
        }
    }

    /// Opening a pipe without a writer blocks, as a file of a network that is gone does.
    #[tokio::test]
    async fn hanging_file_is_named_and_blocks_one_thread() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = Pipe(directory.path().join("infrad.yaml"));
        mkfifoat(CWD, &pipe.0, Mode::RUSR | Mode::WUSR).expect("a pipe");
        let [began, ended] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let (beginning, ending) = (began.clone(), ended.clone());
        let read: ReadRootKeys = Box::new(move |path| {
            beginning.fetch_add(1, Ordering::SeqCst);
            drop(File::open(path));
            ending.fetch_add(1, Ordering::SeqCst);
            None
        });
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let data_dir = directory.path().join("data");
        platform::ensure_private_directory(&data_dir).expect("a data directory");
        let keys = Keys::open_or_create(&data_dir, std::slice::from_ref(&root_key)).await.expect("keys");
        let keys = Arc::new(StoreKeys::File(keys));
        let watch = RootKeyWatch::new(pipe.0.clone(), data_dir, vec![root_key], read);
        let expected = format!("{} cannot be read: its file system does not respond", pipe.0.display());
        for _ in 0..60_000 {
            watch.find_within(AT_ONCE, &keys).await;
            if began.load(Ordering::SeqCst) > 0 {
                break;
            }
        }
        for _ in 0..50 {
            assert_eq!(watch.find_within(AT_ONCE, &keys).await.as_ref(), Some(&expected));
        }
        let looks = || (began.load(Ordering::SeqCst), ended.load(Ordering::SeqCst));
        assert_eq!(looks(), (1, 0));

        // It responds again: the look ends, and the next one begins.
        pipe.release();
        let found = watch.find_within(Duration::from_mins(1), &keys).await;
        assert!(found != Some(expected) && looks() == (1, 1), "{found:?}");
    }
}
