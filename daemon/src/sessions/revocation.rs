//! Revokes the provider's tokens of ended sessions (RFC 7009).
//!
//! Runs in the background, so that signing out does not wait. After a crash, it continues at the next start.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::Semaphore;

use super::places::{Came, Places};
use super::revalidation::held;
use super::{Sessions, add};
use crate::identity::{IdentityError, Provider, RefreshGrant};
use crate::store::{RefreshTokenRow, StoreError, Taking};

/// Maximum concurrent revocations per provider.
const AT_A_TIME: u32 = 8;
/// Longer than any revocation takes. After a crash, another worker retries once the lease expires.
const LEASE: SignedDuration = SignedDuration::from_secs(25);
/// Delay before retrying an unavailable provider. Retries stop a day after the session's end.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Concurrent revocations for refused logins, over all providers. If none is free, the tokens are left to expire.
static REFUSED: Semaphore = Semaphore::const_new(8);

impl Sessions {
    /// Concurrency slots for revocation, one set per provider.
    pub fn places_to_give_back(&self) -> Vec<Places> {
        self.providers.iter().map(|it| Places::new(&it.settings().name, AT_A_TIME)).collect()
    }

    /// Starts due revocations in the free slots and returns their number.
    pub async fn give_back_due(self: &Arc<Self>, places: &mut Places) -> Result<usize, StoreError> {
        let limit = places.free();
        if limit == 0 {
            return Ok(0);
        }
        let over = self
            .store
            .take_refresh_tokens_to_revoke(Taking {
                provider: places.provider().to_owned(),
                sealer: self.sealer.clone(),
                now: self.clock.now(),
                lease: LEASE,
                longest: PAUSE,
                limit,
            })
            .await?;
        let count = over.len();
        for row in over {
            let sessions = self.clone();
            places.begin(async move { sessions.give_back(&row).await });
        }
        Ok(count)
    }

    async fn give_back(&self, row: &RefreshTokenRow) -> Result<Came, StoreError> {
        let (id, name) = (&row.session_id, &row.provider);
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
                self.store.postpone_revocation(id, add(self.clock.now(), PAUSE)).await?;
                return Ok(Came::NoAnswer);
            }
        }
        self.store.forget_refresh_token(id, row.version).await?;
        Ok(Came::Answer)
    }

    /// Revokes the tokens of a refused login, once and in the background.
    pub(super) fn give_back_refused(&self, provider: &Arc<Provider>, held: RefreshGrant) {
        // Without revalidation the daemon requested no refresh token, and must not read the client secret for this.
        if self.limits.revalidate_every.is_none() {
            return;
        }
        let Ok(place) = REFUSED.try_acquire() else { return };
        let provider = provider.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = provider.revoke(&held).await {
                let name = &provider.settings().name;
                tracing::debug!(provider = name, %error, "what came with a refused login is not given back");
            }
        });
    }
}
