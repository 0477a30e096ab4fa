//! Revokes the provider's tokens of ended sessions (RFC 7009).
//!
//! Runs in the background, so that signing out does not wait. After a crash, it continues at the next start.

use std::sync::Arc;

use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::provider_slots::{AttemptOutcome, ProviderSlots};
use super::revalidation::parse_grant;
use super::{Sessions, add};
use crate::identity::{BACKGROUND_TIMEOUT, IdentityError, Provider};
use crate::store::{LeaseRequest, RefreshTokenRow, StoreError};

/// Maximum concurrent revocations per provider.
const MAX_CONCURRENT: u32 = 8;
/// Longer than any revocation takes. After a crash, the next start retries once the lease has expired.
const LEASE: SignedDuration = SignedDuration::from_secs(2 * BACKGROUND_TIMEOUT.as_secs().cast_signed());
/// Delay before retrying an unavailable provider. Retries stop a day after the session's end.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Concurrent revocations for refused logins, over all providers. If none is free, the tokens are left to expire.
static REFUSED: Semaphore = Semaphore::const_new(8);

impl Sessions {
    /// Concurrency slots for revoking provider tokens, one set per provider.
    pub fn provider_token_slots(&self) -> Vec<ProviderSlots> {
        self.providers.iter().map(|it| ProviderSlots::new(&it.settings().name, MAX_CONCURRENT)).collect()
    }

    /// Starts due revocations in the free slots and returns their number.
    pub async fn revoke_due_provider_tokens(
        self: &Arc<Self>,
        slots: &mut ProviderSlots,
    ) -> Result<usize, StoreError> {
        let limit = slots.free();
        if limit == 0 {
            return Ok(0);
        }
        let due = self
            .store
            .lease_refresh_tokens_to_revoke(LeaseRequest {
                provider: slots.provider().to_owned(),
                sealer: self.sealer.clone(),
                now: self.clock.now(),
                lease: LEASE,
                longest: PAUSE,
                limit,
            })
            .await?;
        let count = due.len();
        for row in due {
            let sessions = self.clone();
            slots.spawn(async move { sessions.revoke_provider_token(&row).await });
        }
        Ok(count)
    }

    async fn revoke_provider_token(&self, row: &RefreshTokenRow) -> Result<AttemptOutcome, StoreError> {
        let (id, name) = (&row.session_id, &row.provider);
        // Tokens are leased for configured providers only.
        let Some(provider) = self.find_provider(name) else { return Ok(AttemptOutcome::NotSent) };
        let Some(grant) = parse_grant(&row.grant) else {
            tracing::error!(session = %id, provider = name, "cannot revoke the provider's tokens: the stored grant is malformed");
            self.store.forget_refresh_token(id, row.version).await?;
            return Ok(AttemptOutcome::NotSent);
        };
        match provider.revoke(&grant.refresh_token).await {
            Ok(true) => tracing::debug!(session = %id, provider = name, "revoked the provider's tokens"),
            Ok(false) => {
                tracing::debug!(session = %id, provider = name, "the provider has no revocation endpoint: its tokens expire");
            }
            Err(IdentityError::Refused(reason)) => {
                tracing::warn!(
                    session = %id,
                    provider = name,
                    reason,
                    "the provider rejected the revocation of its tokens"
                );
            }
            Err(error) => {
                if row.failures == 0 {
                    tracing::warn!(session = %id, provider = name, %error, "cannot revoke the provider's tokens yet");
                }
                self.store.postpone_revocation(id, add(self.clock.now(), PAUSE)).await?;
                return Ok(AttemptOutcome::Unanswered);
            }
        }
        self.store.forget_refresh_token(id, row.version).await?;
        Ok(AttemptOutcome::Answered)
    }

    /// Revokes the refresh token that a provider issued for a login without a session, once and in the background.
    pub(super) fn revoke_unused_grant(&self, provider: &Arc<Provider>, refresh_token: Option<SecretString>) {
        let Some(refresh_token) = refresh_token else { return };
        // Without revalidation the daemon requested no refresh token, and must not read the client secret for this.
        if self.limits.revalidate_every.is_none() {
            return;
        }
        let Ok(permit) = REFUSED.try_acquire() else { return };
        let provider = provider.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = provider.revoke(&refresh_token).await {
                let name = &provider.settings().name;
                tracing::debug!(provider = name, %error, "cannot revoke the provider's tokens of a rejected login");
            }
        });
    }
}
