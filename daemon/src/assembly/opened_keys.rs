//! Opens the keys of a store at the start. Waits while another server that this needs is away.

use std::time::Duration;

use super::AssemblyError;
use super::lifecycle::Lifecycle;
use crate::config::Config;
use crate::keys::{Keys, SharedKeys};
use crate::platform::ServiceManager;
use crate::store::{PostgresDatabase, PostgresSettings, StoreError};

/// Longest delay before another attempt.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The keys of a store, and its database if daemons share it.
pub(super) enum OpenedKeys {
    File(Keys),
    Shared(PostgresDatabase, SharedKeys),
}

impl OpenedKeys {
    /// Opens the keys. Creates those of a new data directory.
    pub(super) async fn open_or_create(config: &Config) -> Result<Self, AssemblyError> {
        match &config.database {
            None => Ok(Self::File(Keys::open_or_create(&config.data_dir, &config.root_keys).await?)),
            Some(settings) => Self::open_shared(config, settings).await,
        }
    }

    async fn open_shared(config: &Config, settings: &PostgresSettings) -> Result<Self, AssemblyError> {
        let database = PostgresDatabase::new(settings)?;
        let stored = database.keys().await?;
        let stored =
            stored.ok_or_else(|| StoreError::NoSchema { database: database.describe().to_owned() })?;
        let (origin, root_keys) = (database.describe(), &config.root_keys);
        let keys = SharedKeys::open(stored, origin, root_keys, &config.data_dir).await?;
        Ok(Self::Shared(database, keys))
    }

    /// Like [`Self::open_or_create`], but retries while the root key or the database is unavailable, and reports why.
    pub(super) async fn wait(config: &Config, lifecycle: &Lifecycle) -> Result<Self, AssemblyError> {
        let mut pause = Duration::from_secs(1);
        loop {
            match Self::open_or_create(config).await {
                Err(error) if error.is_transient() => {
                    let waiting = match error {
                        AssemblyError::Key(_) => {
                            "waiting for the root key; users cannot sign in until it is available"
                        }
                        _ => "waiting for the database; users cannot sign in until it is available",
                    };
                    tracing::warn!(
                        %error,
                        retry_in_seconds = pause.as_secs(),
                        "{waiting}"
                    );
                    ServiceManager::waiting(&error.to_string(), pause);
                    lifecycle.wait_for(error.to_string());
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                keys => return keys,
            }
        }
    }
}
