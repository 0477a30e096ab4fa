//! Operations for operators, performed by the process that holds the data directory: the running daemon, or the command
//! itself if no daemon runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use infra_shared::api::ListedSessions;
use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::sync::Mutex;

use super::{AssemblyError, DataDirectory};
use crate::audit::{Audit, Event};
use crate::config::Config;
use crate::control::{
    AuthorityCertificates, DaemonState, DaemonStatus, Identity, NextAuthority, Operation, OperationFailure,
    OperationResult,
};
use crate::keys::{KeyError, Keys, RootKeySettings};
use crate::listener::Requests;
use crate::monitoring::Observed;
use crate::secrets::{Backends, ReadReason};
use crate::sessions::Sessions;
use crate::store::{RememberedEndpoints, SessionSelector, Store, StoreError, UserFilter, is_disk_full};
use crate::tls::{Certificates, TlsError};
use crate::upkeep::{BackupError, LiveSessions, Supervision, create_backup, rotate};

/// Operations on an open data directory. Those that change something run one at a time.
pub struct Operations {
    data_dir: PathBuf,
    /// Its `keys` section is read again for each operation, so that a root key can be added while the daemon runs.
    config_path: PathBuf,
    keys: Arc<Keys>,
    store: Store,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) audit: Audit,
    one_at_a_time: Mutex<()>,
}

/// Progress of a daemon, for operators and monitoring.
pub(super) struct Lifecycle {
    started_at: Timestamp,
    backends: Backends,
    clock: Arc<dyn Clock>,
    progress: RwLock<Progress>,
    addresses: RwLock<Vec<SocketAddr>>,
}

enum Progress {
    Waiting(String),
    Running(Arc<Running>),
}

