//! Sessions as their users, administrators and operators see and end them.

use infra_shared::api::{EndedSessions, ListedSession, NewerSessions, Session};
use infra_shared::token_text::SessionID;
use jiff::Timestamp;

use super::{Caller, Sessions, whole_second};
use crate::platform::blocking;
use crate::store::{EndReason, StoreError, StoredSession, Which};

/// Sessions whose addresses are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 1000;

/// So many sessions of a user are listed at most, the newest: far more than `maxPerUser` lets live.
const MOST_OF_USER: u32 = 1000;

/// So many newer sessions are counted at most.
const MOST_NEWER: u32 = 100;

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
        let (user, now) = (caller.user(), self.now());
        let stored = self.store.sessions_of(&user.issuer, &user.subject, now)?;
        Ok(self.listed(stored, now, Some(caller)))
    }

    /// The caller's other live sessions that were opened after the caller's. No more are counted than anybody would count:
    /// whoever looks is not kept waiting for thousands.
    pub fn find_newer(&self, caller: &Caller) -> Result<Option<NewerSessions>, StoreError> {
        let (user, now) = (caller.user(), self.now());
        let after = caller.stored().created_at;
        let stored = self.store.sessions_after(&user.issuer, &user.subject, after, MOST_NEWER, now)?;
        let newer = self.listed(stored, now, Some(caller));
        let count = newer.len();
        Ok(newer.into_iter().next().map(|newest| NewerSessions { count, newest }))
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
        let now = self.now();
        Ok(Some(self.listed(self.find(whose).await?, now, Some(caller))))
    }

    /// The live sessions, for an operator.
    pub async fn list_as_operator(&self, whose: Whose) -> Result<Vec<ListedSession>, StoreError> {
        let now = self.now();
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

    /// Ends all of the caller's other sessions, or for an administrator all of `user`'s but the one that asks; durable when it
    /// returns. `None` for anybody else. Those that are not listed any more, for nobody used them for too long, are ended
    /// with them.
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

    /// Forgets the addresses that were recorded once, where they are not any more; answers of how many sessions.
    pub async fn forget_addresses(&self) -> Result<usize, StoreError> {
        let mut count = 0;
        if self.limits.record_addresses {
            return Ok(count);
        }
        // Others write between one part and the next.
        loop {
            match self.store.forget_addresses(FORGOTTEN_AT_ONCE).await? {
                0 => return Ok(count),
                forgotten => count += forgotten,
            }
        }
    }

    /// Ends the session `id` for an operator; `false` where there is none that had not ended.
    pub async fn end_as_operator(&self, id: &SessionID) -> Result<bool, StoreError> {
        self.end(id, EndReason::Operator).await
    }

    /// Ends all of them for an operator, whatever the clock says of them; answers how many.
    pub async fn end_all_as_operator(&self, whose: Whose) -> Result<usize, StoreError> {
        let which = match whose {
            Whose::User(name) => Which::User { name, but: None },
            Whose::Everybody => Which::All,
        };
        self.end_these(which, EndReason::Operator, None).await
    }

    async fn find(&self, whose: Whose) -> Result<Vec<StoredSession>, StoreError> {
        let (store, now) = (self.store.clone(), self.now());
        // Many sessions may be read: not on a thread that serves requests.
        let reading = move || match whose {
            Whose::Everybody => store.live_sessions(now, |_| true),
            Whose::User(name) => store.sessions_named(&name, MOST_OF_USER, now),
        };
        blocking(reading).await
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
            // One that was recorded before is forgotten in time; it is nobody's to see from now on.
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

/// Whether it is a session of the user with this e-mail, verified or not, or with this subject.
fn is_of(stored: &StoredSession, name: &str) -> bool {
    let email = stored.user.email.as_deref();
    stored.user.subject == name || email.is_some_and(|email| email.eq_ignore_ascii_case(name))
}
