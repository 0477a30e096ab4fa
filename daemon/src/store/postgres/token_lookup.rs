//! Reads tokens with their sessions.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_postgres::Row;

use super::Postgres;
use super::audience_tokens::AudienceTokenPlace;
use super::connections::{MOST, WAIT};
use super::session_rows::{COLUMNS, DUMMY_ID, stored};
use super::statements::parameters;
use crate::addresses::client_key;
use crate::fair_queue::{FairQueue, QueueLimits};
use crate::store::token_lookup::Token;
use crate::store::{FoundToken, StoreError, TokenHash};

/// Connections that look-ups of tokens leave to everything else. The poll has one of them.
const RESERVED: usize = 4;
/// As many as the exchanges of one client that wait.
const WAITING_PER_CLIENT: usize = 256;
const MAX_WAITING: usize = 4096;

/// The queue in front of look-ups. Anyone can cause them with tokens that do not exist, so they get a share of the
/// connections, by turns of the clients.
pub(super) fn queue() -> FairQueue {
    FairQueue::new(QueueLimits {
        concurrent: MOST - RESERVED,
        waiting_per_client: WAITING_PER_CLIENT,
        waiting: MAX_WAITING,
        timeout: WAIT,
    })
}

impl Postgres {
    /// Reads a token from the database.
    ///
    /// An unknown ID and a wrong secret cost the same work and give the same result, so timing does not reveal which IDs
    /// exist. In both cases the dummy row is read and opened. The database compares MACs, which a caller cannot compute.
    pub(in crate::store) async fn read_token(
        &self,
        token: &Token,
        hash: TokenHash,
        client: IpAddr,
    ) -> Result<Option<FoundToken>, StoreError> {
        let _permit = self.look_ups.acquire(client_key(client)).await?;
        let (table, id) = match token {
            Token::Session(token) => ("sessions", token.id().as_str()),
            Token::Audience(token) => ("audience_tokens", token.id().as_str()),
        };
        let row_of = |table| {
            format!(
                "CASE WHEN EXISTS (SELECT FROM {table} WHERE id = $1 AND token_mac = $2) THEN $1 ELSE $3 END"
            )
        };
        let select = match token {
            Token::Session(_) => format!("SELECT {COLUMNS} FROM sessions s WHERE s.id = {}", row_of(table)),
            Token::Audience(_) => format!(
                "SELECT {COLUMNS}, {} FROM audience_tokens a JOIN sessions s ON s.id = a.session_id WHERE a.id = {}",
                AudienceTokenPlace::COLUMNS,
                row_of(table)
            ),
        };
        let mac = self.rows.token_mac(&hash.0);
        // Purged since it was found, because it expired.
        let Some(row) = self.read_one(&select, parameters![id, mac.as_slice(), DUMMY_ID]).await? else {
            return Ok(None);
        };
        self.found(token, hash, &row)
    }

    fn found(&self, token: &Token, hash: TokenHash, row: &Row) -> Result<Option<FoundToken>, StoreError> {
        let session = stored(&self.rows, row);
        // An attacker with write access may have changed the dummy row.
        if row.try_get::<_, &str>("id")? == DUMMY_ID {
            return Ok(None);
        }
        let session = session?;
        let (stored_hash, restriction) = match token {
            Token::Session(_) => (session.token_hash.clone(), None),
            Token::Audience(_) => {
                let (stored_hash, restriction) = AudienceTokenPlace::of_row(row)?.open(&self.rows, row)?;
                (stored_hash, Some(Arc::new(restriction)))
            }
        };
        // What is sealed decides. That of the dummy row is the hash of no token.
        let is_match = stored_hash.equals(&hash);
        Ok(is_match.then(|| FoundToken { token_hash: hash, session: Arc::new(session), restriction }))
    }
}
