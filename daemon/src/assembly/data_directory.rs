//! A data directory in exclusive use, with its keys and store open.

use std::path::PathBuf;
use std::sync::Arc;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use jiff::Timestamp;

use super::opened_keys::OpenedKeys;
use super::{AssemblyError, public_urls};
use crate::audit::{Audit, Event};
use crate::config::Config;
use crate::jwt::TokenKeys;
use crate::keys::{self, Keys, MovedStore, StoreKeys};
use crate::platform::{self, DataDirectoryLock};
use crate::store::{self, MemberID, PostgresSettings, Store, StoreError, StoreState};
use crate::tls::LocalAuthority;
use crate::upkeep::{RollbackGuardFile, record_lost_commits};

/// An open data directory that no other process uses.
pub struct DataDirectory {
    _lock: DataDirectoryLock,
    pub(super) path: PathBuf,
    pub(super) keys: Arc<StoreKeys>,
    pub(super) store: Store,
    pub(super) rollback_guard_file: RollbackGuardFile,
    /// No daemon ever came to serve from it.
    is_new: bool,
    /// The next start creates a CA, because a shared store has lost its own.
    lacks_authority: bool,
    /// How many sessions were ended because older data was accepted; `None` if there was nothing to accept.
    ended: Option<usize>,
}

/// How new a store is, compared with what the rollback guard has seen.
pub(super) struct RollbackCheck {
    seen: Option<u64>,
    counter: u64,
    is_rolled_back: bool,
    /// Why another store is in use instead.
    replaced: Option<AssemblyError>,
}

impl RollbackCheck {
    pub(super) fn expect_current(self, config: &Config) -> Result<(), AssemblyError> {
        if let Some(error) = self.replaced {
            return Err(error);
        }
        if self.is_rolled_back {
            return Err(AssemblyError::RolledBack { data_dir: config.data_dir.display().to_string() });
        }
        Ok(())
    }
}

pub(super) fn check_rollback(
    store: &Store,
    rollback_guard_file: &RollbackGuardFile,
    name: &str,
) -> Result<RollbackCheck, AssemblyError> {
    let (seen, counter) = (rollback_guard_file.read(name)?, store.guard_counter());
    let is_rolled_back = counter < seen.unwrap_or(0) || store.check_age().is_err();
    Ok(RollbackCheck { seen, counter, is_rolled_back, replaced: None })
}

/// Why the store of `keys` is not in use: it was moved, or is being moved. Fails if it is incomplete.
pub(super) async fn check_replaced(
    store: &Store,
    moved: Option<MovedStore>,
    config: &Config,
) -> Result<Option<AssemblyError>, AssemblyError> {
    if let Some(moved) = moved {
        return Ok(Some(AssemblyError::Moved { data_dir: config.data_dir.display().to_string(), moved }));
    }
    let state = store.state().await?;
    let database = config.database.as_ref().map(PostgresSettings::describe).unwrap_or_default();
    let error = AssemblyError::Store(StoreError::NotReady { database, state });
    match state {
        StoreState::Ready => Ok(None),
        StoreState::Filling => Err(error),
        StoreState::Moving | StoreState::Moved => Ok(Some(error)),
    }
}

/// Exceptions that the operator accepted for this start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartOverrides {
    /// The data may be older than before. Ends all sessions.
    pub rollback: bool,
    /// A new store may be created even if the rollback guard knows another one, and a new CA if a shared store has lost its
    /// own.
    pub new_store: bool,
}

/// What [`DataDirectory::accept`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted older data and ended its sessions.
    Ended { sessions: usize },
    /// Created a store.
    Created,
    /// A shared store has lost its CA, and the next start creates another one.
    LacksAuthority,
    /// There was nothing to accept.
    Nothing,
}

async fn open_file(config: &Config, keys: &Keys) -> Result<Store, AssemblyError> {
    // Only after the key file was authenticated, because it names the current database.
    let current = keys.database_file();
    store::remove_strays(&config.data_dir, &current)?;
    Ok(Store::open(config.data_dir.join(current), keys.database_key()).await?)
}

