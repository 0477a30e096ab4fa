//! Caches the tokens of live sessions, so that a token in use is not read from the database on every request.
//!
//! Only valid tokens get in, and memory bounds their number. A change of a session removes it before the change is
//! acknowledged, with all its tokens: an audience token is cached as the ID of its session. Whether entries count is
//! decided by [`Freshness`]; whether a session has expired is decided at each use.

mod packed;
mod shard;
mod slot;
mod weight;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use infra_shared::token_text::{AudienceToken, SessionID, SessionToken};
use jiff::Timestamp;

use super::freshness::{Freshness, Loss, Poll, Stale};
use super::{FoundToken, StoredSession, TokenHash};
use shard::Shard;

/// The memory of a cache whose operator did not set `cacheSize`.
pub const DEFAULT_CACHE_SIZE: usize = 64 * 1024 * 1024;
/// Sharded to reduce lock contention between tokens.
const SHARDS: usize = 64;

pub(super) struct TokenCache {
    /// Sessions and audience tokens, each in the shard of its ID.
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    freshness: Arc<Freshness>,
    /// The number of session changes. A read that overlaps a change is not cached.
    generation: AtomicU64,
    misses: AtomicU64,
}

/// The state before a database read starts.
#[derive(Clone, Copy)]
pub(super) struct ReadStart {
    generation: u64,
    at: u32,
}

/// Use of the cache since the start, and its memory now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Tokens found in the cache.
    pub hits: u64,
    /// Tokens read from the database.
    pub misses: u64,
    /// Entries removed to make room for others.
    pub evictions: u64,
    pub bytes: usize,
}

impl TokenCache {
    /// Creates an empty cache that takes at most `max_bytes` of memory.
    pub(super) fn new(max_bytes: usize, freshness: Freshness) -> Self {
        Self::with(max_bytes, Arc::new(freshness))
    }

    /// Creates an empty cache of another size. Polls of this one count for it, too.
    pub(super) fn resized(&self, max_bytes: usize) -> Self {
        Self::with(max_bytes, self.freshness.clone())
    }

