//! What providers can be asked with again: taken by one at a time, and changed by whoever saw the last change.
//!
//! It is sealed and opened inside of transactions, so that a change of keys in between harms nothing.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, Transaction, params};
use zeroize::Zeroizing;

use super::{Store, StoreError, time};
use crate::keys::{DoesNotOpen, FieldSealer, Place, Sealed};

/// How long after the end of a session its provider is asked to take the token back.
const GIVEN_BACK_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A refresh token to be kept with a session that is opened.
#[derive(Clone)]
pub struct NewRefreshToken {
    pub provider: String,
    pub sealer: FieldSealer,
    /// What is sealed.
    pub held: Zeroizing<Vec<u8>>,
    /// When the provider is to be asked.
    pub due_at: Timestamp,
}

/// A refresh token that somebody has taken, to ask its provider or to give it back.
pub struct RefreshTokenRow {
    pub session_id: SessionID,
    pub provider: String,
    pub held: Zeroizing<Vec<u8>>,
    pub version: i64,
    pub failures: u32,
}

const COLUMNS: &str = "session_id, provider, held, version, failures";

impl Store {
    /// Takes those of live sessions that are due at `now`, at most `limit`, and for as long as `lease` nobody else does.
    pub async fn take_due_refresh_tokens(
        &self,
        sealer: FieldSealer,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        const DUE: &str = "due_at <= ?1 AND leased_until <= ?1 AND EXISTS (SELECT 1 FROM sessions \
                           WHERE id = session_id AND ended_at IS NULL AND expires_at > ?1)";
        self.take(DUE, sealer, now, lease, limit).await
    }

    /// The same for sessions that are over, whose tokens are to be given back.
    pub async fn take_refresh_tokens_to_revoke(
        &self,
        sealer: FieldSealer,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        const OVER: &str = "leased_until <= ?1 AND EXISTS (SELECT 1 FROM sessions \
                            WHERE id = session_id AND (ended_at IS NOT NULL OR expires_at <= ?1))";
        self.take(OVER, sealer, now, lease, limit).await
    }

    async fn take(
        &self,
        which: &'static str,
        sealer: FieldSealer,
        now: Timestamp,
        lease: SignedDuration,
        limit: u32,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        // Most of the time there is nothing, and nobody has to wait for the writer to learn that.
        let is_any = self.connections.read(|reader| {
            let mut select =
                reader.prepare_cached(&format!("SELECT 1 FROM refresh_tokens WHERE {which} LIMIT 1"))?;
            Ok(select.exists([time::to_database(now)])?)
        })?;
        if !is_any {
            return Ok(Vec::new());
        }
        let until = now.checked_add(lease).unwrap_or(Timestamp::MAX);
        self.connections
            .write(move |transaction| {
                let select =
                    format!("SELECT {COLUMNS} FROM refresh_tokens WHERE {which} ORDER BY due_at LIMIT ?2");
                let taken: Vec<RefreshTokenRow> = transaction
                    .prepare_cached(&select)?
                    .query_map(params![time::to_database(now), limit], |row| Ok(read(row, &sealer)))?
                    .map(|row| row?)
                    .collect::<Result<_, _>>()?;
                for row in &taken {
                    set_lease(transaction, &row.session_id, until)?;
                }
                Ok(taken)
            })
            .await
    }

    /// Keeps `held` in the place of what was seen as `version`; durable when it returns. `false` where somebody else has
    /// changed it meanwhile.
    pub async fn swap_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
        sealer: FieldSealer,
        held: Zeroizing<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                let next = sealer.seal(place(&id), &held);
                let changed = transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET held = ?3, version = version + 1 \
                         WHERE session_id = ?1 AND version = ?2",
                    )?
                    .execute(params![id.as_str(), version, next.as_bytes()])?;
                Ok(changed == 1)
            })
            .await
    }

    /// Has the provider asked again at `due_at`, and not before. A failure counts; what worked forgets them.
    pub async fn release_refresh_token(
        &self,
        session_id: &SessionID,
        due_at: Timestamp,
        worked: bool,
    ) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET due_at = ?2, leased_until = 0, \
                         failures = CASE WHEN ?3 THEN 0 ELSE failures + 1 END WHERE session_id = ?1",
                    )?
                    .execute(params![id.as_str(), time::to_database(due_at), worked])?;
                Ok(())
            })
            .await
    }

    /// Has the provider asked to take it back at `at`, and not before.
    pub async fn postpone_revocation(&self, session_id: &SessionID, at: Timestamp) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET leased_until = ?2, failures = failures + 1 WHERE session_id = ?1",
                    )?
                    .execute(params![id.as_str(), time::to_database(at)])?;
                Ok(())
            })
            .await
    }

    /// It was given back, or never can be.
    pub async fn forget_refresh_token(&self, session_id: &SessionID) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached("DELETE FROM refresh_tokens WHERE session_id = ?1")?
                    .execute([id.as_str()])?;
                Ok(())
            })
            .await
    }
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    session_id: &SessionID,
    new: &NewRefreshToken,
) -> Result<(), StoreError> {
    let sealed = new.sealer.seal(place(session_id), &new.held);
    transaction
        .prepare_cached(
            "INSERT INTO refresh_tokens (session_id, provider, held, version, due_at, leased_until, failures) \
             VALUES (?1, ?2, ?3, 1, ?4, 0, 0)",
        )?
        .execute(params![
            session_id.as_str(),
            new.provider,
            sealed.as_bytes(),
            time::to_database(new.due_at)
        ])?;
    Ok(())
}

/// Drops what nobody will take back any more, and what belongs to no session.
pub(super) fn purge(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let before = time::to_database(now.checked_sub(GIVEN_BACK_WITHIN).unwrap_or(Timestamp::MIN));
    transaction.execute(
        "DELETE FROM refresh_tokens WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE id = session_id \
         AND coalesce(ended_at, expires_at) > ?1)",
        [before],
    )?;
    Ok(())
}

fn set_lease(
    transaction: &Transaction<'_>,
    session_id: &SessionID,
    until: Timestamp,
) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE refresh_tokens SET leased_until = ?2 WHERE session_id = ?1")?
        .execute(params![session_id.as_str(), time::to_database(until)])?;
    Ok(())
}

fn read(row: &Row<'_>, sealer: &FieldSealer) -> Result<RefreshTokenRow, StoreError> {
    let id: String = row.get("session_id")?;
    let session_id = SessionID::parse(&id).ok_or(StoreError::UnexpectedRow("session id"))?;
    let held = sealer
        .open(place(&session_id), &Sealed::from_store(row.get("held")?))
        .map_err(|DoesNotOpen| StoreError::UnexpectedRow("a refresh token"))?;
    Ok(RefreshTokenRow {
        held,
        provider: row.get("provider")?,
        version: row.get("version")?,
        failures: row.get("failures")?,
        session_id,
    })
}

fn place(session_id: &SessionID) -> Place<'_> {
    Place { table: "refresh_tokens", row: session_id.as_str(), column: "held", version: 1 }
}

impl std::fmt::Debug for NewRefreshToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NewRefreshToken").field("provider", &self.provider).finish_non_exhaustive()
    }
}