/// Locks the data directory for this process and creates it if it is missing.
pub fn lock(config: &Config) -> Result<DataDirectoryLock, AssemblyError> {
    platform::ensure_private_directory(&config.data_dir)?;
    Ok(platform::lock_data_directory(&config.data_dir)?)
}

/// Whether a new store would be created.
///
/// Fails if the rollback guard knows another store. Usually `dataDir` is wrong or its volume is not mounted. Users
/// would find a daemon with a different fingerprint.
pub fn check_new_store(config: &Config, overrides: StartOverrides) -> Result<bool, AssemblyError> {
    // `infrad database create` makes a shared store.
    if config.database.is_some() || !keys::is_unused(&config.data_dir)? {
        return Ok(false);
    }
    let known = RollbackGuardFile::new(config.rollback_guard_file.clone()).knows_any()?;
    match &config.rollback_guard_file {
        Some(rollback_guard_file) if known && !overrides.new_store => Err(AssemblyError::NewStore {
            data_dir: config.data_dir.display().to_string(),
            rollback_guard_file: rollback_guard_file.display().to_string(),
        }),
        _ => Ok(true),
    }
}

/// Warns if a store that was started before is unknown to the rollback guard, because its file was removed or replaced.
fn warn_of_missing_record(rollback_guard_file: &RollbackGuardFile, check: &RollbackCheck) {
    if let (Some(path), None, 1..) = (rollback_guard_file.path(), check.seen, check.counter) {
        tracing::warn!(
            rollback_guard_file = %path.display(),
            "the rollback guard file has no entry for this store, although the store was used before: the file was \
             removed or replaced, so this start cannot detect older data"
        );
    }
}

impl DataDirectory {
    /// Applies `overrides` as a start would, for a unit, whose start takes no options. Does not serve.
    pub async fn accept(
        config: &Config,
        overrides: StartOverrides,
        clock: Arc<dyn Clock>,
    ) -> Result<Outcome, AssemblyError> {
        let is_new = check_new_store(config, overrides)?;
        if is_new && !overrides.new_store {
            return Err(AssemblyError::NoStore { data_dir: config.data_dir.display().to_string() });
        }
        let lock = lock(config)?;
        let keys = OpenedKeys::open_or_create(config).await?;
        let audit = super::open_audit(config.audit.as_ref(), clock)?;
        let data_directory = Self::open_with(lock, keys, config, overrides).await?;
        data_directory.record_accepted(&audit);
        Ok(match data_directory.ended {
            Some(sessions) => Outcome::Ended { sessions },
            None if is_new => Outcome::Created,
            None if data_directory.lacks_authority => Outcome::LacksAuthority,
            None => Outcome::Nothing,
        })
    }

    /// Locks the data directory and opens its contents. Creates nothing if there is no store.
    pub async fn open(config: &Config) -> Result<Self, AssemblyError> {
        // A daemon that runs can be asked, also by root, who does not own the directory.
        platform::expect_unlocked(&config.data_dir)?;
        if check_new_store(config, StartOverrides::default())? {
            return Err(AssemblyError::NoStore { data_dir: config.data_dir.display().to_string() });
        }
        let lock = lock(config)?;
        let keys = OpenedKeys::open_or_create(config).await?;
        Self::open_with(lock, keys, config, StartOverrides::default()).await
    }

