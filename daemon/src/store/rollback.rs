//! Detects older data and clocks that were set back.

use jiff::{SignedDuration, Timestamp};

use super::engine::{Engine, await_engine, on_engine};
use super::{Store, StoreError, time};
use crate::platform::uncancelled;

/// How far a clock may be behind the latest time seen. Normal corrections of a running clock are smaller.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Sessions that were revoked because the database had lost commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedAgain {
    pub cause: LossCause,
    pub sessions: usize,
}

/// How a database lost commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossCause {
    /// A standby took over that lacked some. The sessions are those that the member had revoked.
    Failover,
    /// A dump or another old copy was restored. All sessions were revoked.
    Restore,
}

impl LossCause {
    /// The stable name in the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Restore => "restore",
        }
    }
}

impl RevokedAgain {
    pub(super) fn log(&self) {
        let revoked = self.sessions;
        match self.cause {
            LossCause::Failover => tracing::error!(
                revoked,
                "the database lost commits, probably in a failover: revoked again what this daemon had revoked in the \
                 last ten minutes"
            ),
            LossCause::Restore => tracing::error!(
                revoked,
                "the database was restored from a dump or an old copy: revoked all its sessions"
            ),
        }
    }
}

impl Store {
    /// Returns the counter, which grows with every guarded change.
    pub fn guard_counter(&self) -> u64 {
        on_engine!(self, engine => engine.guard_counter())
    }

    /// Raises the counter above its value and above `seen`. Returns the new value.
    pub async fn raise_guard_counter(&self, seen: u64) -> Result<u64, StoreError> {
        await_engine!(self, engine => engine.raise_guard_counter(seen))
    }

    /// Fails if the rollback guard has found older data.
    pub fn check_age(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.check_age(),
            // Each row authenticates when it is read.
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Revokes all sessions if the shared database was restored from a dump. Returns what it did.
    pub async fn revoke_if_restored(&self, now: Timestamp) -> Result<Option<RevokedAgain>, StoreError> {
        let Engine::Postgres(engine) = &self.engine else { return Ok(None) };
        let (store, engine) = (self.clone(), engine.clone());
        uncancelled(async move {
            let Some(sessions) = Box::pin(engine.revoke_if_restored(now)).await? else { return Ok(None) };
            store.cache.clear();
            let revoked = RevokedAgain { cause: LossCause::Restore, sessions };
            revoked.log();
            Ok(Some(revoked))
        })
        .await
    }

    /// Compares all sessions with the digests, in batches. Fails if any data is older than it was. The write-ahead
    /// log grows while it runs.
    pub async fn verify_sessions(&self) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Sqlite(engine) => engine.verify_sessions().await,
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Returns the later of `now` and the latest time seen, so that setting the clock back revives nothing.
    pub fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        on_engine!(self, engine => engine.not_before_latest(now))
    }

    /// Fails if `now` is clearly before the latest time seen.
    pub fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        on_engine!(self, engine => engine.check_clock(now))
    }

    /// Revokes all sessions and accepts all other data as stored. Raises the counter above `seen` and sets the latest
    /// time to `now`. Returns the number of revoked sessions.
    pub async fn accept_rollback(&self, seen: u64, now: Timestamp) -> Result<usize, StoreError> {
        let store = self.clone();
        uncancelled(async move {
            let revoked = await_engine!(store, engine => engine.accept_rollback(seen, now))?;
            store.cache.clear();
            Ok(revoked)
        })
        .await
    }
}

/// The later of `now` and the latest time seen, in the form of the database.
pub(super) fn later(now: Timestamp, latest: i64) -> Timestamp {
    time::from_database(latest).map_or(now, |latest| now.max(latest))
}

/// Fails if `now` is clearly before `latest`.
pub(super) fn check_clock(now: Timestamp, latest: Timestamp) -> Result<(), StoreError> {
    if latest.duration_since(now) <= CLOCK_TOLERANCE {
        return Ok(());
    }
    Err(StoreError::ClockBehind { now, latest })
}
