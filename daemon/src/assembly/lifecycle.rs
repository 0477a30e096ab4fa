//! The state of a daemon from its start, and the operations and measurements that need the running daemon.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use infra_shared::api::ListedSessions;
use infra_shared::clock::Clock;
use infra_shared::origin::Origin;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::timeout;

use super::operations::{Operations, failure_of};
use crate::control::{
    AuthorityCertificates, DaemonState, DaemonStatus, Identity, NextAuthority, Operation, OperationFailure,
    OperationResult,
};
use crate::jwt::TokenKeyState;
use crate::listener::Requests;
use crate::monitoring::Observed;
use crate::secrets::{Backends, ReadReason};
use crate::sessions::Sessions;
use crate::store::{RememberedEndpoints, SessionSelector, StoreError, UserFilter};
use crate::tls::{Certificates, TlsError};
use crate::upkeep::{LiveSessions, RootKeyWatch, Supervision};

/// How long `infrad status` waits for each answer of the store.
const STATUS_WAIT: Duration = Duration::from_secs(3);

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
    pub(super) root_key_watch: RootKeyWatch,
    pub(super) supervision: Supervision,
    pub(super) operations: Operations,
}

impl Lifecycle {
    pub(super) fn new(backends: Backends, clock: Arc<dyn Clock>) -> Self {
        let progress = RwLock::new(Progress::Waiting("it is starting".to_owned()));
        Self { started_at: clock.now(), backends, clock, progress, addresses: RwLock::default() }
    }

    pub(super) fn listens_on(&self, address: SocketAddr) {
        self.addresses.write().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    /// Says why the start waits. Does nothing once the daemon serves.
    pub(super) fn wait_for(&self, cause: String) {
        let mut progress = self.progress.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*progress, Progress::Waiting(_)) {
            *progress = Progress::Waiting(cause);
        }
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
            (Operation::RotateTokenKeys { immediately }, Ok(running)) => {
                running.rotate_token_keys(immediately).await
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
            cache: running.operations.store.cache_counts(),
            is_root_key_missing: running.root_key_watch.problem().is_some(),
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
        let mut is_silent = false;
        let (running, waiting_for) = match progress {
            // The same check as `/readyz`.
            Ok(running) => {
                let checked = timeout(STATUS_WAIT, running.sessions.check_store()).await;
                is_silent = checked.is_err();
                let checked = checked.unwrap_or(Err(StoreError::NoAnswer { seconds: STATUS_WAIT.as_secs() }));
                (Some(running), checked.err().map(|error| error.to_string()))
            }
            Err(cause) => (None, Some(cause)),
        };
        let running = running.as_deref();
        let answering = running.filter(|_| !is_silent);
        let live_sessions = match answering {
            Some(running) => {
                timeout(STATUS_WAIT, running.sessions.count_live()).await.ok().and_then(Result::ok)
            }
            None => None,
        };
        let members = match answering {
            Some(running) => {
                let members = timeout(STATUS_WAIT, running.operations.store.members()).await;
                members.ok().and_then(Result::ok).unwrap_or_default()
            }
            None => Vec::new(),
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
            token_keys: running.map(Running::token_keys).unwrap_or_default(),
            reason: None,
            root_key_problem: running.and_then(|running| running.root_key_watch.problem()),
            live_sessions,
            members,
            database_server: running.and_then(|running| running.operations.store.server()),
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

    /// The published keys that sign audience tokens.
    fn token_keys(&self) -> Vec<TokenKeyState> {
        self.sessions.token_keys().map(|keys| keys.states()).unwrap_or_default()
    }

    async fn rotate_token_keys(&self, immediately: bool) -> OperationResult {
        let Some(keys) = self.sessions.token_keys() else {
            return OperationResult::Failed(OperationFailure {
                cause: "no service of the running daemon has signed tokens".to_owned(),
                is_transient: false,
                hint: Some("set `tokens: jwt` for a service, and restart the daemon: docs/jwt.md".to_owned()),
            });
        };
        let rotated = if immediately { keys.replace().await } else { keys.announce().await };
        to_operation_result(rotated.map(|()| keys.states()))
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