    /// Opens the store of a data directory whose keys are open.
    pub(super) async fn open_with(
        lock: DataDirectoryLock,
        keys: OpenedKeys,
        config: &Config,
        overrides: StartOverrides,
    ) -> Result<Self, AssemblyError> {
        let (store, keys) = match keys {
            OpenedKeys::File(keys) => (open_file(config, &keys).await?, StoreKeys::File(keys)),
            OpenedKeys::Shared(database, keys) => {
                let store = Store::connect(database, keys.row_keys(), MemberID::random()).await?;
                (store, StoreKeys::Shared(keys))
            }
        };
        let store = store.with_cache_size(config.limits.cache_size).with_grace(config.grace);
        let rollback_guard_file = RollbackGuardFile::new(config.rollback_guard_file.clone());
        let name = keys.status().store;
        let replaced = check_replaced(&store, keys.moved(), config).await?;
        let check = RollbackCheck { replaced, ..check_rollback(&store, &rollback_guard_file, &name)? };
        warn_of_missing_record(&rollback_guard_file, &check);
        let now = store.clock(Arc::new(SystemClock)).now();
        // A member that joins a shared store is no news.
        let is_new = check.counter == 0 && config.database.is_none();
        let is_old = check.is_rolled_back || check.replaced.is_some() || store.check_clock(now).is_err();
        let ended = if overrides.rollback && is_old {
            let ended = store.accept_rollback(check.seen.unwrap_or(0), now).await?;
            rollback_guard_file.raise(&name, store.guard_counter())?;
            if check.replaced.is_some() {
                keys.use_again()?;
                store.use_again().await?;
            }
            tracing::warn!(
                ended,
                "accepted data that was rolled back or moved away, or whose clock was ahead: revoked all its sessions"
            );
            Some(ended)
        } else {
            check.expect_current(config)?;
            None
        };
        let lacks_authority = overrides.new_store && store.allow_new_authority().await?;
        if lacks_authority {
            tracing::warn!(
                "the database has lost the CA of its store: creating another, with another fingerprint"
            );
        }
        Ok(Self {
            _lock: lock,
            path: config.data_dir.clone(),
            keys: Arc::new(keys),
            store,
            rollback_guard_file,
            is_new,
            lacks_authority,
            ended,
        })
    }

    /// The clock for everything that the store keeps, read from that of the host.
    pub fn clock(&self, host: Arc<dyn Clock>) -> Arc<dyn Clock> {
        self.store.clock(host)
    }

    /// Records that older data was accepted. The sessions it ended have no events of their own.
    pub(super) fn record_accepted(&self, audit: &Audit) {
        if let Some(sessions_ended) = self.ended {
            audit.record(&Event::RollbackAccepted { sessions_ended });
        }
    }

    /// Revokes all sessions if the shared database was restored from a dump.
    pub(super) async fn revoke_if_restored(
        &self,
        audit: &Audit,
        now: Timestamp,
    ) -> Result<(), AssemblyError> {
        if let Some(revoked) = self.store.revoke_if_restored(now).await? {
            record_lost_commits(audit, revoked);
        }
        Ok(())
    }

    /// Says that the store is new, at each start until one has succeeded. A warning only if nothing would have detected
    /// that this host had another store.
    pub(super) fn report_if_new(&self, fingerprint: Pin) {
        if !self.is_new {
            return;
        }
        let data_dir = self.path.display();
        if self.rollback_guard_file.path().is_some() {
            tracing::info!(%data_dir, %fingerprint, "created a new store with a new CA");
        } else {
            tracing::warn!(
                %data_dir, %fingerprint,
                "created a new store with a new CA: if this host had data before, stop infrad and check `dataDir`"
            );
        }
    }

    /// Raises the counter of the rollback guard above any recorded value, so that the data counts as newer than that of
    /// the last run.
    pub(super) async fn raise_guard_counter(&self) -> Result<(), AssemblyError> {
        let counter = self.store.raise_guard_counter(0).await?;
        Ok(self.rollback_guard_file.raise(&self.keys.status().store, counter)?)
    }

    /// The keys that sign audience tokens, if a service has signed tokens.
    pub async fn token_keys(
        &self,
        config: &Config,
        clock: Arc<dyn Clock>,
        audit: Audit,
    ) -> Result<Option<Arc<TokenKeys>>, AssemblyError> {
        let Some(settings) = config.jwt.clone() else { return Ok(None) };
        let (store, sealer) = (self.store.clone(), self.keys.field_sealer());
        Ok(Some(TokenKeys::open(settings, store, sealer, clock, audit).await?))
    }

    /// The daemon's CA, with a leaf certificate for the hosts in `public_urls`.
    pub async fn authority(
        &self,
        public_urls: &[Origin],
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<LocalAuthority>, AssemblyError> {
        let names = public_urls::host_names(public_urls);
        Ok(LocalAuthority::load_or_create(self.store.clone(), self.keys.field_sealer(), clock, names).await?)
    }
}
