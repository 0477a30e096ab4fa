//! In-memory state of changed and ended sessions and used tickets.

use std::collections::{HashMap, HashSet};

/// Does not contain sessions that never changed, which are most of them.
#[derive(Default)]
pub(in crate::store::sqlite) struct KnownState {
    /// Ended sessions by number, about ten bytes each.
    ended: HashSet<u64>,
    /// Revisions of live sessions that changed.
    changed: HashMap<u64, u32>,
    tickets: HashSet<[u8; 16]>,
}

/// An update to apply after the commit.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    Session { id: u64, revision: u32, is_ended: bool },
    SessionDropped(u64),
    TicketUsed([u8; 16]),
    TicketDropped([u8; 16]),
}

/// The minimum state that a session's row must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store::sqlite) struct MinimumState {
    revision: u32,
    is_ended: bool,
}

impl MinimumState {
    pub(in crate::store::sqlite) fn allows(self, revision: u32, is_ended: bool) -> bool {
        revision >= self.revision && (is_ended || !self.is_ended)
    }
}

impl KnownState {
    pub(super) fn minimum_state(&self, id: &str) -> MinimumState {
        let id = pack_id(id);
        MinimumState {
            is_ended: self.ended.contains(&id),
            revision: self.changed.get(&id).copied().unwrap_or_default(),
        }
    }

    pub(super) fn has_ticket(&self, id: &[u8; 16]) -> bool {
        self.tickets.contains(id)
    }

    pub(super) fn apply(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.apply_one(effect);
        }
    }

    pub(super) fn apply_one(&mut self, effect: Effect) {
        match effect {
            Effect::Session { id, is_ended: true, .. } => {
                self.changed.remove(&id);
                self.ended.insert(id);
            }
            Effect::Session { id, revision, is_ended: false } => {
                self.changed.insert(id, revision);
            }
            Effect::SessionDropped(id) => {
                self.ended.remove(&id);
                self.changed.remove(&id);
            }
            Effect::TicketUsed(id) => {
                self.tickets.insert(id);
            }
            Effect::TicketDropped(id) => {
                self.tickets.remove(&id);
            }
        }
    }
}

/// Encodes a session id (ten characters of `0-9A-Za-z`) as a unique number below 62¹⁰.
pub(super) fn pack_id(id: &str) -> u64 {
    id.bytes().fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            _ => byte.wrapping_sub(b'a').wrapping_add(36),
        };
        number.wrapping_mul(62).wrapping_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_is_unique_to_the_id() {
        assert_eq!(pack_id("0000000000"), 0);
        assert_eq!(pack_id("000000000z"), 61);
        assert_eq!(pack_id("0000000010"), 62);
        assert_eq!(pack_id("zzzzzzzzzz"), 62_u64.pow(10) - 1);
    }

    #[test]
    fn earlier_state_is_not_allowed() {
        let mut known = KnownState::default();
        let id = pack_id("aaaaaaaaaa");
        assert!(known.minimum_state("aaaaaaaaaa").allows(0, false));
        known.apply_one(Effect::Session { id, revision: 1, is_ended: false });
        let expected = known.minimum_state("aaaaaaaaaa");
        assert!(!expected.allows(0, false) && expected.allows(1, false) && expected.allows(2, true));
        known.apply_one(Effect::Session { id, revision: 2, is_ended: true });
        let expected = known.minimum_state("aaaaaaaaaa");
        assert!(!expected.allows(2, false) && expected.allows(2, true));
        known.apply_one(Effect::SessionDropped(id));
        assert!(known.minimum_state("aaaaaaaaaa").allows(0, false));
    }
}
