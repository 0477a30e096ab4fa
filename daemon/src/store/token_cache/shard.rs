//! A part of the cache: sessions and restrictions by token hash, bounded in bytes, evicted by CLOCK.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::packed::PackedSession;
use super::slot::{Content, Slot, token_key};
use super::weight;
use crate::store::{AudienceRestriction, StoredSession, TokenHash, time};

/// An eighth of the memory is for unpacked sessions: those of the tokens in constant use.
const UNPACKED_SHARE: usize = 8;
/// One of so many uses of packed sessions keeps its session unpacked. Those in constant use soon are, and a walk over many
/// does not pack and unpack all of them.
const UNPACKED_OF: u32 = 16;
/// One entry may take a quarter of the memory, so that a user with very many groups does not displace all others.
const LARGEST_SHARE: usize = 4;
/// While the shard is full, one of so many new entries is admitted. Tokens that come back get in soon; a walk over more
/// tokens than fit leaves most of the others where they are.
const ADMITTED_OF: u32 = 8;

pub(super) struct Shard {
    /// For everything but unpacked sessions.
    max_bytes: usize,
    max_unpacked_bytes: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots by token hash.
    by_token: HashTable<u32>,
    /// Slots of sessions by ID.
    by_session: HashTable<u32>,
    hasher: RandomState,
    /// The next slot that may be evicted.
    hand: usize,
    /// The next slot whose session may be packed again.
    packing_hand: usize,
    /// Bytes of packed sessions and restrictions.
    content_bytes: usize,
    unpacked_bytes: usize,
    /// Uses of packed sessions since one was kept unpacked.
    packed_uses: u32,
    /// New entries since the shard was full and one was admitted.
    candidates: u32,
    pub(super) hits: u64,
    pub(super) evictions: u64,
}

impl Shard {
    pub(super) fn new(max_bytes: usize) -> Self {
        let max_unpacked_bytes = max_bytes / UNPACKED_SHARE;
        Self {
            max_bytes: max_bytes - max_unpacked_bytes,
            max_unpacked_bytes,
            slots: Vec::new(),
            free: Vec::new(),
            by_token: HashTable::new(),
            by_session: HashTable::new(),
            hasher: RandomState::new(),
            hand: 0,
            packing_hand: 0,
            content_bytes: 0,
            unpacked_bytes: 0,
            packed_uses: 0,
            candidates: 0,
            hits: 0,
            evictions: 0,
        }
    }

    /// Finds the session of a session token, if it was read at `since` or later.
    pub(super) fn find_session(&mut self, hash: &TokenHash, since: u32) -> Option<Arc<StoredSession>> {
        let slot = self.slot_of_token(hash)?;
        self.use_session(slot, since)
    }

    pub(super) fn find_session_by_id(&mut self, id: &SessionID, since: u32) -> Option<Arc<StoredSession>> {
        let slot = self.slot_of_session(id)?;
        self.use_session(slot, since)
    }

    /// Finds the restriction of an audience token, and the session that it belongs to.
    pub(super) fn find_restriction(
        &mut self,
        hash: &TokenHash,
    ) -> Option<(SessionID, Arc<AudienceRestriction>)> {
        let slot = self.slot_of_token(hash)?;
        let slot = self.slots.get_mut(slot)?;
        slot.is_used = true;
        match &slot.content {
            Content::Restricted { session, restriction } => Some((session.clone(), restriction.clone())),
            _ => None,
        }
    }

    /// Caches a session that was read at `read_at`. If it is cached already, only that changes, unless someone hid a change.
    pub(super) fn insert_session(&mut self, session: &StoredSession, read_at: u32) {
        let Some(packed) = PackedSession::pack(session) else { return };
        let last_used_at = time::to_database(session.last_used_at);
        if let Some(index) = self.slot_of_session(&session.id) {
            match self.slots.get_mut(index) {
                Some(Slot { read_at: before, content: Content::Session { packed: cached, .. }, .. })
                    if *cached == packed =>
                {
                    *before = read_at.max(*before);
                    return;
                }
                Some(slot) if slot.read_at > read_at => return,
                _ => {
                    self.remove(index);
                }
            }
        }
        let content = Content::Session { packed, last_used_at, unpacked: None };
        self.insert(&session.token_hash, session.expires_at, read_at, content);
    }

