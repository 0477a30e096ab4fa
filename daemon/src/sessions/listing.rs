//! Lists and ends sessions for users, administrators and operators.

use infra_shared::api::{EndedSessions, ListedSession, NewerSessions, Session};
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::{Caller, Sessions, whole_second};
use crate::platform::blocking;
use crate::store::{EndReason, StoreError, StoredSession, Which};

/// Sessions whose addresses are erased in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 1000;

/// Maximum number of a user's sessions to list, newest first. Well above any sensible `maxPerUser`.
const MOST_OF_USER: u32 = 1000;

/// Maximum number of newer sessions to count.
const MOST_NEWER: u32 = 100;

/// Selects users whose sessions to list or end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Users with this e-mail address, verified or not, or with this subject.
    User(String),
    Everybody,
}

impl Sessions {
    /// The caller's own live sessions, newest first.
    pub fn list_own(&self, caller: &Caller) -> Result<Vec<ListedSession>, StoreError> {
        let (user, now) = (caller.user(), self.now());
        let stored = self.store.sessions_of(&user.issuer, &user.subject, now)?;
        Ok(self.listed(stored, now, Some(caller)))
    }

    /// The caller's other live sessions that were opened after the caller's own. The count is capped so that the
    /// request stays fast.
    pub fn find_newer(&self, caller: &Caller) -> Result<Option<NewerSessions>, StoreError> {
        let (user, now) = (caller.user(), self.now());
        let after = caller.stored().created_at;
        let stored = self.store.sessions_after(&user.issuer, &user.subject, after, MOST_NEWER, now)?;
        let newer = self.listed(stored, now, Some(caller));
        let count = newer.len();
        Ok(newer.into_iter().next().map(|newest| NewerSessions { count, newest }))
    }

    /// Live sessions of other users. Returns `None` if the caller is no administrator.
    pub async fn list_as_administrator(
        &self,
        caller: &Caller,
        whose: Whose,
    ) -> Result<Option<Vec<ListedSession>>, StoreError> {
        if !self.admins.include(caller) {
            return Ok(None);
        }
        let now = self.now();
        Ok(Some(self.listed(self.find(whose).await?, now, Some(caller))))
    }

    /// Live sessions, for an operator.
    pub async fn list_as_operator(&self, whose: Whose) -> Result<Vec<ListedSession>, StoreError> {
        let now = self.now();
        Ok(self.listed(self.find(whose).await?, now, None))
    }

    /// Revokes the session `id` for its user or an administrator. The change is durable on return.
    ///
    /// Returns `false` if the session does not exist, has already ended, or belongs to another user; the caller cannot
    /// tell which. Also ends an idle session for good. Otherwise a longer timeout or a clock that steps back could
    /// revive it.
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

    /// Revokes the caller's other sessions, or for an administrator all sessions of `user` except the caller's own. The
    /// change is durable on return.
    ///
    /// Returns `None` if the caller is no administrator. Includes idle sessions, which are no longer listed.
    pub async fn end_others_for(
        &self,
        caller: &Caller,
        user: Option<String>,
    ) -> Result<Option<EndedSessions>, StoreError> {
        let own = caller.session().id.clone();
        let (which, reason, includes_current) = match user {
            None => (Which::Beside(own.clone()), EndReason::Revoked, true),
            Some(_) if !self.admins.include(caller) => return Ok(None),
            Some(name) => {
                let includes_current = is_of(caller.stored(), &name);
                (Which::User { name, but: Some(own.clone()) }, EndReason::Administrator, includes_current)
            }
        };
        let ended = self.end_these(which, reason, Some(&own)).await?;
        Ok(Some(EndedSessions { ended, includes_current }))
    }

    /// Erases addresses that were recorded earlier if recording is now off. Returns the number of affected sessions.
    pub async fn forget_addresses(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        if self.limits.record_addresses {
            return Ok(count);
        }
        // Works in batches so that other writes can proceed in between.
        loop {
            match self.store.forget_addresses(FORGOTTEN_AT_ONCE).await? {
                0 => return Ok(count),
                forgotten => count += forgotten,
            }
        }
    }

    /// Revokes the session `id` for an operator. Returns `false` if it does not exist or has already ended.
    pub async fn end_as_operator(&self, id: &SessionID) -> Result<bool, StoreError> {
        self.end(id, EndReason::Operator).await
    }

    /// Revokes all matching sessions for an operator, including expired ones. Returns their number.
    pub async fn end_all_as_operator(&self, whose: Whose) -> Result<usize, StoreError> {
        let which = match whose {
            Whose::User(name) => Which::User { name, but: None },
            Whose::Everybody => Which::All,
        };
        self.end_these(which, EndReason::Operator, None).await
    }

    async fn find(&self, whose: Whose) -> Result<Vec<StoredSession>, StoreError> {
        let (store, now) = (self.store.clone(), self.now());
        // The result may be large, so read it off the threads that serve requests.
        let reading = move || match whose {
            Whose::Everybody => store.live_sessions(now, |_| true),
            Whose::User(name) => store.sessions_named(&name, MOST_OF_USER, now),
        };
        blocking(reading).await
    }

    /// Converts stored sessions for display and skips those that are idle for too long.
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
            // An address recorded earlier is erased later but hidden immediately.
            address: stored
                .opening
                .address
                .and_then(|address| self.recorded(address))
                .map(|it| it.to_string()),
            session: Session {
                idle_expires_at: self.idle_expires_at(stored.last_used_at, stored.expires_at),
                created_at: whole_second(stored.created_at),
                expires_at: stored.expires_at,
                id: stored.id,
            },
            user: stored.user.into(),
        })
        .collect()
    }

    fn is_live(&self, stored: &StoredSession, now: Timestamp) -> bool {
        stored.ended.is_none() && now < self.idle_expires_at(stored.last_used_at, stored.expires_at)
    }
}

/// Whether the session belongs to a user with this e-mail address, verified or not, or this subject.
fn is_of(stored: &StoredSession, name: &str) -> bool {
    let email = stored.user.email.as_deref();
    stored.user.subject == name || email.is_some_and(|email| email.eq_ignore_ascii_case(name))
}