/// State of a serving daemon that operations need.
pub(super) struct Running {
    pub(super) public_urls: Vec<Origin>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) requests: Arc<Requests>,
    pub(super) live_sessions: LiveSessions,
    pub(super) supervision: Supervision,
    pub(super) operations: Operations,
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
        self.keys.rewrap(&self.root_keys()?).await?;
        tracing::info!(root_key = self.keys.status().root_key, "rewrapped the data key");
        Ok(OperationResult::json(&self.keys.status()))
    }

    async fn rotate(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        rotate(&self.keys, &self.store, &self.data_dir, &self.root_keys()?, self.clock.now()).await?;
        let version = self.keys.status().data_key_version;
        tracing::info!(data_key_version = version, "rotated the data key");
        Ok(OperationResult::json(&self.keys.status()))
    }

    async fn create_recovery(&self) -> Result<OperationResult, OperationFailure> {
        let _guard = self.one_at_a_time.lock().await;
        let key = self.keys.create_recovery(self.clock.now())?;
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

impl Lifecycle {
    pub(super) fn new(backends: Backends, clock: Arc<dyn Clock>) -> Self {
        let progress = RwLock::new(Progress::Waiting("it is starting".to_owned()));
        Self { started_at: clock.now(), backends, clock, progress, addresses: RwLock::default() }
    }

    pub(super) fn listens_on(&self, address: SocketAddr) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    pub(super) fn wait_for(&self, cause: String) {
        *self.progress.write().unwrap_or_else(PoisonError::into_inner) = Progress::Waiting(cause);
    }

    pub(super) fn serve(&self, running: Arc<Running>) {
        *self.progress.write().unwrap_or_else(PoisonError::into_inner) = Progress::Running(running);
    }

    pub(super) async fn not_ready_because(&self) -> Option<String> {
        match self.progress() {
            Err(cause) => Some(cause),
            Ok(running) => running.sessions.check_store().await.err().map(|error| error.to_string()),
        }
    }

    /// Performs an operation, or returns why the daemon cannot do so yet.
    pub(super) async fn perform(&self, operation: Operation) -> OperationResult {
        match (operation, self.progress()) {
            (Operation::Status, progress) => self.status(progress).await,
            (_, Err(cause)) => OperationResult::Failed(OperationFailure {
                cause: format!("the daemon is not ready: {cause}"),
                is_transient: true,
                hint: None,
            }),
            (Operation::Identity, Ok(running)) => OperationResult::json(&running.identity()),
            (Operation::Authority, Ok(running)) => running.authority(),
            (Operation::RotateAuthority { overlap_seconds, replaces }, Ok(running)) => {
                let overlap = SignedDuration::from_secs(overlap_seconds.into());
                match running.certificates.rotate_authority(overlap, replaces).await {
                    Ok(()) => running.authority(),
                    Err(error) => failed("rotateAuthority", &error),
                }
            }
            (Operation::Sessions { user }, Ok(running)) => {
                let filter = user.map_or(UserFilter::All, UserFilter::Named);
                let listed = running.sessions.list_as_operator(filter).await;
                to_operation_result(listed.map(|sessions| ListedSessions { sessions, now: self.clock.now() }))
            }
            (Operation::ProviderEndpoints, Ok(running)) => {
                to_operation_result(running.provider_endpoints().await)
            }
            (Operation::SessionOfAudienceToken { id }, Ok(running)) => {
                let store = &running.operations.store;
                to_operation_result(store.session_of_audience_token(&id, self.clock.now()).await)
            }
            (Operation::RevokeSession { id }, Ok(running)) => {
                let one = SessionSelector::Ids(vec![id]);
                to_operation_result(running.sessions.revoke_as_operator(one).await.map(|revoked| revoked > 0))
            }
            (Operation::RevokeSessions { user }, Ok(running)) => {
                let filter = user.map_or(UserFilter::All, UserFilter::Named);
                let selector = SessionSelector::Users { filter, except: None };
                to_operation_result(running.sessions.revoke_as_operator(selector).await)
            }
            (Operation::RenewCertificate, Ok(running)) => match running.certificates.renew().await {
                Ok(()) => self.status(Ok(running)).await,
                Err(error) => failed("renewCertificate", &error),
            },
            (operation, Ok(running)) => running.operations.perform(operation).await.unwrap_or_else(|| {
                OperationResult::Failed(OperationFailure {
                    cause: "unknown operation".to_owned(),
                    is_transient: false,
                    hint: None,
                })
            }),
        }
    }

    /// Current metrics, or `None` while the daemon waits.
    pub(super) fn observe(&self) -> Option<Observed> {
        let running = self.progress().ok()?;
        Some(Observed {
            certificates: running.certificates.states(),
            audit_failures: running.operations.audit.failures(),
            requests: running.requests.counts(),
            refused_connections: running.requests.refused.counts().to_vec(),
            sessions: running.sessions.counts(),
            live_sessions: running.live_sessions.last(),
            writes: running.operations.store.writes(),
            is_rolled_back: running.operations.store.check_age().is_err(),
            task_failures: running.supervision.failures(),
        })
    }

    fn progress(&self) -> Result<Arc<Running>, String> {
        match &*self.progress.read().unwrap_or_else(PoisonError::into_inner) {
            Progress::Waiting(cause) => Err(cause.clone()),
            Progress::Running(running) => Ok(running.clone()),
        }
    }

    async fn status(&self, progress: Result<Arc<Running>, String>) -> OperationResult {
        let (running, waiting_for) = match progress {
            // The same check as `/readyz`.
            Ok(running) => {
                let cause = running.sessions.check_store().await.err().map(|error| error.to_string());
                (Some(running), cause)
            }
            Err(cause) => (None, Some(cause)),
        };
        let running = running.as_deref();
        let live_sessions = match running {
            Some(running) => running.sessions.count_live().await.ok(),
            None => None,
        };
        let reads: BTreeMap<String, u64> = ReadReason::ALL
            .into_iter()
            .map(|reason| (reason.name().to_owned(), self.backends.reads(reason)))
            .collect();
        OperationResult::json(&DaemonStatus {
            schema: 1,
            state: if waiting_for.is_none() { DaemonState::Ready } else { DaemonState::Waiting },
            waiting_for,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.started_at,
            identity: running.map(Running::identity),
            addresses: self.addresses.read().unwrap_or_else(PoisonError::into_inner).clone(),
            certificates: running.map(|running| running.certificates.states()).unwrap_or_default(),
            next_authority: running.and_then(|running| NextAuthority::of(running.certificates.local())),
            keys: running.map(|running| running.operations.keys.status()),
            live_sessions,
            secret_reads: reads,
        })
    }
}

impl Running {
    fn identity(&self) -> Identity {
        Identity { public_urls: self.public_urls.clone(), pin: self.certificates.local().pin() }
    }

    async fn provider_endpoints(&self) -> Result<BTreeMap<String, Option<RememberedEndpoints>>, StoreError> {
        let mut endpoints = BTreeMap::new();
        for provider in self.sessions.providers() {
            let name = &provider.settings().name;
            endpoints.insert(name.clone(), self.operations.store.provider_endpoints(name).await?);
        }
        Ok(endpoints)
    }

    fn authority(&self) -> OperationResult {
        OperationResult::json(&AuthorityCertificates::of(self.certificates.local()))
    }
}

/// Answers with what the store returned, or with why it failed.
fn to_operation_result<T: Serialize>(result: Result<T, StoreError>) -> OperationResult {
    result.map_or_else(
        |error| OperationResult::Failed(failure_of(&error, None)),
        |value| OperationResult::json(&value),
    )
}

fn failed(operation: &str, error: &TlsError) -> OperationResult {
    tracing::error!(operation, %error, "an operation failed");
    OperationResult::Failed(OperationFailure {
        cause: error.to_string(),
        is_transient: error.is_transient(),
        hint: None,
    })
}

impl From<KeyError> for OperationFailure {
    fn from(error: KeyError) -> Self {
        failure_of(&error, Some(&error))
    }
}

impl From<BackupError> for OperationFailure {
    fn from(error: BackupError) -> Self {
        let key = if let BackupError::Key(key) = &error { Some(key) } else { None };
        failure_of(&error, key)
    }
}

impl From<AssemblyError> for OperationFailure {
    fn from(error: AssemblyError) -> Self {
        let key = if let AssemblyError::Key(key) = &error { Some(key) } else { None };
        failure_of(&error, key)
    }
}

/// Converts an error, with advice if a root key or a full disk caused it.
fn failure_of(error: &(dyn std::error::Error + 'static), key: Option<&KeyError>) -> OperationFailure {
    const FREE_SPACE: &str = "free space on the file system of `dataDir`: docs/runbooks.md#the-disk-is-full";
    let on_disk = is_disk_full(error).then_some(FREE_SPACE);
    OperationFailure {
        cause: error.to_string(),
        is_transient: key.is_some_and(KeyError::is_transient),
        hint: key.and_then(KeyError::hint).or(on_disk).map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DatabaseError;

    #[test]
    fn full_disk_has_advice_for_the_operator() {
        let failed = |is_disk_full| {
            let error = DatabaseError::new("what the engine says", is_disk_full);
            failure_of(&StoreError::from(error), None).hint
        };
        let hint = failed(true).expect("advice");
        assert!(hint.contains("docs/runbooks.md#the-disk-is-full"), "{hint}");
        assert_eq!(failed(false), None);
    }
}