    pub(super) fn insert_restriction(
        &mut self,
        hash: &TokenHash,
        session: &SessionID,
        restriction: &Arc<AudienceRestriction>,
    ) {
        let content = Content::Restricted { session: session.clone(), restriction: restriction.clone() };
        // It never changes.
        self.insert(hash, restriction.expires_at, 0, content);
    }

    /// Moves the last use of a session forward.
    pub(super) fn touch(&mut self, id: &SessionID, at: Timestamp) {
        let slot = self.slot_of_session(id).and_then(|slot| self.slots.get_mut(slot));
        if let Some(Slot { content: Content::Session { last_used_at, unpacked, .. }, .. }) = slot {
            *last_used_at = time::to_database(at).max(*last_used_at);
            if let Some(unpacked) = unpacked {
                Arc::make_mut(unpacked).touch(at);
            }
        }
    }

    pub(super) fn remove_session(&mut self, id: &SessionID) {
        if let Some(slot) = self.slot_of_session(id) {
            self.remove(slot);
        }
    }

    /// Removes the sessions that one of `parents` delegated. Reads all entries.
    pub(super) fn remove_delegated(&mut self, parents: &[SessionID]) {
        for index in 0..self.slots.len() {
            let slot = self.slots.get(index);
            let is_delegated = slot
                .and_then(Slot::parent)
                .is_some_and(|parent| parents.iter().any(|id| id.as_str() == parent));
            if is_delegated {
                self.remove(index);
            }
        }
    }

    pub(super) fn remove_expired(&mut self, now: Timestamp) {
        let now = time::to_database(now);
        for index in 0..self.slots.len() {
            if self.slots.get(index).is_some_and(|slot| slot.expires_at <= now) {
                self.remove(index);
            }
        }
        if self.by_token.is_empty() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        let max_bytes = self.max_bytes + self.max_unpacked_bytes;
        *self = Self { hits: self.hits, evictions: self.evictions, ..Self::new(max_bytes) };
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.packed_bytes() + self.unpacked_bytes
    }

    fn packed_bytes(&self) -> usize {
        weight::allocated(self.slots.capacity() * size_of::<Slot>())
            + weight::allocated(self.free.capacity() * size_of::<u32>())
            + weight::allocated(self.by_token.allocation_size())
            + weight::allocated(self.by_session.allocation_size())
            + self.content_bytes
    }

    fn insert(&mut self, hash: &TokenHash, expires_at: Timestamp, read_at: u32, content: Content) {
        let weight = content.weight();
        let is_full = self.packed_bytes() + weight > self.max_bytes;
        if weight > self.max_bytes / LARGEST_SHARE || (is_full && !self.admits()) {
            return;
        }
        if let Some(slot) = self.slot_of_token(hash) {
            self.remove(slot);
        }
        self.make_room(weight);
        let (token_hash, expires_at) = (hash.0, time::to_database(expires_at));
        let slot = Slot { token_hash, expires_at, read_at, is_used: false, content };
        self.content_bytes += weight;
        self.place(slot);
        // The tables may have grown.
        self.make_room(0);
    }

    fn admits(&mut self) -> bool {
        self.candidates = (self.candidates + 1) % ADMITTED_OF;
        self.candidates == 0
    }

    fn place(&mut self, slot: Slot) {
        let index = self.free.pop().unwrap_or_else(|| {
            u32::try_from(self.slots.len()).expect("the memory of a shard has fewer slots")
        });
        let (of_token, of_session) = (slot.token_key(), slot.session_id().map(|id| self.hasher.hash_one(id)));
        if let Some(free) = self.slots.get_mut(index as usize) {
            *free = slot;
        } else {
            if self.slots.len() == self.slots.capacity() {
                // In small steps: unused slots take memory from entries.
                self.slots.reserve_exact(self.slots.len() / 8 + 8);
            }
            self.slots.push(slot);
        }
        let slots = &self.slots;
        let token_key = |index: &u32| slots.get(*index as usize).map_or(0, Slot::token_key);
        self.by_token.insert_unique(of_token, index, token_key);
        if let Some(of_session) = of_session {
            let session_key = |index: &u32| {
                let id = slots.get(*index as usize).and_then(Slot::session_id);
                id.map_or(0, |id| self.hasher.hash_one(id))
            };
            self.by_session.insert_unique(of_session, index, session_key);
        }
    }

