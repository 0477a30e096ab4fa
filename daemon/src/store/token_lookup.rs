//! Looks up tokens: in the cache, and then in the database.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::clock::Clock;
use infra_shared::token_text::{AudienceToken, SessionID, SessionToken};
use jiff::Timestamp;

use super::engine::Engine;
use super::{AudienceRestriction, CacheCounts, RevokedAgain, Store, StoreError, StoredSession, TokenHash};

/// A token with the right secret: its session and, for an audience token, its grant.
#[derive(Debug, Clone)]
pub struct FoundToken {
    pub token_hash: TokenHash,
    pub session: Arc<StoredSession>,
    /// `None` for the session token.
    pub restriction: Option<Arc<AudienceRestriction>>,
}

/// A token as a client presents it, not validated yet.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    pub token: &'a str,
    /// Orders the look-ups of all clients, because anyone can cause one.
    pub client: IpAddr,
}

/// A well-formed token of either kind.
pub(super) enum Token {
    Session(SessionToken),
    Audience(AudienceToken),
}

impl Store {
    /// Looks up a token, in the cache first. A revocation is seen at once.
    pub async fn find_token(
        &self,
        presented: impl Into<Presented<'_>>,
    ) -> Result<Option<FoundToken>, StoreError> {
        let Presented { token: text, client } = presented.into();
        self.check_age()?;
        let hash = TokenHash::of_text(text);
        if let Some(found) = self.cache.find(text, &hash) {
            return Ok(Some(found));
        }
        let Some(token) = Token::parse(text) else { return Ok(None) };
        let read_start = self.cache.begin_read();
        let found = match &self.engine {
            Engine::Sqlite(engine) => engine.read_token(&token, hash.clone()).await?,
            Engine::Postgres(engine) => Box::pin(engine.read_token(&token, hash.clone(), client)).await?,
        };
        match &found {
            Some(found) if found.session.ended.is_none() => self.cache.insert(text, found, read_start),
            Some(found) => self.cache.remove_ended(&found.session.id),
            None => self.cache.remove_token(text, &hash),
        }
        Ok(found)
    }

    /// Like [`Self::find_token`], but from the cache only. `None` means not cached, not invalid.
    pub fn find_cached_token(&self, text: &str) -> Option<FoundToken> {
        self.check_age().ok()?;
        self.cache.find(text, &TokenHash::of_text(text))
    }

    /// Looks up the session that a signed token names, in the cache first. A revocation is seen at once.
    pub async fn find_session_of_signed_token(
        &self,
        id: &SessionID,
        client: IpAddr,
    ) -> Result<Option<Arc<StoredSession>>, StoreError> {
        self.check_age()?;
        if let Some(session) = self.cache.find_session(id) {
            return Ok(Some(session));
        }
        let read_start = self.cache.begin_read();
        let found = match &self.engine {
            Engine::Sqlite(engine) => engine.find_session(id).await?,
            Engine::Postgres(engine) => engine.look_up_session(id, client).await?,
        };
        let found = found.map(Arc::new);
        match &found {
            Some(session) if session.ended.is_none() => self.cache.insert_session(session, read_start),
            Some(_) => self.cache.remove_ended(id),
            None => {}
        }
        Ok(found)
    }

    /// Like [`Self::find_session_of_signed_token`], but from the cache only. `None` means not cached, not ended.
    pub fn find_cached_session(&self, id: &SessionID) -> Option<Arc<StoredSession>> {
        self.check_age().ok()?;
        self.cache.find_session(id)
    }

    /// Looks up a session token in memory while the shared database is away, for as long as the grace lasts. `None` means
    /// that only the database can answer.
    pub fn find_token_in_grace(&self, text: &str) -> Option<FoundToken> {
        self.check_age().ok()?;
        self.cache.find_in_grace(text)
    }

    /// Returns the grace if no answer was reported since the database went away.
    pub fn begin_grace(&self) -> Option<Duration> {
        self.cache.freshness().begin_grace()
    }

    /// Removes a session token from memory if its holder tried to sign out, so that it is not valid in grace.
    pub fn drop_token_from_cache(&self, text: &str) {
        self.cache.remove_token(text, &TokenHash::of_text(text));
    }

    /// Learns what other daemons change, and removes it from the cache, until dropped. Until the first answer, nothing in
    /// the cache counts. Reports what had to be revoked again because the database lost commits. A daemon with the store for
    /// itself has nothing to learn.
    pub async fn follow_changes(&self, clock: &dyn Clock, report: impl Fn(RevokedAgain)) {
        match &self.engine {
            Engine::Sqlite(_) => std::future::pending().await,
            Engine::Postgres(engine) => engine.follow_changes(&self.cache, clock, report).await,
        }
    }

    /// Frees the memory of cached tokens that expired at `now` or before.
    pub fn drop_expired_from_cache(&self, now: Timestamp) {
        self.cache.remove_expired(now);
    }

    /// Returns how the token cache was used, and its memory.
    pub fn cache_counts(&self) -> CacheCounts {
        self.cache.counts()
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let session = || SessionToken::parse(text).map(Self::Session);
        AudienceToken::parse(text).map(Self::Audience).or_else(session)
    }
}

/// Most tests have one client.
#[cfg(test)]
impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for Presented<'a> {
    fn from(token: &'a T) -> Self {
        Self { token: token.as_ref(), client: std::net::Ipv4Addr::LOCALHOST.into() }
    }
}
