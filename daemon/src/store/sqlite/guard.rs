//! The rollback guard: detects when a part of the database is older than it was.
//!
//! SQLCipher authenticates each page, but an earlier version of a page is authentic too. The guard's row therefore
//! holds a counter that grows with every change, and digests over all data that must not be undone.
//!
//! Memory holds the counter and digests as well, and the counter is also kept outside the data directory. Memory also
//! holds the revision of each changed or ended session, so an earlier row is rejected when it is read.

mod change;
mod digest;
mod known_state;
mod row;
mod verification;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use crate::keys::DigestKey;
use crate::platform::start_once;
use crate::store::rollback::{check_clock, later};
use crate::store::{StoreError, StoredSession};
use known_state::KnownState;
use row::GuardRow;

pub(super) use change::{CommittedChange, GuardedChange};
pub(super) use digest::{GUARDED, SessionState};
pub(super) use known_state::MinimumState;
pub(super) use verification::{accept, rekey, verify};

/// What this process knows about the age of the data.
pub(in crate::store) struct RollbackGuard {
    key: RwLock<DigestKey>,
    row: Mutex<GuardRow>,
    known: RwLock<KnownState>,
    /// The latest time seen, in milliseconds.
    latest: AtomicI64,
    /// Counts replacements of the key or of all known state.
    generation: AtomicU64,
    is_rolled_back: AtomicBool,
    /// The first older data found.
    mismatch: Mutex<Option<String>>,
}

impl RollbackGuard {
    /// Loads the guard's row and all changes, and compares them.
    pub(super) fn open(connection: &Connection, key: &DigestKey) -> Result<Self, StoreError> {
        let (row, known, agrees) = verification::load(connection, key)?;
        let guard = Self {
            key: RwLock::new(key.clone()),
            latest: AtomicI64::new(row.latest),
            row: Mutex::new(row),
            known: RwLock::new(known),
            generation: AtomicU64::new(0),
            is_rolled_back: AtomicBool::new(false),
            mismatch: Mutex::default(),
        };
        if !agrees {
            let _ = guard.report("changed or ended sessions differ from the rollback guard".to_owned());
        }
        Ok(guard)
    }

    /// Fails if older data was found. Cheap, because every validation calls it.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        if !self.is_rolled_back.load(Ordering::Acquire) {
            return Ok(());
        }
        let mismatch = self.mismatch.lock().unwrap_or_else(PoisonError::into_inner);
        Err(StoreError::RolledBack(mismatch.clone().unwrap_or_default()))
    }

    /// Stops all reads and changes, because the extent of the rollback is unknown.
    pub(super) fn report(&self, what: String) -> StoreError {
        let mut mismatch = self.mismatch.lock().unwrap_or_else(PoisonError::into_inner);
        if mismatch.is_none() {
            let accept = start_once("--accept-rollback");
            tracing::error!(
                what,
                accept,
                "part of the database was replaced with an older version: sessions cannot be validated; find out who \
                 can write to the data directory, then accept the data, which revokes all sessions"
            );
            *mismatch = Some(what.clone());
        }
        self.is_rolled_back.store(true, Ordering::Release);
        StoreError::RolledBack(what)
    }

    /// Returns the known state of a session. Call it before reading the row.
    pub(super) fn minimum_state(&self, id: &str) -> MinimumState {
        self.known().minimum_state(id)
    }

    /// Fails if `session` is older than `expected`.
    pub(super) fn check_session(
        &self,
        session: &StoredSession,
        minimum: MinimumState,
    ) -> Result<(), StoreError> {
        if minimum.allows(session.revision, session.ended.is_some()) {
            return Ok(());
        }
        Err(self.report(format!("session {} is stored without its last change", session.id)))
    }

    /// Starts a change. Fails if the guard's row is older than in memory.
    pub(super) fn begin(&self, transaction: &Transaction<'_>) -> Result<GuardedChange<'_>, StoreError> {
        self.check()?;
        let stored = GuardRow::read(transaction)?;
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        // Changes are serialized, so an earlier row than the one in memory was put back.
        if stored.counter < row.counter || (stored.counter == row.counter && stored != *row) {
            return Err(self.report("the rollback guard was set back".to_owned()));
        }
        *row = stored.clone();
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(GuardedChange::new(self, key, stored))
    }

    /// Applies a committed change in memory. Call it before the next change starts.
    pub(super) fn apply(&self, changed: CommittedChange) {
        self.latest.fetch_max(changed.row.latest, Ordering::AcqRel);
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = changed.row;
        self.known.write().unwrap_or_else(PoisonError::into_inner).apply(changed.effects);
    }

    /// Switches to another key and to the `row` computed under it.
    pub(super) fn rekeyed(&self, key: DigestKey, row: GuardRow) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Accepts the data as stored. `row` and `known` were computed from it.
    pub(super) fn reset(&self, row: GuardRow, known: KnownState) {
        self.latest.store(row.latest, Ordering::Release);
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        *self.mismatch.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.is_rolled_back.store(false, Ordering::Release);
    }

    pub(super) fn key(&self) -> DigestKey {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts replacements, so that a result that started before one can be discarded.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the last counter seen by this process.
    pub(super) fn counter(&self) -> u64 {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).counter
    }

    /// Returns the later of `now` and the latest time seen, so that setting the clock back revives nothing.
    pub(super) fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        later(now, self.latest.load(Ordering::Acquire))
    }

    /// Fails if `now` is clearly before the latest time seen.
    pub(super) fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        check_clock(now, self.not_before_latest(now))
    }

    fn known(&self) -> RwLockReadGuard<'_, KnownState> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
