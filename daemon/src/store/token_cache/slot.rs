//! An entry of the cache: a session, or the restriction of an audience token.

use std::sync::Arc;

use infra_shared::token_text::SessionID;

use super::packed::PackedSession;
use super::weight;
use crate::store::{AudienceRestriction, StoredSession};

pub(super) struct Slot {
    pub(super) token_hash: [u8; 32],
    /// In the milliseconds of the database.
    pub(super) expires_at: i64,
    /// When it was read from the database.
    pub(super) read_at: u32,
    /// Whether it was found since the hand passed.
    pub(super) is_used: bool,
    pub(super) content: Content,
}

pub(super) enum Content {
    Nothing,
    Session {
        packed: PackedSession,
        last_used_at: i64,
        /// Kept for sessions in constant use. Always equal to `packed`.
        unpacked: Option<Arc<StoredSession>>,
    },
    Restricted {
        session: SessionID,
        restriction: Arc<AudienceRestriction>,
    },
}

impl Slot {
    pub(super) const FREE: Self = Self {
        token_hash: [0; 32],
        expires_at: i64::MAX,
        read_at: 0,
        is_used: false,
        content: Content::Nothing,
    };

    pub(super) fn token_key(&self) -> u64 {
        token_key(&self.token_hash)
    }

    /// The session that delegated the one in it.
    pub(super) fn parent(&self) -> Option<&str> {
        match &self.content {
            Content::Session { packed, .. } => packed.parent(),
            _ => None,
        }
    }

    /// The ID of the session in it.
    pub(super) fn session_id(&self) -> Option<&str> {
        match &self.content {
            Content::Session { packed, .. } => Some(packed.id()),
            _ => None,
        }
    }
}

impl Content {
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Session { packed, .. } => packed.weight(),
            Self::Restricted { session, restriction } => {
                weight::of_restriction(restriction, session.as_str())
            }
        }
    }

    pub(super) fn unpacked_weight(&self) -> usize {
        match self {
            Self::Session { unpacked: Some(session), .. } => weight::of_session(session),
            _ => 0,
        }
    }
}

/// A part of a SHA-256, which spreads well.
pub(super) fn token_key(hash: &[u8; 32]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
