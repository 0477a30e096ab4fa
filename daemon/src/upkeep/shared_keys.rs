//! Rotates the data key of a shared store while members run, and follows rotations by other members.

use std::path::Path;
use std::time::Duration;

use infra_shared::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep};

use super::backup::BackupError;
use crate::keys::{RecoveryKey, RootKeySettings, SharedKeys, TICKET_LIFETIME};
use crate::store::{Job, Lease, MembersBehind, Store};

/// How long members may take to read a new data key. A member that stopped is no longer waited for by then.
const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(500);

/// What a rotation or a rewrap needs.
pub struct SharedKeyOperation<'a> {
    pub keys: &'a SharedKeys,
    pub store: &'a Store,
    pub data_dir: &'a Path,
    pub root_keys: &'a [RootKeySettings],
    pub clock: &'a dyn Clock,
}

/// When the replaced data key can be dropped.
#[derive(Default)]
pub(super) struct Dropping {
    /// Which data key replaced it, and since when no row needs the older one.
    unused_since: Option<(u32, Timestamp)>,
}

impl SharedKeyOperation<'_> {
    /// Publishes the next data key, waits for the running members, and seals all rows with it. Continues a rotation that
    /// was interrupted. The replaced key is dropped later, when no ticket needs it.
    pub async fn rotate(&self) -> Result<(), BackupError> {
        let _guard = self.keys.changing().lock().await;
        let lease = self.store.expect_lease(Job::KeyRotation).await?;
        let rotated = self.store.while_held(&lease, self.rotate_under(&lease)).await;
        self.store.end_lease(lease).await;
        rotated
    }

    async fn rotate_under(&self, lease: &Lease) -> Result<(), BackupError> {
        self.follow().await?;
        let before = self.keys.stored();
        if before.newest() == before.current {
            let row = self.keys.next_data_key(self.root_keys, self.data_dir).await?;
            self.store.add_data_key(&row, self.clock.now(), lease).await?;
            self.follow().await?;
        }
        let version = self.keys.stored().newest();
        self.wait_for_members(version, |behind| !matches!(behind, MembersBehind::Reading(_))).await?;
        self.store.use_data_key(version, lease).await?;
        self.follow().await?;
        self.wait_for_members(version, |behind| *behind == MembersBehind::None).await?;
        while self.store.reseal_some(lease).await? > 0 {}
        Ok(())
    }

    /// Wraps the keys under the first of the root keys. They stay the same.
    pub async fn rewrap(&self) -> Result<(), BackupError> {
        let _guard = self.keys.changing().lock().await;
        let lease = self.store.expect_lease(Job::KeyRotation).await?;
        let rewrapped = self.store.while_held(&lease, self.rewrap_under(&lease)).await;
        self.store.end_lease(lease).await;
        rewrapped
    }

    async fn rewrap_under(&self, lease: &Lease) -> Result<(), BackupError> {
        self.follow().await?;
        let rows = self.keys.rewrapped(self.root_keys, self.data_dir).await?;
        self.store.rewrap_keys(&rows, lease).await?;
        self.follow().await
    }

    /// Makes a recovery key, and stores all keys wrapped for it.
    pub async fn create_recovery(&self) -> Result<RecoveryKey, BackupError> {
        let _guard = self.keys.changing().lock().await;
        let lease = self.store.expect_lease(Job::KeyRotation).await?;
        let created = self.store.while_held(&lease, self.create_recovery_under(&lease)).await;
        self.store.end_lease(lease).await;
        created
    }

    async fn create_recovery_under(&self, lease: &Lease) -> Result<RecoveryKey, BackupError> {
        self.follow().await?;
        let (key, rows) = self.keys.next_recovery(self.clock.now());
        self.store.rewrap_keys(&rows, lease).await?;
        // From here on, the key is in use, and only this command has it.
        if let Err(error) = self.follow().await {
            tracing::warn!(%error, "cannot read back the keys that were wrapped for the new recovery key");
        }
        Ok(key)
    }

    /// Reads the key rows, and switches to what other members changed.
    pub async fn follow(&self) -> Result<(), BackupError> {
        let Some(stored) = self.store.stored_keys().await? else { return Ok(()) };
        let version = self.keys.stored().current;
        if self.keys.adopt(stored, self.root_keys, self.data_dir).await? {
            let current = self.keys.stored().current;
            if current != version {
                tracing::info!(data_key_version = current, "switched to the next data key");
            }
        }
        Ok(())
    }

    async fn wait_for_members(
        &self,
        version: u32,
        is_ready: impl Fn(&MembersBehind) -> bool,
    ) -> Result<(), BackupError> {
        let begun = Instant::now();
        loop {
            let behind = self.store.members_behind(version).await?;
            if is_ready(&behind) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                return Err(BackupError::MembersBehind { version });
            }
            sleep(PAUSE).await;
        }
    }

    /// Finishes what another member began: wraps all keys for the recovery key, seals rows that were in use, and drops the
    /// replaced data key once no row and no ticket needs it.
    pub(super) async fn finish(&self, dropping: &mut Dropping) -> Result<(), BackupError> {
        self.follow().await?;
        let stored = self.keys.stored();
        if !stored.has_replaced() {
            *dropping = Dropping::default();
            if self.keys.rows_without_recovery().is_empty() {
                return Ok(());
            }
        }
        // A rotation in progress finishes itself.
        let Ok(_guard) = self.keys.changing().try_lock() else { return Ok(()) };
        let Some(lease) = self.store.take_lease(Job::KeyRotation).await? else { return Ok(()) };
        let finished =
            self.store.while_held(&lease, self.finish_under(&lease, stored.current, dropping)).await;
        self.store.end_lease(lease).await;
        finished
    }

    async fn finish_under(
        &self,
        lease: &Lease,
        current: u32,
        dropping: &mut Dropping,
    ) -> Result<(), BackupError> {
        let rows = self.keys.rows_without_recovery();
        if !rows.is_empty() {
            tracing::warn!(
                keys = rows.len(),
                "wrapping keys for the recovery key that were stored without it"
            );
            self.store.rewrap_keys(&rows, lease).await?;
            self.follow().await?;
        }
        if !self.keys.stored().has_replaced()
            || self.store.members_behind(current).await? != MembersBehind::None
        {
            return Ok(());
        }
        while self.store.reseal_some(lease).await? > 0 {
            dropping.unused_since = None;
        }
        if dropping.is_due(current, self.clock.now()) && self.store.drop_replaced_data_keys(lease).await? {
            tracing::info!(data_key_version = current, "dropped the data key from before the rotation");
            self.follow().await?;
        }
        Ok(())
    }
}

impl Dropping {
    /// Whether no ticket sealed with the replaced key is valid any longer. Counts from the first call for `current`.
    fn is_due(&mut self, current: u32, now: Timestamp) -> bool {
        let since = match self.unused_since {
            // A clock that was set back starts again.
            Some((version, since)) if version == current && since <= now => since,
            _ => now,
        };
        self.unused_since = Some((current, since));
        now.duration_since(since) > TICKET_LIFETIME.saturating_add(SignedDuration::from_mins(1))
    }
}

#[cfg(test)]
mod tests;
