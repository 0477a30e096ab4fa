//! Refresh tokens: leased to one worker, updated by compare-and-set.
//!
//! Values are sealed and opened inside transactions, so a concurrent key rotation is safe.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, Transaction, params};
use zeroize::Zeroizing;

use super::{Store, StoreError, time};
use crate::keys::{DoesNotOpen, FieldSealer, Place, Sealed};
use crate::platform::blocking;

/// How long after a session ends the daemon keeps trying to revoke its refresh token at the provider.
const GIVEN_BACK_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A refresh token to store with a new session.
#[derive(Clone)]
pub struct NewRefreshToken {
    pub provider: String,
    pub sealer: FieldSealer,
    /// The plaintext, sealed when it is stored.
    pub held: Zeroizing<Vec<u8>>,
    /// When the session is due for revalidation.
    pub due_at: Timestamp,
}

/// A refresh token leased to one worker, for revalidation or for revocation at the provider.
pub struct RefreshTokenRow {
    pub session_id: SessionID,
    pub provider: String,
    pub held: Zeroizing<Vec<u8>>,
    pub version: i64,
    pub failures: u32,
    /// Since when the token may have been consumed by a request without an answer. The value from before this lease.
    pub lost_since: Option<Timestamp>,
}

/// The new state of a refresh token when its lease ends.
#[derive(Debug, Clone, Copy)]
pub struct Released {
    pub due_at: Timestamp,
    pub failures: u32,
    pub lost_since: Option<Timestamp>,
}

/// A request for leases: which provider, when, and how many.
#[derive(Clone)]
pub struct Taking {
    pub provider: String,
    pub sealer: FieldSealer,
    pub now: Timestamp,
    /// How long other workers cannot lease the tokens.
    pub lease: SignedDuration,
    /// The longest pause between attempts. A due time further away was set before the clock stepped back.
    pub longest: SignedDuration,
    pub limit: u32,
}

const COLUMNS: &str = "session_id, provider, held, version, failures, lost_since";

/// Tokens due for revalidation. ?1: provider, ?2: now, ?3: now plus the longest pause, ?4: now plus the lease. The
/// `+` stops SQLite from scanning the index of `give_back_at`.
const DUE: &str = "((provider = ?1 AND due_at <= ?2) OR (provider = ?1 AND due_at > ?3)) \
                   AND (leased_until <= ?2 OR leased_until > ?4) AND +give_back_at > ?2";

/// Tokens of ended sessions, due for revocation at the provider once no lease is held.
const OVER: &str = "provider = ?1 AND (give_back_at <= ?2 OR (due_at IS NULL AND give_back_at > ?3)) \
                    AND (leased_until <= ?2 OR leased_until > ?4)";

impl Store {
    /// Leases tokens of live sessions that are due. Until released, a leased token counts as possibly consumed.
    pub async fn take_due_refresh_tokens(&self, taking: Taking) -> Result<Vec<RefreshTokenRow>, StoreError> {
        const TAKE: &str = "UPDATE refresh_tokens SET leased_until = ?2, lost_since = coalesce(lost_since, ?3) \
                            WHERE session_id = ?1";
        self.take((DUE, TAKE), taking).await
    }

    /// Leases tokens of ended sessions for revocation at the provider.
    pub async fn take_refresh_tokens_to_revoke(
        &self,
        taking: Taking,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        // Clear `due_at`: a session at the end of its lifetime is not revalidated again.
        const TAKE: &str =
            "UPDATE refresh_tokens SET give_back_at = ?2, due_at = NULL WHERE session_id = ?1 AND ?3 = ?3";
        self.take((OVER, TAKE), taking).await
    }

    async fn take(
        &self,
        (which, take): (&'static str, &'static str),
        taking: Taking,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        let add = |duration| taking.now.checked_add(duration).unwrap_or(Timestamp::MAX);
        let until = add(taking.lease);
        let bounds = [taking.now, add(taking.longest), until].map(time::to_database);
        // Usually nothing is due. Check on a reader, so that an idle poll does not take the writer.
        let (connections, provider) = (self.connections.clone(), taking.provider.clone());
        let looking = move || {
            connections.read(|reader| {
                let [now, longest, leased] = bounds;
                let mut select =
                    reader.prepare_cached(&format!("SELECT 1 FROM refresh_tokens WHERE {which} LIMIT 1"))?;
                Ok(select.exists(params![provider, now, longest, leased])?)
            })
        };
        if !blocking(looking).await? {
            return Ok(Vec::new());
        }
        self.connections
            .write(move |transaction| {
                let [now, longest, leased] = bounds;
                let select = format!("SELECT {COLUMNS} FROM refresh_tokens WHERE {which} LIMIT ?5");
                let taken: Vec<RefreshTokenRow> = transaction
                    .prepare_cached(&select)?
                    .query_map(params![taking.provider, now, longest, leased, taking.limit], |row| {
                        Ok(read(row, &taking.sealer))
                    })?
                    .map(|row| row?)
                    .collect::<Result<_, _>>()?;
                for row in &taken {
                    transaction.prepare_cached(take)?.execute(params![
                        row.session_id.as_str(),
                        leased,
                        now
                    ])?;
                }
                Ok(taken)
            })
            .await
    }

