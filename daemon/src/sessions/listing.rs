//! Lists live sessions for users, administrators and operators.

use infra_shared::api::{ListedSession, NewerSessions};
use jiff::{SignedDuration, Timestamp};

use super::{Caller, Sessions, UndelegatedCaller, add, truncate_to_second};
use crate::store::{StoreError, StoredSession, UserFilter};

/// Sessions whose addresses are erased in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 1000;

/// Sessions read at once when all are read.
pub(super) const PAGE: u32 = 1000;

/// Maximum number of a user's sessions to list, newest first. Well above any sensible `maxPerUser`.
const MOST_OF_USER: u32 = 1000;

/// Maximum number of newer sessions to count.
const MOST_NEWER: u32 = 100;

impl Sessions {
    /// The caller's own live sessions, newest first.
    pub async fn list_own(&self, caller: &UndelegatedCaller) -> Result<Vec<ListedSession>, StoreError> {
        let (user, now) = (caller.user(), self.now());
        let stored = self.store.sessions_of(&user.issuer, &user.subject, now).await?;
        Ok(self.listed(stored, now, Some(caller)))
    }

    /// The caller's other live sessions that logins opened after the caller's own. The count is capped so that the
    /// request stays fast.
    pub async fn find_newer(&self, caller: &UndelegatedCaller) -> Result<Option<NewerSessions>, StoreError> {
        let (user, now) = (caller.user(), self.now());
        let after = caller.stored().created_at;
        let stored = self.store.sessions_after(&user.issuer, &user.subject, after, MOST_NEWER, now).await?;
        let newer = self.listed(stored, now, Some(caller));
        let count = newer.len();
        Ok(newer.into_iter().next().map(|newest| NewerSessions { count, newest }))
    }

    /// Live sessions of other users. Returns `None` if the caller is no administrator.
    pub async fn list_as_administrator(
        &self,
        caller: &UndelegatedCaller,
        filter: UserFilter,
    ) -> Result<Option<Vec<ListedSession>>, StoreError> {
        if !self.is_administrator(caller) {
            return Ok(None);
        }
        let now = self.now();
        Ok(Some(self.listed(self.find(filter).await?, now, Some(caller))))
    }

    pub async fn list_as_operator(&self, filter: UserFilter) -> Result<Vec<ListedSession>, StoreError> {
        let now = self.now();
        Ok(self.listed(self.find(filter).await?, now, None))
    }

    /// Counts the live sessions, as [`Self::list_as_operator`] lists them. Reads all of them.
    pub async fn count_live(&self) -> Result<u64, StoreError> {
        let now = self.now();
        // A session whose last use was earlier has expired, to the whole second.
        let used_since =
            add(truncate_to_second(now), SignedDuration::from_secs(1) - self.limits.inactivity_timeout);
        self.store.count_live_sessions(now, used_since).await
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

    async fn find(&self, filter: UserFilter) -> Result<Vec<StoredSession>, StoreError> {
        let now = self.now();
        match filter {
            UserFilter::All => {
                let (mut live, mut next) = (Vec::new(), None);
                loop {
                    let page = self.store.live_sessions(now, next, PAGE).await?;
                    live.extend(page.sessions);
                    next = page.next;
                    if next.is_none() {
                        return Ok(live);
                    }
                }
            }
            UserFilter::Named(name) => self.store.sessions_named(&name, MOST_OF_USER, now).await,
        }
    }

    /// Converts stored sessions for display and skips those that are idle for too long.
    fn listed(
        &self,
        stored: Vec<StoredSession>,
        now: Timestamp,
        viewer: Option<&Caller>,
    ) -> Vec<ListedSession> {
        let live = stored.into_iter().filter(|it| it.ended.is_none() && !self.has_expired(it, now));
        live.map(|stored| ListedSession {
            session: self.describe(&stored),
            current: viewer.is_some_and(|caller| caller.session().id == stored.id),
            last_used_at: truncate_to_second(stored.last_used_at),
            device: stored.client_info.device,
            login_method: stored.user.workload().is_none().then_some(stored.client_info.login_method),
            // An address recorded earlier is erased later but hidden immediately.
            address: stored
                .client_info
                .address
                .and_then(|address| self.address_to_store(address))
                .map(|it| it.to_string()),
            user: stored.user.into(),
        })
        .collect()
    }
}
