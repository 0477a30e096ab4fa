//! A cache of live sessions, so that a busy token is not read from the database on every request.
//!
//! Changes by another member are seen within one second, changes by this one at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{FoundToken, TokenHash};

/// How long an entry stays valid, except in tests.
pub(super) const LIFE: Duration = Duration::from_secs(1);
/// Sharded to reduce lock contention between tokens.
const SHARDS: usize = 16;
/// A few hundred bytes per token.
const TOKENS_OF_A_SHARD: usize = 512;

pub(super) struct Recent {
    /// How long an entry stays valid.
    life: Duration,
    shards: [Mutex<HashMap<[u8; 32], Remembered>>; SHARDS],
    /// The number of session changes. A read that overlaps a change is not cached.
    changes: AtomicU64,
}

/// A cached token and when it was read.
struct Remembered {
    found: FoundToken,
    at: Instant,
}

/// The state before a database read starts.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    changes: u64,
}

impl Recent {
    pub(super) fn new(life: Duration) -> Self {
        Self { life, shards: Default::default(), changes: AtomicU64::new(0) }
    }

    /// Looks up a token by hash. Timing reveals nothing, because only the holder of a token can compute its hash.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<FoundToken> {
        let shard = self.shard(hash);
        shard
            .get(&hash.0)
            .filter(|remembered| remembered.is_valid(self.life))
            .map(|remembered| remembered.found.clone())
    }

    /// Call before reading the database.
    pub(super) fn begin(&self) -> Reading {
        Reading { at: Instant::now(), changes: self.changes.load(Ordering::SeqCst) }
    }

    /// Caches a live session's token that was read after `reading` began.
    pub(super) fn remember(&self, found: &FoundToken, reading: Reading) {
        let mut shard = self.shard(&found.token_hash);
        // Check under the lock: a change that comes later removes this entry.
        if reading.changes != self.changes.load(Ordering::SeqCst) {
            return;
        }
        if shard.len() >= TOKENS_OF_A_SHARD {
            shard.retain(|_, remembered| remembered.is_valid(self.life));
        }
        if shard.len() < TOKENS_OF_A_SHARD {
            shard.insert(found.token_hash.0, Remembered { found: found.clone(), at: reading.at });
        }
    }

    /// Records that the token was used at `at`.
    pub(super) fn touched(&self, hash: &TokenHash, at: Timestamp) {
        if let Some(remembered) = self.shard(hash).get_mut(&hash.0) {
            let session = Arc::make_mut(&mut remembered.found.session);
            session.last_used_at = session.last_used_at.max(at);
            session.cached_json = OnceLock::new();
        }
    }

    /// Removes cached tokens of sessions whose change is durable.
    pub(super) fn changed(&self, ids: &[SessionID]) {
        self.forget(|found| ids.contains(&found.session.id));
    }

    /// Removes all cached tokens.
    pub(super) fn all_changed(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, is_meant: impl Fn(&FoundToken) -> bool) {
        // Count first, so that reads in progress are not cached.
        self.changes.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, remembered| !is_meant(&remembered.found));
        }
    }

    fn shard(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        let [first, ..] = hash.0;
        let shard =
            self.shards.get(usize::from(first) % SHARDS).expect("a remainder is less than its divisor");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Remembered {
    fn is_valid(&self, life: Duration) -> bool {
        self.at.elapsed() < life
    }
}
