//! A change of guarded data within one transaction.

use jiff::Timestamp;
use rusqlite::Transaction;

use super::known_state::{Effect, pack_id};
use super::row::GuardRow;
use super::{RollbackGuard, SessionState, digest};
use crate::keys::DigestKey;
use crate::store::{ProviderRow, StoreError, time};

pub(in crate::store::sqlite) struct GuardedChange<'a> {
    guard: &'a RollbackGuard,
    key: DigestKey,
    row: GuardRow,
    is_changed: bool,
    effects: Vec<Effect>,
    buffer: Vec<u8>,
}

/// A written change, to apply in memory after the commit.
pub(in crate::store::sqlite) struct CommittedChange {
    pub(super) row: GuardRow,
    pub(super) effects: Vec<Effect>,
}

impl<'a> GuardedChange<'a> {
    pub(super) fn new(guard: &'a RollbackGuard, key: DigestKey, row: GuardRow) -> Self {
        Self { guard, key, row, is_changed: false, effects: Vec::new(), buffer: Vec::with_capacity(512) }
    }

    /// Reads a session's state from a row of [`super::GUARDED`].
    pub(in crate::store::sqlite) fn state(
        &mut self,
        row: &rusqlite::Row<'_>,
    ) -> Result<SessionState, StoreError> {
        SessionState::read(row, &self.key, &mut self.buffer)
    }

    pub(in crate::store::sqlite) fn add(&mut self, state: &SessionState) {
        self.is_changed = true;
        self.row.sessions.add(&state.mac);
        if let Some(change) = state.change_mac(&self.key) {
            self.row.changes.add(&change);
            self.effects.push(Effect::Session {
                id: pack_id(&state.id),
                revision: state.revision,
                is_ended: state.is_ended,
            });
        }
    }

    /// Removes a session's old state. Fails if it is not the latest one.
    pub(in crate::store::sqlite) fn remove(&mut self, state: &SessionState) -> Result<(), StoreError> {
        self.is_changed = true;
        if !self.guard.minimum_state(&state.id).allows(state.revision, state.is_ended) {
            let what = format!("session {} is stored without its last change", state.id);
            return Err(self.guard.report(what));
        }
        self.row.sessions.subtract(&state.mac);
        if let Some(change) = state.change_mac(&self.key) {
            self.row.changes.subtract(&change);
        }
        Ok(())
    }

    /// Replaces a session's state by the revoked one in a row of [`super::GUARDED`]. Fails if the state before was not
    /// the latest one.
    pub(in crate::store::sqlite) fn revoke(&mut self, row: &rusqlite::Row<'_>) -> Result<(), StoreError> {
        let before = SessionState::read_before_revocation(row, &self.key, &mut self.buffer)?;
        self.remove(&before)?;
        let after = self.state(row)?;
        self.add(&after);
        Ok(())
    }

    /// Removes a session whose row was deleted.
    pub(in crate::store::sqlite) fn drop_session(&mut self, state: &SessionState) -> Result<(), StoreError> {
        self.remove(state)?;
        self.effects.push(Effect::SessionDropped(pack_id(&state.id)));
        Ok(())
    }

    /// Records a used ticket. Fails if memory knows it as used, because its row was then rolled back.
    pub(in crate::store::sqlite) fn use_ticket(&mut self, id: [u8; 16]) -> Result<(), StoreError> {
        if self.guard.known().has_ticket(&id) {
            return Err(self.guard.report("a used login ticket is missing".to_owned()));
        }
        self.is_changed = true;
        self.row.changes.add(&digest::used_ticket(&self.key, &id));
        self.effects.push(Effect::TicketUsed(id));
        Ok(())
    }

    pub(in crate::store::sqlite) fn drop_ticket(&mut self, id: [u8; 16]) {
        self.is_changed = true;
        self.row.changes.subtract(&digest::used_ticket(&self.key, &id));
        self.effects.push(Effect::TicketDropped(id));
    }

    pub(in crate::store::sqlite) fn add_provider(&mut self, provider: &ProviderRow) {
        self.is_changed = true;
        let member = digest::provider(&self.key, &provider.name, &provider.issuer, &provider.allow_policy);
        self.row.changes.add(&member);
    }

    pub(in crate::store::sqlite) fn remove_provider(&mut self, name: &str, issuer: &str, allow_policy: &str) {
        self.is_changed = true;
        self.row.changes.subtract(&digest::provider(&self.key, name, issuer, allow_policy));
    }

    pub(in crate::store::sqlite) fn see_time(&mut self, now: Timestamp) {
        let now = time::to_database(now);
        if now > self.row.latest {
            self.is_changed = true;
            self.row.latest = now;
        }
    }

    /// Raises the counter above `seen`, even if nothing else changes.
    pub(in crate::store::sqlite) fn raise_above(&mut self, seen: u64) {
        self.is_changed = true;
        self.row.counter = self.row.counter.max(seen);
    }

    /// Writes the guard's row if anything changed.
    pub(in crate::store::sqlite) fn save(
        mut self,
        transaction: &Transaction<'_>,
    ) -> Result<CommittedChange, StoreError> {
        if self.is_changed {
            self.row.counter += 1;
            self.row.write(transaction)?;
        }
        Ok(CommittedChange { row: self.row, effects: self.effects })
    }
}
