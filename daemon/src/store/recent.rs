//! Live sessions that were read a moment ago: a token that is asked about all the time is not read from the database each
//! time, however many others lie there.
//!
//! What another daemon does to a session is seen a second later at most. What this one ends is ended at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{StoredSession, TokenHash};

/// How long a *yes* may be repeated.
const LIFE: Duration = Duration::from_secs(1);
/// Threads that ask about different tokens seldom wait for each other.
const SHARDS: usize = 16;
/// Some hundred bytes each.
const SESSIONS_OF_A_SHARD: usize = 512;

#[derive(Default)]
pub(super) struct Recent {
    shards: [Mutex<HashMap<[u8; 32], Found>>; SHARDS],
    /// How often sessions were ended: what was read before the last time does not count any more.
    endings: AtomicU64,
}

/// A session, and when it was read.
struct Found {
    session: Arc<StoredSession>,
    reading: Reading,
}

/// The moment before a session is read from the database.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    endings: u64,
}

impl Recent {
    /// The session of the token with this hash. Only who has the token finds anything, so nothing is learnt from the time
    /// that it takes.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<Arc<StoredSession>> {
        let shard = self.shard(hash);
        shard.get(&hash.0).filter(|found| self.counts(found.reading)).map(|found| found.session.clone())
    }

    /// To be called before the database is read.
    pub(super) fn begin(&self) -> Reading {
        Reading { at: Instant::now(), endings: self.endings.load(Ordering::SeqCst) }
    }

    /// Remembers a live session that was read after `reading` began.
    pub(super) fn remember(&self, session: &Arc<StoredSession>, reading: Reading) {
        let hash = &session.token_hash;
        let mut shard = self.shard(hash);
        if shard.len() >= SESSIONS_OF_A_SHARD {
            shard.retain(|_, found| self.counts(found.reading));
        }
        if shard.len() < SESSIONS_OF_A_SHARD {
            shard.insert(hash.0, Found { session: session.clone(), reading });
        }
    }

    /// A session was used at `at`.
    pub(super) fn touched(&self, hash: &TokenHash, at: Timestamp) {
        if let Some(found) = self.shard(hash).get_mut(&hash.0) {
            let session = Arc::make_mut(&mut found.session);
            session.last_used_at = session.last_used_at.max(at);
        }
    }

    /// Sessions were ended, durably. Nothing that was read before counts any more.
    pub(super) fn ended(&self) {
        self.endings.fetch_add(1, Ordering::SeqCst);
    }

    fn counts(&self, reading: Reading) -> bool {
        reading.endings == self.endings.load(Ordering::SeqCst) && reading.at.elapsed() < LIFE
    }

    fn shard(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<[u8; 32], Found>> {
        let [first, ..] = hash.0;
        let shard =
            self.shards.get(usize::from(first) % SHARDS).expect("a remainder is less than its divisor");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
