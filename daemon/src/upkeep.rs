//! Maintains the daemon's data: deletes expired rows, renews certificates, updates the rollback guard's file. Also
//! runs the operators' rotations, backups and restores.

mod backup;
mod configured_providers;
mod expiry_log;
mod live_sessions;
mod moving;
mod providers;
mod restore;
mod rollback_guard_file;
mod root_key_watch;
mod rotation;
mod shared_keys;
mod supervision;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use infra_shared::clock::Clock;
use tokio::time::{Interval, MissedTickBehavior};

use crate::audit::{Audit, Event};
use crate::keys::{SharedKeys, StoreKeys};
use crate::platform::{self, PlatformError};
use crate::sessions::Sessions;
use crate::store::{MemberDescription, RevokedAgain, Store, StoreError};
use crate::tls::Certificates;

use expiry_log::ExpiryLog;
use shared_keys::Dropping;

pub use backup::{BackupError, create_backup, expect_backup, open_backup};
pub use configured_providers::ConfiguredProviders;
pub use live_sessions::LiveSessions;
pub use moving::{Move, MoveError, MoveOutcome};
pub use providers::run_provider_jobs;
pub use restore::{Restored, restore, restore_to_database};
pub use rollback_guard_file::RollbackGuardFile;
pub use root_key_watch::RootKeyWatch;
pub use rotation::rotate;
pub use shared_keys::SharedKeyOperation;
pub use supervision::Supervision;

/// The pause between checks for due work.
const INTERVAL: Duration = Duration::from_mins(1);
/// The longest delay before a change is recorded outside the data directory.
const GUARD_INTERVAL: Duration = Duration::from_secs(1);
/// The pause between looks for data keys that another member has published.
const KEYS_INTERVAL: Duration = Duration::from_secs(2);
/// The pause between looks for the root key's file.
const ROOT_KEY_INTERVAL: Duration = Duration::from_secs(5);
/// The pause between verifications of all sessions against the rollback guard.
const VERIFICATION_INTERVAL: Duration = Duration::from_mins(10);
/// The pause between probes while writes fail, and how many of these pauses apply while they succeed.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
const PROBED_EVERY: u32 = 60;
/// The pause between two heartbeats of this daemon.
const MEMBER_INTERVAL: Duration = Duration::from_secs(5);
/// With less room, each pause ends with a probe, so that a full disk shows before a user meets it.
const TIGHT: u64 = 1024 * 1024;

/// Dependencies of the background tasks.
pub struct Upkeep {
    pub data_dir: PathBuf,
    pub store: Store,
    pub sessions: Arc<Sessions>,
    pub configured: ConfiguredProviders,
    pub keys: Arc<StoreKeys>,
    pub certificates: Arc<Certificates>,
    pub rollback_guard_file: RollbackGuardFile,
    pub clock: Arc<dyn Clock>,
    pub audit: Audit,
    pub live_sessions: LiveSessions,
    pub root_key_watch: RootKeyWatch,
    /// Whether a rollback was reported since the start.
    pub rollback_reported: AtomicBool,
    /// What the other daemons on the same database learn of this one.
    pub member: MemberDescription,
}

