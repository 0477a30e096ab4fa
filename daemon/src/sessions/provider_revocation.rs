//! Revokes the provider's tokens of ended sessions (RFC 7009).
//!
//! Runs in the background, so that signing out does not wait. After a crash, it continues at the next start.

use std::sync::Arc;

use jiff::SignedDuration;
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::provider_jobs::JobOutcome;
use super::{Sessions, add, stored_credential};
use crate::identity::{BACKGROUND_TIMEOUT, IdentityError, Provider};
use crate::store::{RefreshTokenRow, StoreError};

/// Longer than any revocation takes. After a crash, the next start retries once the lease has expired.
pub(super) const LEASE: SignedDuration =
    SignedDuration::from_secs(2 * BACKGROUND_TIMEOUT.as_secs().cast_signed());
/// Delay before retrying an unavailable provider. Retries stop a day after the session's end.
pub(super) const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// Concurrent revocations for refused logins, over all providers. If none is free, the tokens are left to expire.
static UNUSED_TOKEN_REVOCATIONS: Semaphore = Semaphore::const_new(8);

impl Sessions {
    pub(super) async fn revoke_provider_token(
        &self,
        row: &RefreshTokenRow,
    ) -> Result<JobOutcome, StoreError> {
        let (id, name) = (&row.session_id, &row.provider);
        // Tokens are leased for configured providers only.
        let Some(provider) = self.find_provider(name) else { return Ok(JobOutcome::NotSent) };
        let Some(credential) = stored_credential::parse(&row.credential) else {
            tracing::error!(session = %id, provider = name, "cannot revoke the provider's tokens: the stored refresh token is malformed");
            self.store.forget_refresh_token(id, row.version).await?;
            return Ok(JobOutcome::NotSent);
        };
        match provider.revoke(&credential.refresh_token).await {
            Ok(true) => tracing::debug!(session = %id, provider = name, "revoked the provider's tokens"),
            Ok(false) => {
                tracing::debug!(session = %id, provider = name, "the provider has no revocation endpoint: its tokens expire");
            }
            Err(IdentityError::Rejected(reason)) => {
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
                return Ok(JobOutcome::NoResponse);
            }
        }
        self.store.forget_refresh_token(id, row.version).await?;
        Ok(JobOutcome::Responded)
    }

    /// Revokes the refresh token that a provider issued for a login without a session, once and in the background.
    pub(super) fn revoke_unused_refresh_token(
        &self,
        provider: &Arc<Provider>,
        refresh_token: Option<SecretString>,
    ) {
        let Some(refresh_token) = refresh_token else { return };
        // Without revalidation the daemon requested no refresh token, and must not read the client secret for this.
        if self.limits.revalidate_every.is_none() {
            return;
        }
        let Ok(permit) = UNUSED_TOKEN_REVOCATIONS.try_acquire() else { return };
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
