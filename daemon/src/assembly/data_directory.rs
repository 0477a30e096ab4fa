//! A data directory in exclusive use, with its keys and its store open.

use std::path::PathBuf;
use std::sync::Arc;

use infra_shared::clock::Clock;
use infra_shared::origin::Origin;

use super::{AssemblyError, public_urls};
use crate::config::Config;
use crate::keys::Keys;
use crate::platform::{self, DataDirectoryLock};
use crate::store::{self, EndReason, Store};
use crate::tls::LocalAuthority;
use crate::upkeep::EpochFile;

/// A data directory that no other process uses.
pub struct DataDirectory {
    _lock: DataDirectoryLock,
    pub(super) path: PathBuf,
    pub(super) keys: Arc<Keys>,
    pub(super) store: Store,
    pub(super) epoch_file: EpochFile,
}

/// What to do with data that is older than the epoch file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// It brings back sessions that were ended since.
    Refused,
    /// All its sessions are ended.
    Accepted,
}

/// Takes the data directory for this process alone, creating it where it is not there.
pub fn lock(config: &Config) -> Result<DataDirectoryLock, AssemblyError> {
    platform::ensure_private_directory(&config.data_dir)?;
    Ok(platform::lock_data_directory(&config.data_dir)?)
}

impl DataDirectory {
    /// Takes the data directory, and opens what is in it, or creates it.
    pub async fn open(config: &Config) -> Result<Self, AssemblyError> {
        let lock = lock(config)?;
        let keys = Keys::open_or_create(&config.data_dir, &config.root_keys).await?;
        Self::open_with(lock, keys, config, Rollback::Refused).await
    }

    /// Opens the store of a data directory whose keys are open.
    pub(super) async fn open_with(
        lock: DataDirectoryLock,
        keys: Keys,
        config: &Config,
        rollback: Rollback,
    ) -> Result<Self, AssemblyError> {
        // Only now: a header that authenticates says which database counts.
        let current = keys.database_file();
        store::remove_strays(&config.data_dir, &current)?;
        let store = Store::open(&config.data_dir.join(current), &keys.database_key())?;
        let epoch_file = EpochFile::new(config.epoch_file.clone());
        let name = keys.status().store;
        let seen = epoch_file.read(&name)?.unwrap_or(0);
        let epoch = store.epoch()?;
        if epoch < seen {
            if rollback == Rollback::Refused {
                return Err(AssemblyError::RolledBack { data_dir: config.data_dir.display().to_string() });
            }
            let now = infra_shared::clock::SystemClock.now();
            let ended = store.end_all_sessions(now, EndReason::Restored).await?;
            let epoch = store.raise_epoch(seen).await?;
            epoch_file.raise(&name, epoch)?;
            tracing::warn!(ended, "the data was rolled back: ended all sessions in it");
        }
        Ok(Self { _lock: lock, path: config.data_dir.clone(), keys: Arc::new(keys), store, epoch_file })
    }

    /// The daemon's certification authority, with a leaf for the hosts of `public_urls`.
    pub async fn authority(
        &self,
        public_urls: &[Origin],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<LocalAuthority>, AssemblyError> {
        let names = public_urls::host_names(public_urls);
        Ok(LocalAuthority::load_or_create(self.store.clone(), self.keys.field_sealer(), clock, names).await?)
    }
}
