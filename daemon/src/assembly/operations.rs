//! Operations for operators, performed by the process that holds the data directory: the running daemon, or the command
//! itself if no daemon runs.

use std::path::PathBuf;
use std::sync::Arc;

use infra_shared::clock::Clock;
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use super::{AssemblyError, DataDirectory};
use crate::audit::{Audit, Event};
use crate::config::Config;
use crate::control::{Operation, OperationFailure, OperationResult};
use crate::keys::{KeyError, Rewrapped, RootKeySettings, SharedKeys, StoreKeys};
use crate::store::{Store, StoreError, is_disk_full};
use crate::upkeep::{BackupError, SharedKeyOperation, create_backup, rotate};

/// Operations on an open data directory. Those that change something run one at a time.
pub struct Operations {
    data_dir: PathBuf,
    /// Its `keys` section is read again for each operation, so that a root key can be added while the daemon runs.
    config_path: PathBuf,
    pub(super) keys: Arc<StoreKeys>,
    pub(super) store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) audit: Audit,
    one_at_a_time: Mutex<()>,
}

impl Operations {
    pub fn new(
        data_directory: &DataDirectory,
        config_path: PathBuf,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Self {
        Self {
            data_dir: data_directory.path.clone(),
            config_path,
            keys: data_directory.keys.clone(),
            store: data_directory.store.clone(),
            clock,
            audit,
            one_at_a_time: Mutex::new(()),
        }
    }

    /// Performs an operation that needs no running daemon. Returns `None` for others.
    pub async fn perform(&self, operation: Operation) -> Option<OperationResult> {
        let name = match operation {
            Operation::Rewrap => Some("rewrap"),
            Operation::Rotate => Some("rotate"),
            Operation::CreateRecovery => Some("create_recovery_key"),
            Operation::Backup => Some("backup"),
            _ => None,
        };
        let done = match operation {
            Operation::Identity
            | Operation::Status
            | Operation::Authority
            | Operation::RotateAuthority { .. }
            | Operation::RotateTokenKeys { .. }
            | Operation::RenewCertificate
            | Operation::Sessions { .. }
            | Operation::ProviderEndpoints
            | Operation::SessionOfAudienceToken { .. }
            | Operation::RevokeSession { .. }
            | Operation::RevokeSessions { .. } => return None,
            Operation::KeyStatus => Ok(OperationResult::json(&self.keys.status())),
            Operation::Rewrap => self.rewrap().await,
            Operation::Rotate => self.rotate().await,
            Operation::CreateRecovery => self.create_recovery().await,
            Operation::Backup => self.back_up().await,
        };
        if let Some(operation) = name {
            let outcome = if done.is_ok() { "succeeded" } else { "failed" };
            self.audit.record(&Event::KeyOperation { operation, outcome });
        }
        Some(done.unwrap_or_else(|failure| {
            tracing::error!(operation = name, error = %failure, "an operation failed");
            OperationResult::Failed(failure)
        }))
    }

    async fn rewrap(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        let root_keys = self.root_keys()?;
        let rewrapped = match self.keys.shared() {
            Some(keys) => {
                let replaced_root_key = self.keys.status().root_key;
                Box::pin(self.shared_key_operation(keys, &root_keys).rewrap()).await?;
                Rewrapped { keys: self.keys.status(), replaced_root_key }
            }
            None => self.keys.in_file()?.rewrap(&root_keys).await?,
        };
        let (root_key, replaced) = (&rewrapped.keys.root_key, &rewrapped.replaced_root_key);
        tracing::info!(root_key, replaced, "rewrapped the data key");
        Ok(OperationResult::json(&rewrapped))
    }

    async fn rotate(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        let root_keys = self.root_keys()?;
        match self.keys.shared() {
            Some(keys) => Box::pin(self.shared_key_operation(keys, &root_keys).rotate()).await?,
            None => rotate(&self.keys, &self.store, &self.data_dir, &root_keys, self.clock.now()).await?,
        }
        let version = self.keys.status().data_key_version;
        tracing::info!(data_key_version = version, "rotated the data key");
        Ok(OperationResult::json(&self.keys.status()))
    }

    fn shared_key_operation<'a>(
        &'a self,
        keys: &'a SharedKeys,
        root_keys: &'a [RootKeySettings],
    ) -> SharedKeyOperation<'a> {
        let (store, data_dir) = (&self.store, self.data_dir.as_path());
        SharedKeyOperation { keys, store, data_dir, root_keys, clock: &*self.clock }
    }

    async fn create_recovery(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        let key = match self.keys.shared() {
            Some(keys) => {
                let root_keys = self.root_keys()?;
                Box::pin(self.shared_key_operation(keys, &root_keys).create_recovery()).await?
            }
            None => self.keys.in_file()?.create_recovery(self.clock.now())?,
        };
        tracing::warn!("created a recovery key for this store and its backups");
        Ok(OperationResult::json(&key.expose().expose_secret()))
    }

    async fn back_up(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        let backup = create_backup(&self.keys, &self.store, &self.data_dir, self.clock.now()).await?;
        tracing::info!("created a backup");
        Ok(OperationResult::File(Box::new(backup)))
    }

    /// The root keys in the current configuration file.
    fn root_keys(&self) -> Result<Vec<RootKeySettings>, OperationFailure> {
        let config = Config::read(&self.config_path).map_err(|error| OperationFailure {
            cause: format!("cannot read the configuration: {error}"),
            is_transient: false,
            hint: None,
        })?;
        Ok(config.root_keys)
    }
}