    fn with(max_bytes: usize, freshness: Arc<Freshness>) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::new(Shard::new(max_bytes / SHARDS))),
            hasher: RandomState::new(),
            freshness,
            generation: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Looks up a token by its text and hash. Entries are found by hash, so timing reveals nothing: only the holder of a
    /// token can compute it.
    pub(super) fn find(&self, text: &str, hash: &TokenHash) -> Option<FoundToken> {
        let since = self.freshness.earliest_reading()?;
        if SessionToken::id_in(text).is_some() {
            return self.find_session_token(text, hash, since);
        }
        let (id, restriction) = self.shard(AudienceToken::id_in(text)?).find_restriction(hash)?;
        let session = self.shard(id.as_str()).find_session_by_id(&id, since)?;
        Some(FoundToken { token_hash: hash.clone(), session, restriction: Some(restriction) })
    }

    /// Looks up a session by its ID, for a token that only its holder can have.
    pub(super) fn find_session(&self, id: &SessionID) -> Option<Arc<StoredSession>> {
        let since = self.freshness.earliest_reading()?;
        self.shard(id.as_str()).find_session_by_id(id, since)
    }

    /// Looks up a session token while knowledge counts in grace.
    pub(super) fn find_in_grace(&self, text: &str) -> Option<FoundToken> {
        // First, because it costs less than a hash.
        if self.freshness.is_in_grace() {
            self.find_session_token(text, &TokenHash::of_text(text), 0)
        } else {
            None
        }
    }

    /// Removes the session of a session token, whose holder no longer needs it, and those that it delegated.
    pub(super) fn remove_token(&self, text: &str, hash: &TokenHash) {
        if let Some(found) = self.find_session_token(text, hash, 0) {
            self.remove_families(std::slice::from_ref(&found.session.id));
        }
    }

    /// Finds a session that was read at `since` or later.
    fn find_session_token(&self, text: &str, hash: &TokenHash, since: u32) -> Option<FoundToken> {
        let session = self.shard(SessionToken::id_in(text)?).find_session(hash, since)?;
        Some(FoundToken { token_hash: hash.clone(), session, restriction: None })
    }

    /// Starts a read. Call it before reading the database.
    pub(super) fn begin_read(&self) -> ReadStart {
        self.misses.fetch_add(1, Ordering::Relaxed);
        ReadStart { generation: self.generation.load(Ordering::SeqCst), at: self.freshness.reading_now() }
    }

    /// Caches the token `text` of a live session that was read after `read_start` began.
    pub(super) fn insert(&self, text: &str, found: &FoundToken, read_start: ReadStart) {
        let session = &found.session;
        self.insert_session(session, read_start);
        // Needs no check: a restriction never changes, and counts only together with its session.
        if let (Some(id), Some(restriction)) = (AudienceToken::id_in(text), &found.restriction) {
            self.shard(id).insert_restriction(&found.token_hash, &session.id, restriction);
        }
    }

    /// Caches a live session that was read after `read_start` began.
    pub(super) fn insert_session(&self, session: &StoredSession, read_start: ReadStart) {
        let mut shard = self.shard(session.id.as_str());
        // Check under the lock: a change that comes later removes this entry.
        if read_start.generation == self.generation.load(Ordering::SeqCst) {
            shard.insert_session(session, read_start.at);
        }
    }

    /// Removes a session that has ended in the database, although no change said so.
    pub(super) fn remove_ended(&self, id: &SessionID) {
        self.shard(id.as_str()).remove_session(id);
    }

    /// Moves the last use of a session forward, for all its tokens.
    pub(super) fn touch(&self, id: &SessionID, at: Timestamp) {
        self.shard(id.as_str()).touch(id, at);
    }

    /// Removes sessions whose change is durable.
    pub(super) fn remove_sessions(&self, ids: &[SessionID]) {
        // Count first, so that reads in progress are not cached.
        self.generation.fetch_add(1, Ordering::SeqCst);
        for id in ids {
            self.shard(id.as_str()).remove_session(id);
        }
    }

    /// Removes sessions whose change may be durable, and those that they delegated, as far as they are cached. Reads all
    /// entries, so it is for failures: a change that succeeds names all its sessions.
    pub(super) fn remove_families(&self, ids: &[SessionID]) {
        self.remove_sessions(ids);
        self.shards.iter().for_each(|shard| lock(shard).remove_delegated(ids));
    }

    /// Removes sessions and audience tokens that expired at `now` or before, to free their memory.
    pub(super) fn remove_expired(&self, now: Timestamp) {
        self.shards.iter().for_each(|shard| lock(shard).remove_expired(now));
    }

    pub(super) fn clear(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.shards.iter().for_each(|shard| lock(shard).clear());
    }

    /// What polls of a shared database need to know.
    pub(super) fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    /// Applies the answer to a poll that began at `begun`. Returns whether the known change is missing.
    pub(super) fn apply(&self, begun: Duration, poll: Poll) -> Loss {
        self.freshness.apply(begun, poll, |stale| match stale {
            Stale::Sessions(ids) if ids.is_empty() => {}
            Stale::Sessions(ids) => self.remove_sessions(&ids),
            Stale::Everything => self.clear(),
        })
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let misses = self.misses.load(Ordering::Relaxed);
        let empty = CacheCounts { misses, ..CacheCounts::default() };
        self.shards.iter().fold(empty, |sum, shard| {
            let shard = lock(shard);
            CacheCounts {
                hits: sum.hits + shard.hits,
                evictions: sum.evictions + shard.evictions,
                bytes: sum.bytes + shard.bytes(),
                ..sum
            }
        })
    }

    fn shard(&self, id: &str) -> MutexGuard<'_, Shard> {
        let index = (self.hasher.hash_one(id) >> 32) as usize % SHARDS;
        lock(self.shards.get(index).expect("a remainder is less than its divisor"))
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
