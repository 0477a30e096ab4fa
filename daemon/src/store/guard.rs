//! The rollback guard: notices when a part of the database is older than it was.
//!
//! Pages of the database are authentic, whatever wrote the file, but an earlier version of a page is authentic, too. So one
//! row holds a number that grows with every change, and digests over what must not come undone. The digests and the number
//! are also kept in memory, and the number outside of the data directory. A session that was changed or ended is known in
//! memory by its revision: an earlier state of its row is rejected at the moment when it is read.

mod change;
mod digest;
mod known;
mod row;
mod verification;

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction};

use super::{StoreError, StoredSession, time};
use crate::keys::DigestKey;
use known::Known;
use row::GuardRow;

pub(super) use change::{Change, Changed};
pub(super) use digest::{GUARDED, SessionState};
pub(super) use known::Expected;
pub(super) use verification::{accept, rekey, verify};

/// How far behind the latest time that the store has seen a clock may be: corrections of a running clock are smaller.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// What this process knows of how new the database is.
pub(super) struct Guard {
    key: RwLock<DigestKey>,
    row: Mutex<GuardRow>,
    known: RwLock<Known>,
    /// The latest time that was seen, in milliseconds.
    latest: AtomicI64,
    /// How often the key or all that is known was replaced.
    replaced: AtomicU64,
    is_older: AtomicBool,
    /// What was found to be older than it should be, first.
    found: Mutex<Option<String>>,
}

impl Guard {
    /// Reads the guard's row and all that was changed, and compares them.
    pub(super) fn open(connection: &Connection, key: &DigestKey) -> Result<Self, StoreError> {
        let (row, known, agrees) = verification::load(connection, key)?;
        let guard = Self {
            key: RwLock::new(key.clone()),
            latest: AtomicI64::new(row.latest),
            row: Mutex::new(row),
            known: RwLock::new(known),
            replaced: AtomicU64::new(0),
            is_older: AtomicBool::new(false),
            found: Mutex::default(),
        };
        if !agrees {
            let _ =
                guard.report("what was changed or ended does not agree with the rollback guard".to_owned());
        }
        Ok(guard)
    }

    /// Fails once anything was found to be older than it should be.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if !self.is_older.load(Ordering::Acquire) {
            return Ok(());
        }
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Err(StoreError::Older(found.clone().unwrap_or_default()))
    }

    /// Whether nothing was found so far: cheap, for the fast path.
    pub(super) fn is_intact(&self) -> bool {
        !self.is_older.load(Ordering::Acquire)
    }

    /// From now on nothing is read or changed: what else was put back cannot be known.
    pub(super) fn report(&self, what: String) -> StoreError {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_none() {
            tracing::error!(
                what,
                "part of the database is older than it was: sessions are not validated; find out who can write to the data \
                 directory, then restart with `--accept-rollback`, which ends all sessions"
            );
            *found = Some(what.clone());
        }
        self.is_older.store(true, Ordering::Release);
        StoreError::Older(what)
    }

    /// What is known of a session, to be asked before its row is read.
    pub(super) fn expected(&self, id: &str) -> Expected {
        self.known().expected(id)
    }

    /// Fails where a row that was read after `expected` is an earlier state of the session.
    pub(super) fn check_session(
        &self,
        session: &StoredSession,
        expected: Expected,
    ) -> Result<(), StoreError> {
        if expected.allows(session.revision, session.ended.is_some()) {
            return Ok(());
        }
        Err(self.report(format!("session {} is stored as it was before its last change", session.id)))
    }

    /// Begins a change, where the guard's row is what it was left as.
    pub(super) fn begin(&self, transaction: &Transaction<'_>) -> Result<Change<'_>, StoreError> {
        self.check()?;
        let stored = GuardRow::read(transaction)?;
        let mut row = self.row.lock().unwrap_or_else(PoisonError::into_inner);
        // One writer alone is served at a time; another one on the same file would be ahead, never behind.
        if stored.epoch < row.epoch || (stored.epoch == row.epoch && stored != *row) {
            return Err(self.report("the rollback guard was set back".to_owned()));
        }
        *row = stored.clone();
        let key = self.key.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Change::new(self, key, stored))
    }

    /// Takes over what was committed. To be called before another change begins.
    pub(super) fn committed(&self, changed: Changed) {
        self.latest.fetch_max(changed.row.latest, Ordering::AcqRel);
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = changed.row;
        self.known.write().unwrap_or_else(PoisonError::into_inner).apply(changed.effects);
    }

    /// The database was moved under another key, and `row` was computed under it.
    pub(super) fn moved(&self, key: DigestKey, row: GuardRow) {
        *self.key.write().unwrap_or_else(PoisonError::into_inner) = key;
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
        self.replaced.fetch_add(1, Ordering::AcqRel);
    }

    /// All of it was accepted as it is now: `row` and `known` were computed from what is stored.
    pub(super) fn accepted(&self, row: GuardRow, known: Known) {
        self.latest.store(row.latest, Ordering::Release);
        *self.row.lock().unwrap_or_else(PoisonError::into_inner) = row;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.replaced.fetch_add(1, Ordering::AcqRel);
        self.is_older.store(false, Ordering::Release);
    }

    pub(super) fn key(&self) -> DigestKey {
        self.key.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the key or all that is known was replaced: what was begun before does not count.
    pub(super) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }

    /// The number that this process has seen last.
    pub(super) fn epoch(&self) -> u64 {
        self.row.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// The later of `now` and the latest time that the store has seen: nothing that expired comes back with the clock.
    pub(super) fn not_before_latest(&self, now: Timestamp) -> Timestamp {
        time::from_database(self.latest.load(Ordering::Acquire)).map_or(now, |latest| now.max(latest))
    }

    /// Fails where `now` is clearly before the latest time that the store has seen.
    pub(super) fn check_clock(&self, now: Timestamp) -> Result<(), StoreError> {
        let latest = self.not_before_latest(now);
        if latest.duration_since(now) <= CLOCK_TOLERANCE {
            return Ok(());
        }
        Err(StoreError::ClockBehind { now, latest })
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
