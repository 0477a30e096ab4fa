//! Caches the tokens of live sessions, so that a busy token is not read from the database on every request.
//!
//! An entry is used for one second at most. If its session is revoked, it is removed at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio::time::Instant;

use super::{FoundToken, TokenHash};

/// How long an entry stays valid, except in tests.
pub(super) const MAX_AGE: Duration = Duration::from_secs(1);
/// Sharded to reduce lock contention between tokens.
const SHARDS: usize = 16;
/// A few hundred bytes per token.
const MAX_PER_SHARD: usize = 512;

pub(super) struct TokenCache {
    /// How long an entry stays valid.
    max_age: Duration,
    shards: [Mutex<HashMap<[u8; 32], Entry>>; SHARDS],
    /// The number of session changes. A read that overlaps a change is not cached.
    generation: AtomicU64,
}

struct Entry {
    found: FoundToken,
    at: Instant,
}

/// The state before a database read starts.
#[derive(Clone, Copy)]
pub(super) struct ReadStart {
    at: Instant,
    generation: u64,
}

impl TokenCache {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { max_age, shards: Default::default(), generation: AtomicU64::new(0) }
    }

    /// Looks up a token by hash. Timing reveals nothing, because only the holder of a token can compute its hash.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<FoundToken> {
        let shard = self.shard(hash);
        shard.get(&hash.0).filter(|entry| entry.is_fresh(self.max_age)).map(|entry| entry.found.clone())
    }

    /// Starts a read. Call it before reading the database.
    pub(super) fn begin_read(&self) -> ReadStart {
        ReadStart { at: Instant::now(), generation: self.generation.load(Ordering::SeqCst) }
    }

    /// Caches a live session's token that was read after `read_start` began.
    pub(super) fn insert(&self, found: &FoundToken, read_start: ReadStart) {
        let mut shard = self.shard(&found.token_hash);
        // Check under the lock: a change that comes later removes this entry.
        if read_start.generation != self.generation.load(Ordering::SeqCst) {
            return;
        }
        if shard.len() >= MAX_PER_SHARD {
            shard.retain(|_, entry| entry.is_fresh(self.max_age));
        }
        if shard.len() < MAX_PER_SHARD {
            shard.insert(found.token_hash.0, Entry { found: found.clone(), at: read_start.at });
        }
    }

    pub(super) fn touch(&self, hash: &TokenHash, at: Timestamp) {
        if let Some(entry) = self.shard(hash).get_mut(&hash.0) {
            Arc::make_mut(&mut entry.found.session).touch(at);
        }
    }

    /// Removes cached tokens of sessions whose change is durable.
    pub(super) fn remove_sessions(&self, ids: &[SessionID]) {
        self.remove_if(|found| ids.contains(&found.session.id));
    }

    pub(super) fn clear(&self) {
        self.remove_if(|_| true);
    }

    fn remove_if(&self, is_affected: impl Fn(&FoundToken) -> bool) {
        // Count first, so that reads in progress are not cached.
        self.generation.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, entry| !is_affected(&entry.found));
        }
    }

    fn shard(&self, hash: &TokenHash) -> MutexGuard<'_, HashMap<[u8; 32], Entry>> {
        let [first, ..] = hash.0;
        let shard =
            self.shards.get(usize::from(first) % SHARDS).expect("a remainder is less than its divisor");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_fresh(&self, max_age: Duration) -> bool {
        self.at.elapsed() < max_age
    }
}
