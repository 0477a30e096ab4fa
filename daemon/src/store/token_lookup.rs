//! Looks up tokens: in the cache, and then in the database.

use std::sync::Arc;

use infra_shared::token_text::{AudienceToken, SessionToken};

use super::sessions::DUMMY_ID;
use super::{AudienceRestriction, Store, StoreError, StoredSession, TokenHash, audience_tokens, sessions};

/// A token with the right secret: its session and, for an audience token, its grant.
#[derive(Debug, Clone)]
pub struct FoundToken {
    pub token_hash: TokenHash,
    pub session: Arc<StoredSession>,
    /// `None` for the session token.
    pub restriction: Option<Arc<AudienceRestriction>>,
}

/// A well-formed token of either kind.
enum Token {
    Session(SessionToken),
    Audience(AudienceToken),
}

impl Store {
    /// Looks up a token. The result may be one second old, but a revocation is seen at once.
    pub async fn find_token(&self, text: &str) -> Result<Option<FoundToken>, StoreError> {
        self.guard.check()?;
        let hash = TokenHash::of_text(text);
        if let Some(found) = self.cache.find(&hash) {
            return Ok(Some(found));
        }
        let Some(token) = Token::parse(text) else { return Ok(None) };
        let read_start = self.cache.begin_read();
        let found = self.read_token(&token, hash).await?;
        if let Some(found) = found.as_ref().filter(|found| found.session.ended.is_none()) {
            self.cache.insert(found, read_start);
        }
        Ok(found)
    }

    /// Like [`Self::find_token`], but from the cache only. `None` means not cached, not invalid.
    pub fn find_cached_token(&self, text: &str) -> Option<FoundToken> {
        self.guard.check().ok()?;
        self.cache.find(&TokenHash::of_text(text))
    }

    /// Reads a token from the database.
    ///
    /// An unknown id and a wrong secret cost the same work and give the same result, so timing does not reveal which
    /// ids exist. In both cases a dummy row is read.
    async fn read_token(&self, token: &Token, hash: TokenHash) -> Result<Option<FoundToken>, StoreError> {
        let (table, id) = match token {
            Token::Session(token) => ("sessions", token.id().as_str()),
            Token::Audience(token) => ("audience_tokens", token.id().as_str()),
        };
        let stored_hash =
            format!("SELECT coalesce((SELECT token_hash FROM {table} WHERE id = ?1), zeroblob(32))");
        self.connections
            .look_up(|reader| {
                let stored = reader.prepare_cached(&stored_hash)?.query_row([id], |row| row.get(0))?;
                let is_match = TokenHash(stored).equals(&hash);
                let row = if is_match { id } else { DUMMY_ID };
                let (session, restriction) = match token {
                    Token::Session(_) => (sessions::session_id(row)?, None),
                    Token::Audience(_) => {
                        // Purged since its hash was read, because it expired.
                        let Some((session, restriction)) = audience_tokens::find(reader, row)? else {
                            return Ok(None);
                        };
                        (session, Some(Arc::new(restriction)))
                    }
                };
                let minimum = self.guard.minimum_state(session.as_str());
                let Some(session) = sessions::find(reader, session.as_str())? else { return Ok(None) };
                self.guard.check_session(&session, minimum)?;
                Ok(is_match.then(|| FoundToken { token_hash: hash, session: Arc::new(session), restriction }))
            })
            .await
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let session = || SessionToken::parse(text).map(Self::Session);
        AudienceToken::parse(text).map(Self::Audience).or_else(session)
    }
}
