//! Revokes sessions: for their users, administrators and operators, and when the daemon decides it.
//!
//! Every revocation is durable on return.

use infra_shared::api::RevocationResponse;
use infra_shared::token_text::{LogoutProof, SessionID};
use subtle::ConstantTimeEq;

use super::counts::Counts;
use super::listing::PAGE;
use super::{Caller, Sessions, UndelegatedCaller};
use crate::audit::{Audit, Event};
use crate::identity::ProviderSettings;
use crate::platform::{blocking, uncancelled};
use crate::store::{EndReason, RevokedSession, SessionSelector, StoreError, StoredSession, UserFilter};

impl Sessions {
    pub async fn log_out(&self, caller: &Caller) -> Result<(), StoreError> {
        self.end_session(&caller.session().id, EndReason::Logout).await?;
        Ok(())
    }

    /// Keeps a session token from being valid in grace, after its holder could not sign out.
    pub fn forget_token(&self, text: &str) {
        self.store.drop_token_from_cache(text);
    }

    /// Revokes the session `id` if `proof` proves possession of its token. The caller does not learn whether the
    /// session existed.
    pub async fn log_out_by_proof(&self, id: &SessionID, proof: &LogoutProof) -> Result<(), StoreError> {
        let is_proven =
            self.store.find_session(id).await?.is_some_and(|stored| {
                stored.token_hash.logout_proof().as_bytes().ct_eq(proof.as_bytes()).into()
            });
        if is_proven {
            self.end_session(id, EndReason::Logout).await?;
        }
        Ok(())
    }

    /// Revokes the session `id` for its user or an administrator.
    ///
    /// Returns `false` if the session does not exist, has already ended, or belongs to another user; the caller cannot
    /// tell which. Also ends an idle session for good. Otherwise a longer timeout or a clock that steps back could
    /// revive it.
    pub async fn revoke_for(&self, caller: &UndelegatedCaller, id: &SessionID) -> Result<bool, StoreError> {
        let Some(stored) = self.store.find_session(id).await?.filter(|stored| stored.ended.is_none()) else {
            return Ok(false);
        };
        let reason = if *id == caller.session().id {
            EndReason::Logout
        } else if caller.user().is_same(&stored.user) {
            EndReason::Revoked
        } else if self.is_administrator(caller) {
            EndReason::Administrator
        } else {
            return Ok(false);
        };
        let one = SessionSelector::Ids(vec![id.clone()]);
        Ok(self.revoke(one, reason, Some(&caller.session().id)).await? > 0)
    }

    /// Revokes the caller's other sessions, also those that it delegated, or for an administrator all sessions of `user` except the caller's own.
    ///
    /// Returns `None` if the caller is no administrator. Includes idle sessions, which are no longer listed.
    pub async fn revoke_others_for(
        &self,
        caller: &UndelegatedCaller,
        user: Option<String>,
    ) -> Result<Option<RevocationResponse>, StoreError> {
        let own = &caller.session().id;
        let (others, reason, includes_current) = match user {
            None => (SessionSelector::OthersOf(own.clone()), EndReason::Revoked, true),
            Some(_) if !self.is_administrator(caller) => return Ok(None),
            Some(name) => {
                let includes_current = matches_user(caller.stored(), &name);
                let filter = UserFilter::Named(name);
                let others = SessionSelector::Users { filter, except: Some(own.clone()) };
                (others, EndReason::Administrator, includes_current)
            }
        };
        let revoked = self.revoke(others, reason, Some(own)).await?;
        Ok(Some(RevocationResponse { revoked, includes_current }))
    }

    /// Revokes the selected sessions for an operator, including expired ones. Returns their number.
    pub async fn revoke_as_operator(&self, selector: SessionSelector) -> Result<usize, StoreError> {
        self.revoke(selector, EndReason::Operator, None).await
    }