impl From<KeyError> for OperationFailure {
    fn from(error: KeyError) -> Self {
        failure_of(&error, Some(&error))
    }
}

impl From<BackupError> for OperationFailure {
    fn from(error: BackupError) -> Self {
        let key = if let BackupError::Key(key) = &error { Some(key) } else { None };
        let is_transient = matches!(&error, BackupError::Store(store) if store.is_transient());
        let failure = failure_of(&error, key);
        Self { is_transient: failure.is_transient || is_transient, ..failure }
    }
}

impl From<AssemblyError> for OperationFailure {
    fn from(error: AssemblyError) -> Self {
        let key = if let AssemblyError::Key(key) = &error { Some(key) } else { None };
        Self { is_transient: error.is_transient(), ..failure_of(&error, key) }
    }
}

/// Converts an error, with advice if a root key or a full disk caused it.
pub(super) fn failure_of(
    error: &(dyn std::error::Error + 'static),
    key: Option<&KeyError>,
) -> OperationFailure {
    const FREE_SPACE: &str = "free space on the file system of `dataDir`: docs/runbooks.md#the-disk-is-full";
    let on_disk = is_disk_full(error).then_some(FREE_SPACE);
    OperationFailure {
        cause: error.to_string(),
        is_transient: key.is_some_and(KeyError::is_transient)
            || error.downcast_ref::<StoreError>().is_some_and(StoreError::is_transient),
        hint: on_disk.map(ToOwned::to_owned).or_else(|| key.and_then(KeyError::hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::PlatformError;
    use crate::store::DatabaseError;

    #[test]
    fn full_disk_has_advice_for_the_operator() {
        let failed = |is_disk_full| {
            let error = DatabaseError::new("what the engine says", is_disk_full);
            failure_of(&StoreError::from(error), None).hint
        };
        let hint = failed(true).expect("advice");
        assert!(hint.contains("docs/runbooks.md#the-disk-is-full"), "{hint}");
        let on_file =
            PlatformError::Io { path: "a".to_owned(), source: std::io::ErrorKind::StorageFull.into() };
        assert_eq!(failure_of(&BackupError::from(on_file), None).hint, Some(hint));
        assert_eq!(failed(false), None);
    }
}
