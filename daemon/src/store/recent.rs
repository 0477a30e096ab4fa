//! Live sessions that were read a moment ago: a token that is asked about all the time is not read from the database each
//! time, however many others lie there.
//!
//! What another daemon does to a session is seen a second later at most. What this one ends is ended at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::{FoundToken, TokenHash};

/// How long a *yes* may be repeated.
const LIFE: Duration = Duration::from_secs(1);
/// Threads that ask about different tokens seldom wait for each other.
const SHARDS: usize = 16;
/// Some hundred bytes each.
const TOKENS_OF_A_SHARD: usize = 512;

#[derive(Default)]
pub(super) struct Recent {
    shards: [Mutex<HashMap<[u8; 32], Remembered>>; SHARDS],
    /// How often sessions were changed: what was read before the last time, and comes late, is not remembered.
    changes: AtomicU64,
}

/// What a token stands for, and when it was read.
struct Remembered {
    found: FoundToken,
    at: Instant,
}

/// The moment before a token is looked up in the database.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    at: Instant,
    changes: u64,
}

impl Recent {
    /// What the token with this hash stands for. Only who has the token finds anything, so nothing is learnt from the time
    /// that it takes.
    pub(super) fn find(&self, hash: &TokenHash) -> Option<FoundToken> {
        let shard = self.shard(hash);
        shard.get(&hash.0).filter(|remembered| remembered.counts()).map(|remembered| remembered.found.clone())
    }

    /// To be called before the database is read.
    pub(super) fn begin(&self) -> Reading {
        Reading { at: Instant::now(), changes: self.changes.load(Ordering::SeqCst) }
    }

    /// Remembers a token of a live session that was read after `reading` began.
    pub(super) fn remember(&self, found: &FoundToken, reading: Reading) {
        let mut shard = self.shard(&found.token_hash);
        // Looked at under the lock: whoever changes a session after this finds what is remembered here.
        if reading.changes != self.changes.load(Ordering::SeqCst) {
            return;
        }
        if shard.len() >= TOKENS_OF_A_SHARD {
            shard.retain(|_, remembered| remembered.counts());
        }
        if shard.len() < TOKENS_OF_A_SHARD {
            shard.insert(found.token_hash.0, Remembered { found: found.clone(), at: reading.at });
        }
    }

    /// The token was used at `at`.
    pub(super) fn touched(&self, hash: &TokenHash, at: Timestamp) {
        if let Some(remembered) = self.shard(hash).get_mut(&hash.0) {
            let session = Arc::make_mut(&mut remembered.found.session);
            session.last_used_at = session.last_used_at.max(at);
            session.told = OnceLock::new();
        }
    }

    /// These sessions were ended or changed, durably: nothing that was read of them before counts any more.
    pub(super) fn changed(&self, ids: &[SessionID]) {
        self.forget(|found| ids.contains(&found.session.id));
    }

    /// All sessions were ended or changed.
    pub(super) fn all_changed(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, is_meant: impl Fn(&FoundToken) -> bool) {
        // First: what is being read at the moment is not remembered.
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
    fn counts(&self) -> bool {
        self.at.elapsed() < LIFE
    }
}