    /// Revokes sessions whose provider is no longer configured or whose user is no longer admitted. Returns their
    /// number.
    pub async fn revoke_outside_configuration(&self) -> Result<usize, StoreError> {
        let (now, mut outside, mut next) = (self.now(), Vec::new(), None);
        loop {
            let page = self.store.live_sessions(now, next, PAGE).await?;
            // Those of workloads expire within minutes, and another member may list their rule.
            let people = page.sessions.into_iter().filter(|stored| stored.user.workload().is_none());
            outside.extend(people.filter(|stored| !self.is_admitted(stored)).map(|stored| stored.id));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        self.revoke(SessionSelector::Ids(outside), EndReason::ConfigurationChanged, None).await
    }

    /// Whether the provider of the session is configured and admits its user, or the rule of a workload is configured.
    pub(super) fn is_admitted(&self, stored: &StoredSession) -> bool {
        *stored.is_admitted.get_or_init(|| {
            if let Some(name) = stored.user.workload() {
                return self.workloads.has(name, &stored.user.issuer);
            }
            let provider = self.find_provider(&stored.user.provider);
            provider.is_some_and(|provider| is_configured(stored, provider.settings()))
        })
    }

    /// Revokes a session by a decision of the daemon or of its user. Returns `false` if it does not exist or has
    /// already ended.
    pub(super) async fn end_session(&self, id: &SessionID, reason: EndReason) -> Result<bool, StoreError> {
        Ok(self.revoke(SessionSelector::Ids(vec![id.clone()]), reason, None).await? > 0)
    }

    /// Revokes the selected sessions and records the events, even if the client has disconnected. Returns the number of
    /// sessions that had not ended before.
    ///
    /// `actor` is the session of the caller who requested it.
    async fn revoke(
        &self,
        selector: SessionSelector,
        reason: EndReason,
        actor: Option<&SessionID>,
    ) -> Result<usize, StoreError> {
        let (store, now) = (self.store.clone(), self.now());
        let (audit, counts, actor) = (self.audit.clone(), self.counts.clone(), actor.cloned());
        let in_progress = self.revocations.clone().read_owned().await;
        uncancelled(async move {
            let revoked = store.revoke(selector, now, reason).await?;
            // Writing to the audit log may block.
            let recording = move || {
                record(&audit, &counts, &revoked, reason, actor.as_ref());
                revoked.len()
            };
            let recorded = blocking(recording).await;
            drop(in_progress);
            Ok(recorded)
        })
        .await
    }

    /// Waits for the revocations in progress, also those of clients that have disconnected, so that each is recorded.
    pub async fn finish_revocations(&self) {
        drop(self.revocations.write().await);
    }

    /// Records the user's oldest sessions, which the new session `newest` revoked because of the limit.
    pub(super) fn record_over_limit(&self, newest: &SessionID, revoked: &[RevokedSession]) {
        if !revoked.is_empty() {
            let ids: Vec<&SessionID> = revoked.iter().map(|session| &session.id).collect();
            tracing::info!(session = %newest, revoked = ?ids, "revoked the oldest sessions of a user with more than maxPerUser");
        }
        record(&self.audit, &self.counts, revoked, EndReason::SessionLimit, Some(newest));
    }
}

/// Whether the provider of the session is still the same and admits its user.
fn is_configured(stored: &StoredSession, settings: &ProviderSettings) -> bool {
    let verified_email = stored.user.email.as_deref().filter(|_| stored.email_verified);
    settings.issuer == stored.user.issuer && settings.allow.admits(&stored.user.groups, verified_email)
}

/// Records revoked sessions in the audit log and the metrics. Omits `actor` for the actor's own session.
fn record(
    audit: &Audit,
    counts: &Counts,
    revoked: &[RevokedSession],
    reason: EndReason,
    actor: Option<&SessionID>,
) {
    let reason = reason.as_str();
    for RevokedSession { id, issuer, subject } in revoked {
        counts.ended(reason);
        let ended_by = actor.filter(|by| *by != id).map(SessionID::as_str);
        audit.record(&Event::SessionEnded { session: id.as_str(), issuer, subject, reason, ended_by });
    }
}

/// Whether the session belongs to a user with this e-mail address, verified or not, or this subject.
fn matches_user(stored: &StoredSession, name: &str) -> bool {
    let email = stored.user.email.as_deref();
    stored.user.subject == name || email.is_some_and(|email| email.eq_ignore_ascii_case(name))
}
