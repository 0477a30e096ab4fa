//! What providers can be asked with again: taken by one at a time, and changed by whoever saw the last change.
//!
//! It is sealed and opened inside of transactions, so that a change of keys in between harms nothing.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Row, Transaction, params};
use zeroize::Zeroizing;

use super::{Store, StoreError, time};
use crate::keys::{DoesNotOpen, FieldSealer, Place, Sealed};
use crate::platform::blocking;

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
    /// Since when it may be spent, as it was before it was taken.
    pub lost_since: Option<Timestamp>,
}

/// What a provider is to be asked again with, and what is known of it then.
#[derive(Debug, Clone, Copy)]
pub struct Released {
    pub due_at: Timestamp,
    pub failures: u32,
    pub lost_since: Option<Timestamp>,
}

/// Who takes refresh tokens, when, and how many.
#[derive(Clone)]
pub struct Taking {
    pub provider: String,
    pub sealer: FieldSealer,
    pub now: Timestamp,
    /// For so long nobody else takes them.
    pub lease: SignedDuration,
    /// The longest that one is put off. What is to wait for longer was put off by a clock that has stepped back since.
    pub longest: SignedDuration,
    pub limit: u32,
}

const COLUMNS: &str = "session_id, provider, held, version, failures, lost_since";

/// Those to ask with. ?1: the provider, ?2: now, ?3: the longest wait from now, ?4: the longest lease from now. The `+`
/// keeps SQLite from looking through all that is not over.
const DUE: &str = "((provider = ?1 AND due_at <= ?2) OR (provider = ?1 AND due_at > ?3)) \
                   AND (leased_until <= ?2 OR leased_until > ?4) AND +give_back_at > ?2";

/// Those to give back, once nobody asks with them any more.
const OVER: &str = "provider = ?1 AND (give_back_at <= ?2 OR (due_at IS NULL AND give_back_at > ?3)) \
                    AND (leased_until <= ?2 OR leased_until > ?4)";

impl Store {
    /// Takes those of live sessions that are due. Until they are released, they may be spent.
    pub async fn take_due_refresh_tokens(&self, taking: Taking) -> Result<Vec<RefreshTokenRow>, StoreError> {
        const TAKE: &str = "UPDATE refresh_tokens SET leased_until = ?2, lost_since = coalesce(lost_since, ?3) \
                            WHERE session_id = ?1";
        self.take((DUE, TAKE), taking).await
    }

    /// The same for sessions that are over, whose tokens are to be given back.
    pub async fn take_refresh_tokens_to_revoke(
        &self,
        taking: Taking,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        // A session that reached the end of its lifetime ends here, as far as its provider is concerned.
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
        // Most of the time there is nothing, and nobody has to wait for the writer to learn that.
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
                        "UPDATE refresh_tokens SET held = ?3, version = version + 1, lost_since = NULL \
                         WHERE session_id = ?1 AND version = ?2",
                    )?
                    .execute(params![id.as_str(), version, next.as_bytes()])?;
                Ok(changed == 1)
            })
            .await
    }

    /// Has the provider asked again, where the session is not over meanwhile.
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

    /// Has the provider asked to take it back at `at`, and not before.
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

    /// It was given back as it was seen as `version`, or never can be. One that took its place meanwhile stays.
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

/// A session is over: what it was asked about with is to be given back, and nobody asks again.
pub(super) fn end(transaction: &Transaction<'_>, session_id: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE refresh_tokens SET due_at = NULL, give_back_at = 0 WHERE session_id = ?1")?
        .execute([session_id])?;
    Ok(())
}

/// The same for all sessions.
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

/// Drops what nobody will take back any more, what belongs to no session, and what a provider that left the configuration
/// would have to be given: there is no client secret any more that it could be asked with.
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

    /// It is asked every second, on a machine that may hold many sessions.
    #[test]
    fn what_is_due_is_found_by_indexes_alone() {
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
            // Each end of time by itself: one bound alone would find everything that waits.
            let bounded = plan.iter().filter(|step| step.contains("_at<?") || step.contains("_at>?")).count();
            assert_eq!(bounded, 2, "{plan:?}");
        }
    }
}
