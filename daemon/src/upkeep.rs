//! What the daemon does for its own data: drops what has expired, renews its certificates, notes how new the data is;
//! and what operators ask of it: a new data key, a backup, its return.

mod backup;
mod epoch;
mod live_sessions;
mod providers;
mod restore;
mod rotation;
mod watchdog;

use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::Clock;

use crate::audit::Audit;
use crate::keys::Keys;
use crate::platform::PlatformError;
use crate::sessions::Sessions;
use crate::store::{Store, StoreError};
use crate::tls::Certificates;

pub use backup::{BackupError, create_backup, open_backup};
pub use epoch::EpochFile;
pub use live_sessions::LiveSessions;
pub use providers::ask_providers;
pub use restore::{Restored, restore};
pub use rotation::rotate;

/// How often is looked whether something is due.
const INTERVAL: Duration = Duration::from_mins(1);
/// How soon the end of a session is noted outside the data directory.
const EPOCH_INTERVAL: Duration = Duration::from_secs(1);

/// What is looked after.
pub struct Upkeep {
    pub store: Store,
    pub sessions: Arc<Sessions>,
    pub keys: Arc<Keys>,
    pub certificates: Arc<Certificates>,
    pub epoch_file: EpochFile,
    pub clock: Arc<dyn Clock>,
    pub audit: Audit,
    pub live_sessions: LiveSessions,
}

/// Why it is not known how new the data is.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the epoch file: {0}; `epochFile` in the configuration names another place for it")]
    File(#[from] PlatformError),
}

impl Upkeep {
    /// Runs until it is dropped. A failure is logged and tried again at the next turn.
    pub async fn run(self) {
        tokio::join!(
            self.look_after(),
            self.note_epochs(),
            self.certificates.look_after(),
            watchdog::keep_alive(&self.store),
        );
    }

    async fn look_after(&self) {
        let mut turns = tokio::time::interval(INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            self.audit.tell_refused();
            match self.store.purge(self.clock.now()).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "dropped sessions that ended long ago"),
                Err(error) => tracing::error!(%error, "cannot drop what has expired"),
            }
            match self.sessions.forget_addresses().await {
                Ok(0) => {}
                Ok(count) => {
                    tracing::info!(count, "forgot the addresses of sessions: they are not recorded any more");
                }
                Err(error) => tracing::error!(%error, "cannot forget the addresses of sessions"),
            }
            self.live_sessions.count(self.store.clone(), self.clock.now()).await;
            match self.keys.forget_previous_ticket_key(self.clock.now()) {
                Ok(false) => {}
                Ok(true) => tracing::info!("forgot the ticket key from before the rotation"),
                Err(error) => {
                    tracing::error!(%error, "cannot forget the ticket key from before the rotation");
                }
            }
        }
    }

    async fn note_epochs(&self) {
        let mut turns = tokio::time::interval(EPOCH_INTERVAL);
        turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut noted, mut is_failing) = (None, false);
        loop {
            turns.tick().await;
            match self.note_epoch(noted) {
                Ok(epoch) => (noted, is_failing) = (Some(epoch), false),
                // Once, not every second.
                Err(_) if is_failing => {}
                Err(error) => {
                    is_failing = true;
                    tracing::error!(%error, "cannot note how new the data is: a rollback would not be noticed");
                }
            }
        }
    }

    /// Notes the epoch, where it is not `noted`.
    fn note_epoch(&self, noted: Option<u64>) -> Result<u64, EpochError> {
        let epoch = self.store.epoch()?;
        if noted != Some(epoch) {
            self.epoch_file.raise(&self.keys.status().store, epoch)?;
        }
        Ok(epoch)
    }
}
