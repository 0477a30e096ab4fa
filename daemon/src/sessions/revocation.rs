//! Gives back to providers what they gave for sessions that are over (RFC 7009): in the background, so that nobody who signs
//! out waits for it, and again after a start where a daemon was killed before it was done.

use std::sync::Arc;

use jiff::SignedDuration;
use tokio::sync::Semaphore;

use super::places::{Came, Places};
use super::revalidation::held;
use super::{Sessions, add};
use crate::identity::{HeldGrant, IdentityError, Provider};
use crate::store::{RefreshTokenRow, StoreError, Taking};

/// Given back at a time, to one provider.
const AT_A_TIME: u32 = 8;
/// Longer than giving one back may take; after a kill, the wait until it is tried again.
const LEASE: SignedDuration = SignedDuration::from_secs(25);
/// A provider that is away is asked again after this, until a day after the session's end.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Those of logins that were refused, at a time over all providers: what is above that ends by itself.
static REFUSED: Semaphore = Semaphore::const_new(8);

impl Sessions {
    /// The places in which something is given back to the providers.
    pub fn places_to_give_back(&self) -> Vec<Places> {
        self.providers.iter().map(|it| Places::new(&it.settings().name, AT_A_TIME)).collect()
    }

    /// Begins to give back some of what is to be, in the places that are free; answers how much.
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

    /// Gives back what came with a login that was refused, in the background and once.
    pub(super) fn give_back_refused(&self, provider: &Arc<Provider>, held: HeldGrant) {
        // Without asking again there is nobody who asked for it, and the client secret is not read for it.
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
