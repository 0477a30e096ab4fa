//! Revokes sessions.

use jiff::Timestamp;

use super::engine::await_engine;
use super::{EndReason, RevokedSession, SessionSelector, Store, StoreError};
use crate::platform::uncancelled;

impl Store {
    /// Revokes the selected sessions in one transaction, and those that they delegated. Durable when it returns.
    pub async fn revoke(
        &self,
        selector: SessionSelector,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        let store = self.clone();
        uncancelled(async move {
            let chosen = selector.clone();
            let revoked = await_engine!(store, engine => engine.revoke(selector, at, reason));
            match (&revoked, chosen) {
                (Ok(_), SessionSelector::ALL) => store.cache.clear(),
                (Ok(revoked), _) => store.drop_cached(revoked),
                // It may be stored nevertheless, and must not count in grace.
                (Err(_), SessionSelector::Ids(ids)) => store.cache.remove_families(&ids),
                (Err(_), _) => store.cache.clear(),
            }
            revoked
        })
        .await
    }

    /// Removes revoked sessions from the cache, once that is durable.
    pub(super) fn drop_cached(&self, revoked: &[RevokedSession]) {
        if !revoked.is_empty() {
            let ids: Vec<_> = revoked.iter().map(|session| session.id.clone()).collect();
            self.cache.remove_sessions(&ids);
        }
    }
}