    /// Removes what a slot holds, and returns whether it held anything.
    fn remove(&mut self, index: usize) -> bool {
        let Some(slot) = self.slots.get_mut(index) else { return false };
        let is_this = |found: &u32| *found as usize == index;
        if let Ok(entry) = self.by_token.find_entry(slot.token_key(), is_this) {
            entry.remove();
        }
        if let Some(id) = slot.session_id()
            && let Ok(entry) = self.by_session.find_entry(self.hasher.hash_one(id), is_this)
        {
            entry.remove();
        }
        let content = std::mem::replace(slot, Slot::FREE).content;
        if matches!(content, Content::Nothing) {
            return false;
        }
        self.content_bytes -= content.weight();
        self.unpacked_bytes -= content.unpacked_weight();
        self.free.push(u32::try_from(index).expect("the index of a slot"));
        true
    }

    /// Evicts until `bytes` more fit, or nothing is left.
    fn make_room(&mut self, bytes: usize) {
        while self.packed_bytes() + bytes > self.max_bytes && self.evict() {}
    }

    /// Evicts the next entry that was not found since the hand passed it.
    fn evict(&mut self) -> bool {
        for _ in 0..2 * self.slots.len() {
            let index = advance(&mut self.hand, self.slots.len());
            let Some(slot) = self.slots.get_mut(index) else { return false };
            if !std::mem::take(&mut slot.is_used) && self.remove(index) {
                self.evictions += 1;
                return true;
            }
        }
        false
    }

    fn use_session(&mut self, index: usize, since: u32) -> Option<Arc<StoredSession>> {
        let slot = self.slots.get_mut(index).filter(|slot| slot.read_at >= since)?;
        slot.is_used = true;
        let Content::Session { packed, last_used_at, unpacked } = &slot.content else { return None };
        self.hits += 1;
        if let Some(session) = unpacked {
            return Some(session.clone());
        }
        let last_used_at = time::from_database(*last_used_at).ok()?;
        let session = Arc::new(packed.unpack(slot.token_hash, last_used_at));
        self.packed_uses = (self.packed_uses + 1) % UNPACKED_OF;
        if self.packed_uses == 0 {
            self.keep_unpacked(index, &session);
        }
        Some(session)
    }

    /// Keeps a session unpacked, and packs others again for it.
    fn keep_unpacked(&mut self, index: usize, session: &Arc<StoredSession>) {
        let (weight, most) = (weight::of_session(session), self.max_unpacked_bytes);
        if weight > most / LARGEST_SHARE {
            return;
        }
        for _ in 0..self.slots.len() {
            if self.unpacked_bytes + weight <= most {
                break;
            }
            let other = advance(&mut self.packing_hand, self.slots.len());
            self.drop_unpacked(other);
        }
        if let Some(Slot { content: Content::Session { unpacked, .. }, .. }) = self.slots.get_mut(index) {
            *unpacked = Some(session.clone());
            self.unpacked_bytes += weight;
        }
    }

    fn drop_unpacked(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        self.unpacked_bytes -= slot.content.unpacked_weight();
        if let Content::Session { unpacked, .. } = &mut slot.content {
            *unpacked = None;
        }
    }

    fn slot_of_token(&self, hash: &TokenHash) -> Option<usize> {
        let is_this = |index: &u32| self.slots.get(*index as usize).is_some_and(|it| it.token_hash == hash.0);
        self.by_token.find(token_key(&hash.0), is_this).map(|index| *index as usize)
    }

    fn slot_of_session(&self, id: &SessionID) -> Option<usize> {
        let is_this = |index: &u32| {
            self.slots.get(*index as usize).and_then(Slot::session_id).is_some_and(|it| it == id.as_str())
        };
        self.by_session.find(self.hasher.hash_one(id.as_str()), is_this).map(|index| *index as usize)
    }
}

/// Returns the position of a hand, and moves the hand on.
fn advance(hand: &mut usize, slots: usize) -> usize {
    let index = if *hand < slots { *hand } else { 0 };
    *hand = index + 1;
    index
}
