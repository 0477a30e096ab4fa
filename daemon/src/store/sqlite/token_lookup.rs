//! Reads tokens with their sessions.

use std::sync::Arc;

use super::sessions::{self, DUMMY_ID};
use super::{Sqlite, audience_tokens};
use crate::store::token_lookup::Token;
use crate::store::{FoundToken, StoreError, TokenHash};

impl Sqlite {
    /// Reads a token from the database.
    ///
    /// An unknown id and a wrong secret cost the same work and give the same result, so timing does not reveal which
    /// ids exist. In both cases a dummy row is read.
    pub(in crate::store) async fn read_token(
        &self,
        token: &Token,
        hash: TokenHash,
    ) -> Result<Option<FoundToken>, StoreError> {
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
