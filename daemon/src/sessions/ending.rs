//! Ends sessions before they expire.

use infra_shared::token_text::{LogoutProof, SessionID};
use subtle::ConstantTimeEq;

use super::{Caller, Sessions};
use crate::store::{EndReason, EndedSession, StoreError, StoredSession, Which};

impl Sessions {
    /// Revokes the caller's own session. The change is durable on return.
    pub async fn log_out(&self, caller: &Caller) -> Result<(), StoreError> {
        self.end(&caller.session().id, EndReason::Logout).await?;
        Ok(())
    }

    /// Ends a session and records the event, unless it had already ended. The change is durable on return.
    pub(super) async fn end(&self, id: &SessionID, reason: EndReason) -> Result<bool, StoreError> {
        self.end_by(id, reason, None).await
    }

    /// Like [`Self::end`]; `by` is the session that requested it.
    pub(super) async fn end_by(
        &self,
        id: &SessionID,
        reason: EndReason,
        by: Option<&SessionID>,
    ) -> Result<bool, StoreError> {
        Ok(self.end_these(Which::One(id.clone()), reason, by).await? > 0)
    }

    /// Ends all matching sessions, including expired ones, and returns their number. Records the events even if the
    /// client has disconnected.
    pub(super) async fn end_these(
        &self,
        which: Which,
        reason: EndReason,
        by: Option<&SessionID>,
    ) -> Result<usize, StoreError> {
        let (audit_sink, by) = (self.audit_sink(), by.cloned());
        let record = move |ended: &[EndedSession]| {
            for session in ended {
                audit_sink.ended(session, reason, by.as_ref());
            }
        };
        Ok(self.store.end_sessions(which, self.now(), reason, record).await?.len())
    }

    /// Revokes the session `id` if `proof` proves possession of its token. The caller does not learn whether the
    /// session existed.
    pub async fn log_out_by_proof(&self, id: &SessionID, proof: &LogoutProof) -> Result<(), StoreError> {
        let proven = self
            .store
            .find_session(id)?
            .is_some_and(|stored| stored.token_hash.logout_proof().as_bytes().ct_eq(proof.as_bytes()).into());
        if proven {
            self.end(id, EndReason::Logout).await?;
        }
        Ok(())
    }

    /// Ends sessions whose provider is no longer configured or whose user is no longer admitted. Returns their number.
    pub async fn end_sessions_outside_configuration(&self) -> Result<usize, StoreError> {
        let now = self.now();
        let mut count = 0;
        for stored in self.store.live_sessions(now, |stored| !self.is_configured(stored))? {
            if self.end(&stored.id, EndReason::ConfigurationChanged).await? {
                count += 1;
            }
        }
        Ok(count)
    }

    fn is_configured(&self, stored: &StoredSession) -> bool {
        let verified_email = stored.user.email.as_deref().filter(|_| stored.email_verified);
        self.find_provider(&stored.user.provider).map(|it| it.settings()).is_some_and(|settings| {
            settings.issuer == stored.user.issuer
                && settings.allow.admits(&stored.user.groups, verified_email)
        })
    }
}