/// Why the rollback guard's counter cannot be recorded.
#[derive(Debug, thiserror::Error)]
#[error("the rollback guard file: {0}; to use another path, set `rollbackGuardFile` in the configuration")]
pub struct RollbackGuardError(#[from] PlatformError);

impl Upkeep {
    /// Runs the background tasks until dropped. A task that fails logs the error and retries; one that panics is
    /// restarted. Neither affects the others.
    pub async fn run(self: Arc<Self>, supervision: Supervision) {
        let (expiry, guard, verification) = (self.clone(), self.clone(), self.clone());
        let (probe, root_key, member, keys) = (self.clone(), self.clone(), self.clone(), self.clone());
        let (certificates, watched) = (self.certificates.clone(), self.store.clone());
        let (changes, token_keys) = (self.clone(), self.clone());
        tokio::join!(
            supervision.keep_running("expiry", || expiry.clone().run_every_minute()),
            supervision.keep_running("changes of other members", || changes.clone().follow_changes()),
            supervision.keep_running("rollback guard", || guard.clone().watch_guard()),
            supervision.keep_running("verification", || verification.clone().verify_sessions()),
            supervision.keep_running("write probe", || probe.clone().probe_writes()),
            supervision.keep_running("root key", || root_key.clone().watch_root_key()),
            supervision.keep_running("members", || member.clone().report_to_members()),
            supervision.keep_running("keys", || keys.clone().follow_keys()),
            supervision.keep_running("token keys", || token_keys.clone().maintain_token_keys()),
            supervision.keep_running("certificates", || {
                let certificates = certificates.clone();
                async move { certificates.maintain().await }
            }),
            supervision.keep_running("watchdog", || watchdog::keep_alive(watched.clone())),
        );
    }

    async fn run_every_minute(self: Arc<Self>) {
        let mut ticks = ticks(INTERVAL);
        let mut expiry_log = ExpiryLog::default();
        loop {
            ticks.tick().await;
            expiry_log.look(&self.certificates.states(), self.clock.now());
            self.audit.record_counts();
            if let Err(error) = self.store.check_clock(self.clock.now()) {
                tracing::error!(%error, "sessions cannot be validated");
            }
            self.store.drop_expired_from_cache(self.clock.now());
            match self.store.purge(self.clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "deleted sessions that expired more than a day ago"),
                Err(error) => tracing::error!(%error, "cannot delete expired rows"),
            }
            if let Err(error) = self.configured.follow_members(&self.sessions).await {
                tracing::error!(%error, "cannot revoke the sessions that no member admits");
            }
            match self.sessions.forget_addresses().await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::info!(
                        count,
                        "deleted the stored addresses of sessions, because the configuration no longer records them"
                    );
                }
                Err(error) => tracing::error!(%error, "cannot delete the stored addresses of sessions"),
            }
            self.live_sessions.count(&self.sessions).await;
            match self.keys.forget_previous_ticket_key(self.clock.now()) {
                Ok(false) => {}
                Ok(true) => tracing::info!("deleted the ticket key from before the rotation"),
                Err(error) => {
                    tracing::error!(%error, "cannot delete the ticket key from before the rotation");
                }
            }
        }
    }

    async fn follow_changes(self: Arc<Self>) {
        let report = |again: RevokedAgain| record_lost_commits(&self.audit, again);
        self.store.follow_changes(&*self.clock, report).await;
    }

    async fn watch_guard(self: Arc<Self>) {
        let mut ticks = ticks(GUARD_INTERVAL);
        let (mut last_recorded, mut is_failing, mut is_recorded) = (None, false, false);
        loop {
            ticks.tick().await;
            if let Err(error) = self.store.check_age() {
                is_recorded = is_recorded || self.record_rollback(&error);
                continue;
            }
            match self.record_guard_counter(last_recorded) {
                Ok(counter) => (last_recorded, is_failing) = (Some(counter), false),
                // Log it once, not every second.
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::error!(
                        %error,
                        "cannot update the rollback guard file: until this works, a rollback of the data \
                         may stay undetected"
                    );
                }
            }
        }
    }

    async fn watch_root_key(self: Arc<Self>) {
        let mut ticks = ticks(ROOT_KEY_INTERVAL);
        loop {
            ticks.tick().await;
            self.root_key_watch.look(&self.keys).await;
        }
    }

    /// Tells the other daemons on the same database that this one runs.
    async fn report_to_members(self: Arc<Self>) {
        if !self.store.is_shared() {
            return;
        }
        let mut ticks = ticks(MEMBER_INTERVAL);
        let mut is_failing = false;
        loop {
            ticks.tick().await;
            let failed = self.store.heartbeat(&self.member).await.err();
            match (failed, is_failing) {
                (Some(error), false) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot reach the database: users can neither sign in nor sign out");
                }
                (None, true) => {
                    is_failing = false;
                    tracing::info!("the database is available again");
                }
                _ => {}
            }
        }
    }

    /// Ends the leases of this daemon's jobs, and removes it from the members.
    pub async fn leave_members(&self) {
        if let Err(error) = self.store.end_job_leases().await {
            tracing::warn!(%error, "cannot end the leases of jobs: other members wait until they are over");
            return;
        }
        if let Err(error) = self.store.leave_members().await {
            tracing::warn!(%error, "cannot remove this daemon from the members in the database");
        }
    }

    /// Follows what other members change about the keys of a shared store, and finishes their rotations.
    async fn follow_keys(self: Arc<Self>) {
        let Some(keys) = self.keys.shared() else { return };
        let (mut ticks, mut dropping, mut is_failing) = (ticks(KEYS_INTERVAL), Dropping::default(), false);
        loop {
            ticks.tick().await;
            match self.follow_keys_once(keys, &mut dropping).await {
                Ok(()) => is_failing = false,
                Err(_) if is_failing => {}
                // The heartbeat logs an outage.
                Err(BackupError::Store(error)) if error.is_transient() => {
                    tracing::debug!(%error, "cannot read the keys in the database");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot follow a rotation of the data key by another member");
                }
            }
        }
    }

    async fn follow_keys_once(&self, keys: &SharedKeys, dropping: &mut Dropping) -> Result<(), BackupError> {
        let known = keys.stored();
        let is_settled = !known.has_replaced() && keys.rows_without_recovery().is_empty();
        if is_settled && self.store.stored_keys().await?.is_none_or(|stored| stored == known) {
            return Ok(());
        }
        let (root_keys, store) = (self.root_key_watch.root_keys().await, &self.store);
        let (data_dir, clock) = (self.data_dir.as_path(), &*self.clock);
        SharedKeyOperation { keys, store, data_dir, root_keys: &root_keys, clock }.finish(dropping).await
    }

    /// Rotates the keys that sign audience tokens, and follows what other members change about them.
    async fn maintain_token_keys(self: Arc<Self>) {
        let Some(keys) = self.sessions.token_keys() else { return };
        let mut ticks = ticks(if self.store.is_shared() { KEYS_INTERVAL } else { INTERVAL });
        let mut is_failing = false;
        loop {
            ticks.tick().await;
            match keys.maintain().await {
                Ok(()) => is_failing = false,
                Err(_) if is_failing => {}
                // The heartbeat logs an outage.
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, "cannot read the keys that sign audience tokens");
                }
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot maintain the keys that sign audience tokens");
                }
            }
        }
    }

    /// Records for the next start what changed since the last interval, or that the data was rolled back.
    pub fn record_at_stop(&self) {
        match self.store.check_age() {
            Ok(()) => {
                if let Err(error) = self.record_guard_counter(None) {
                    tracing::error!(
                        %error,
                        "cannot update the rollback guard file: until this works, a rollback of the data \
                         may stay undetected"
                    );
                }
            }
            Err(error) => drop(self.record_rollback(&error)),
        }
    }

    /// Reports that part of the database is older than it was. Returns whether that is recorded for the next start.
    ///
    /// Raises the counter in the file, so that the next start also refuses the data: reads and writes after a rollback
    /// cannot be trusted, even if the database was repaired.
    fn record_rollback(&self, error: &StoreError) -> bool {
        let next = self.store.guard_counter().saturating_add(1);
        let raised = self.rollback_guard_file.raise(&self.keys.status().store, next);
        let recorded = raised.map_err(RollbackGuardError::from);
        if !self.rollback_reported.swap(true, Ordering::Relaxed) {
            self.audit.record(&Event::RollbackDetected { detail: &error.to_string() });
            if let Err(error) = &recorded {
                tracing::error!(%error, "cannot record the detected rollback: the next start may accept the data");
            }
        }
        recorded.is_ok()
    }

    async fn verify_sessions(self: Arc<Self>) {
        let mut ticks = ticks(VERIFICATION_INTERVAL);
        loop {
            ticks.tick().await;
            match self.store.verify_sessions().await {
                // The guard has logged it.
                Ok(()) | Err(StoreError::RolledBack(_)) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot verify the sessions against the rollback guard");
                }
            }
        }
    }

    /// Probes whether the store can be written: often after a failed write, rarely otherwise.
    async fn probe_writes(self: Arc<Self>) {
        let mut ticks = ticks(PROBE_INTERVAL);
        let mut is_failing = false;
        let mut left = 0;
        loop {
            ticks.tick().await;
            if left > 0 && self.store.check_writes().is_ok() && !self.is_disk_tight() {
                left -= 1;
                continue;
            }
            left = PROBED_EVERY;
            match self.store.probe().await {
                Ok(()) if is_failing => {
                    is_failing = false;
                    tracing::info!("the store is writable again");
                }
                Ok(()) => {}
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "the store cannot be written: users can neither sign in nor sign out");
                }
            }
        }
    }

    /// Whether the disk may be full at any moment, although the last write succeeded.
    fn is_disk_tight(&self) -> bool {
        platform::free_bytes(&self.data_dir).is_some_and(|left| left < TIGHT)
    }

    /// Records the counter outside the data directory if it is not `noted`.
    fn record_guard_counter(&self, last_recorded: Option<u64>) -> Result<u64, RollbackGuardError> {
        let counter = self.store.guard_counter();
        if last_recorded != Some(counter) {
            self.rollback_guard_file.raise(&self.keys.status().store, counter)?;
        }
        Ok(counter)
    }
}

/// Records that the database lost commits.
pub fn record_lost_commits(audit: &Audit, RevokedAgain { cause, sessions }: RevokedAgain) {
    audit.record(&Event::CommitsLost { cause: cause.as_str(), sessions_ended: sessions });
}

fn ticks(interval: Duration) -> Interval {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
