//! Sessions as their users, administrators and operators see and end them.

use infra_shared::api::{ListedSession, Session};
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::{Caller, Sessions, whole_second};
use crate::store::{EndReason, StoreError, StoredSession, Which};

/// Whose sessions are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Those with this e-mail, verified or not, or with this subject.
    User(String),
    Everybody,
}

impl Sessions {
    /// The caller's own live sessions, the newest first.
    pub fn list_own(&self, caller: &Caller) -> Result<Vec<ListedSession>, StoreError> {
        let (user, now) = (caller.user(), self.clock.now());
        let stored = self.store.sessions_of(&user.issuer, &user.subject, now)?;
        Ok(self.listed(stored, now, Some(caller)))
    }

    /// The newest of the caller's other live sessions, where it was opened after the caller's.
    pub fn find_newer(&self, caller: &Caller) -> Result<Option<ListedSession>, StoreError> {
        let (user, now) = (caller.user(), self.clock.now());
        let mut stored = self.store.sessions_of(&user.issuer, &user.subject, now)?;
        stored.retain(|stored| stored.created_at > caller.stored().created_at);
        Ok(self.listed(stored, now, Some(caller)).into_iter().next())
    }

    /// The live sessions of others, for an administrator; `None` for anybody else.
    pub async fn list_as_administrator(
        &self,
        caller: &Caller,
        whose: Whose,
    ) -> Result<Option<Vec<ListedSession>>, StoreError> {
        if !self.admins.include(caller) {
            return Ok(None);
        }
        let now = self.clock.now();
        Ok(Some(self.listed(self.find(whose).await?, now, Some(caller))))
    }

    /// The live sessions, for an operator.
    pub async fn list_as_operator(&self, whose: Whose) -> Result<Vec<ListedSession>, StoreError> {
        let now = self.clock.now();
        Ok(self.listed(self.find(whose).await?, now, None))
    }

    /// Ends the session `id` for its user or an administrator; durable when it returns. `false` where there is none that
    /// had not ended and that the caller may end: which of these it is, is not told. One that nobody used for too long is
    /// ended like any other: a later configuration, or a clock that steps back, must not bring it back.
    pub async fn end_for(&self, caller: &Caller, id: &SessionID) -> Result<bool, StoreError> {
        let Some(stored) = self.store.find_session(id)?.filter(|stored| stored.ended.is_none()) else {
            return Ok(false);
        };
        let (user, owner) = (caller.user(), &stored.user);
        let reason = if *id == caller.session().id {
            EndReason::Logout
        } else if (&user.issuer, &user.subject) == (&owner.issuer, &owner.subject) {
            EndReason::Revoked
        } else if self.admins.include(caller) {
            EndReason::Administrator
        } else {
            return Ok(false);
        };
        self.end_by(id, reason, Some(&caller.session().id)).await
    }

    /// Ends the session `id` for an operator; `false` where there is none that had not ended.
    pub async fn end_as_operator(&self, id: &SessionID) -> Result<bool, StoreError> {
        self.end(id, EndReason::Operator).await
    }

    /// Ends all of them for an operator, whatever the clock says of them; answers how many.
    pub async fn end_all_as_operator(&self, whose: Whose) -> Result<usize, StoreError> {
        let which = match whose {
            Whose::User(name) => Which::User(name),
            Whose::Everybody => Which::All,
        };
        self.end_these(which, EndReason::Operator, None).await
    }

    async fn find(&self, whose: Whose) -> Result<Vec<StoredSession>, StoreError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        let is_wanted = move |stored: &StoredSession| match &whose {
            Whose::Everybody => true,
            Whose::User(name) => {
                let email = stored.user.email.as_deref();
                stored.user.subject == *name || email.is_some_and(|email| email.eq_ignore_ascii_case(name))
            }
        };
        // Every session is read: not on a thread that serves requests.
        tokio::task::spawn_blocking(move || store.live_sessions(now, is_wanted))
            .await
            .expect("reading sessions neither panics nor is aborted")
    }

    /// What people see of `stored`, without those that nobody used for too long.
    fn listed(
        &self,
        stored: Vec<StoredSession>,
        now: Timestamp,
        asking: Option<&Caller>,
    ) -> Vec<ListedSession> {
        let live = stored.into_iter().filter(|stored| self.is_live(stored, now));
        live.map(|stored| ListedSession {
            current: asking.is_some_and(|caller| caller.session().id == stored.id),
            last_used_at: whole_second(stored.last_used_at),
            device: stored.opening.device,
            opened_by: stored.opening.opened_by,
            address: stored.opening.address.map(|address| address.to_string()),
            session: Session {
                idle_expires_at: self.idle_expires_at(stored.last_used_at, stored.expires_at),
                created_at: whole_second(stored.created_at),
                expires_at: stored.expires_at,
                id: stored.id,
            },
            user: stored.user,
        })
        .collect()
    }

    fn is_live(&self, stored: &StoredSession, now: Timestamp) -> bool {
        stored.ended.is_none() && now < self.idle_expires_at(stored.last_used_at, stored.expires_at)
    }
}