    /// Replaces the token if it is still at `version`; durable when it returns. Returns `false` if another worker has
    /// changed it.
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
                        "UPDATE refresh_tokens SET held = ?3, version = version + 1, lost_since = NULL \
                         WHERE session_id = ?1 AND version = ?2",
                    )?
                    .execute(params![id.as_str(), version, next.as_bytes()])?;
                Ok(changed == 1)
            })
            .await
    }

    /// Ends the lease and schedules the next revalidation, unless the session has ended.
    pub async fn release_refresh_token(
        &self,
        session_id: &SessionID,
        released: Released,
    ) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET due_at = CASE WHEN due_at IS NULL THEN NULL ELSE ?2 END, \
                         leased_until = 0, failures = ?3, lost_since = ?4 WHERE session_id = ?1",
                    )?
                    .execute(params![
                        id.as_str(),
                        time::to_database(released.due_at),
                        released.failures,
                        released.lost_since.map(time::to_database)
                    ])?;
                Ok(())
            })
            .await
    }

    /// Postpones the revocation at the provider until `at`.
    pub async fn postpone_revocation(&self, session_id: &SessionID, at: Timestamp) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET give_back_at = ?2, failures = failures + 1 WHERE session_id = ?1",
                    )?
                    .execute(params![id.as_str(), time::to_database(at)])?;
                Ok(())
            })
            .await
    }

    /// Deletes the token if it is still at `version`: it was revoked at the provider, or never can be.
    pub async fn forget_refresh_token(&self, session_id: &SessionID, version: i64) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached("DELETE FROM refresh_tokens WHERE session_id = ?1 AND version = ?2")?
                    .execute(params![id.as_str(), version])?;
                Ok(())
            })
            .await
    }
}

/// Marks the token of an ended session for revocation and stops its revalidation.
pub(super) fn end(transaction: &Transaction<'_>, session_id: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE refresh_tokens SET due_at = NULL, give_back_at = 0 WHERE session_id = ?1")?
        .execute([session_id])?;
    Ok(())
}

/// Marks the tokens of all sessions for revocation.
pub(super) fn end_all(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute("UPDATE refresh_tokens SET due_at = NULL, give_back_at = 0", [])?;
    Ok(())
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    session_id: &SessionID,
    new: &NewRefreshToken,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sealed = new.sealer.seal(place(session_id), &new.held);
    transaction
        .prepare_cached(
            "INSERT INTO refresh_tokens (session_id, provider, held, version, due_at, give_back_at, leased_until, \
             failures) VALUES (?1, ?2, ?3, 1, ?4, ?5, 0, 0)",
        )?
        .execute(params![
            session_id.as_str(),
            new.provider,
            sealed.as_bytes(),
            time::to_database(new.due_at),
            time::to_database(expires_at)
        ])?;
    Ok(())
}

/// Deletes tokens whose revocation period has passed and tokens without a session. Also deletes revocations for
/// providers that left the configuration, because the daemon no longer has their client secret.
pub(super) fn purge(transaction: &Transaction<'_>, now: Timestamp) -> Result<(), StoreError> {
    let before = time::to_database(now.checked_sub(GIVEN_BACK_WITHIN).unwrap_or(Timestamp::MIN));
    transaction.execute(
        "DELETE FROM refresh_tokens WHERE NOT EXISTS (SELECT 1 FROM sessions WHERE id = session_id \
         AND coalesce(ended_at, expires_at) > ?1) \
         OR (due_at IS NULL AND provider NOT IN (SELECT name FROM providers))",
        [before],
    )?;
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
        lost_since: row.get::<_, Option<i64>>("lost_since")?.map(time::from_database).transpose()?,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The query runs every second, on stores that may hold many sessions.
    #[test]
    fn due_tokens_are_found_by_index_only() {
        let database = rusqlite::Connection::open_in_memory().expect("a database");
        database.execute_batch(include_str!("migrations/0001_first.sql")).expect("the schema");
        for which in [DUE, OVER] {
            let plan: Vec<String> = database
                .prepare(&format!(
                    "EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM refresh_tokens WHERE {which} LIMIT ?5"
                ))
                .and_then(|mut explain| {
                    explain.query_map(params!["okta", 1, 2, 3, 4], |row| row.get("detail"))?.collect()
                })
                .expect("a plan");
            assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "{plan:?}");
            assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
            // Both time bounds must use the index: one bound alone would match every waiting row.
            let bounded = plan.iter().filter(|step| step.contains("_at<?") || step.contains("_at>?")).count();
            assert_eq!(bounded, 2, "{plan:?}");
        }
    }
}
