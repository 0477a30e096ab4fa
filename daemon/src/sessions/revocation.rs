//! Gives back to providers what they gave for sessions that are over (RFC 7009): in the background, so that nobody who signs
//! out waits for it, and again after a start where a daemon was killed before it was done.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::task::JoinSet;

use super::revalidation::held;
use super::{Sessions, add};
use crate::identity::IdentityError;
use crate::store::{RefreshTokenRow, StoreError};

/// Given back at a time.
const AT_A_TIME: u32 = 8;
/// Longer than giving one back may take; after a kill, the wait until it is tried again.
const LEASE: SignedDuration = SignedDuration::from_secs(25);
/// A provider that is away is asked again after this, until a day after the session's end.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

impl Sessions {
    /// Gives back some of what is to be; answers how much it tried.
    pub async fn revoke_ended(self: &Arc<Self>) -> Result<usize, StoreError> {
        let sealer = self.sealer.clone();
        let over =
            self.store.take_refresh_tokens_to_revoke(sealer, self.clock.now(), LEASE, AT_A_TIME).await?;
        let count = over.len();
        let mut giving = JoinSet::new();
        for row in over {
            let sessions = self.clone();
            giving.spawn(async move { sessions.give_back(&row).await });
        }
        while let Some(done) = giving.join_next().await {
            if let Ok(Err(error)) = done {
                tracing::error!(%error, "that a provider took its tokens back cannot be stored");
            }
        }
        Ok(count)
    }

    async fn give_back(&self, row: &RefreshTokenRow) -> Result<(), StoreError> {
        let (id, name) = (&row.session_id, &row.provider);
        // A provider that left the configuration has no client secret any more that it could be asked with.
        let revoked = match (self.find_provider(name), held(&row.held)) {
            (Some(provider), Some(held)) => provider.revoke(&held).await,
            _ => Ok(false),
        };
        match revoked {
            Ok(true) => tracing::debug!(session = %id, provider = name, "gave the provider's tokens back"),
            Ok(false) => {
                tracing::debug!(session = %id, provider = name, "the provider takes no tokens back: they end by themselves");
            }
            Err(IdentityError::Refused(reason)) => {
                tracing::warn!(session = %id, provider = name, reason, "the provider does not take its tokens back");
            }
            Err(error) => {
                if row.failures == 0 {
                    tracing::warn!(session = %id, provider = name, %error, "the provider's tokens are given back later");
                }
                return self.store.postpone_revocation(id, add(self.clock.now(), PAUSE)).await;
            }
        }
        self.store.forget_refresh_token(id).await
    }
}
