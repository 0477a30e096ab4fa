//! Notices if the file of the root key is missing. A running daemon does not need it, but cannot start again without it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::keys::Keys;
use crate::platform::blocking;

/// The missing file, as of the last look. Clones share it.
#[derive(Clone, Default)]
pub struct RootKeyWatch(Arc<Mutex<Option<PathBuf>>>);

impl RootKeyWatch {
    pub fn missing(&self) -> Option<PathBuf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for the file without reading it. A file system that hangs delays only the next look.
    pub(super) async fn look(&self, keys: &Keys) {
        let root_key = keys.root_key();
        let found = blocking(move || root_key.missing_file()).await;
        let before =
            std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), found.clone());
        match (before, found) {
            (None, Some(path)) => tracing::error!(
                path = %path.display(),
                "the root key is missing, and this daemon cannot start again without it: keep it running, and follow \
                 docs/runbooks.md#the-root-key-is-lost"
            ),
            (Some(path), None) => tracing::info!(path = %path.display(), "the root key is no longer missing"),
            _ => {}
        }
    }
}
