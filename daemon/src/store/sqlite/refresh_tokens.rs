//! Leases, updates and deletes refresh tokens.
//!
//! Values are sealed and opened inside transactions, so a concurrent key rotation is safe.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, Transaction, params};
use zeroize::Zeroizing;

use super::Sqlite;
use crate::keys::{DecryptError, FieldSealer, Place, Sealed};
use crate::store::refresh_tokens::{LeaseTimes, revoked_before};
use crate::store::{LeaseRequest, NewRefreshToken, NextAttempt, RefreshTokenRow, StoreError, time};

const COLUMNS: &str = "session_id, provider, sealed_grant, version, failures, lost_since";

struct LeasePurpose {
    /// The condition of due tokens. ?1: provider, ?2: now, ?3: now plus the longest pause, ?4: now plus the lease.
    due_sql: &'static str,
    /// Leases one token. ?1: session, ?2: end of the lease, ?3: now.
    claim_sql: &'static str,
}

const REVALIDATION: LeasePurpose = LeasePurpose {
    // The `+` stops SQLite from scanning the index of `revoke_after`.
    due_sql: "((provider = ?1 AND due_at <= ?2) OR (provider = ?1 AND due_at > ?3)) \
          AND (leased_until <= ?2 OR leased_until > ?4) AND +revoke_after > ?2",
    claim_sql: "UPDATE refresh_tokens SET leased_until = ?2, lost_since = coalesce(lost_since, ?3) WHERE session_id = ?1",
};

/// Revocation at the provider. Waits until no lease for revalidation is active.
const REVOCATION: LeasePurpose = LeasePurpose {
    due_sql: "provider = ?1 AND (revoke_after <= ?2 OR (due_at IS NULL AND revoke_after > ?3)) \
          AND (leased_until <= ?2 OR leased_until > ?4)",
    // Clears `due_at`: a session at the end of its lifetime is not revalidated again.
    claim_sql: "UPDATE refresh_tokens SET revoke_after = ?2, due_at = NULL WHERE session_id = ?1 AND ?3 = ?3",
};

/// Finds leased tokens by index: they were due before. ?1: provider, ?2: now.
const END_LEASES: &str = "UPDATE refresh_tokens SET leased_until = 0 \
     WHERE provider = ?1 AND due_at <= ?2 AND leased_until > ?2";

impl Sqlite {
    pub(in crate::store) async fn lease_due_refresh_tokens(
        &self,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        self.lease(&REVALIDATION, request).await
    }

    pub(in crate::store) async fn lease_refresh_tokens_to_revoke(
        &self,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        self.lease(&REVOCATION, request).await
    }

    pub(in crate::store) async fn end_leases(
        &self,
        provider: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let provider = provider.to_owned();
        self.connections
            .write(move |transaction| {
                transaction.execute(END_LEASES, params![provider, time::to_database(now)])?;
                Ok(())
            })
            .await
    }

    async fn lease(
        &self,
        purpose: &'static LeasePurpose,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        // One clock set all times, so the furthest lease is this one.
        let LeaseTimes { now, furthest_due, until, .. } = request.times(SignedDuration::ZERO);
        let bounds = [now, furthest_due, until].map(time::to_database);
        // Usually nothing is due. Check on a reader, so that an idle poll does not take the writer.
        let provider = request.provider.clone();
        let is_any_due = move |reader: &Connection| {
            let [now, max_delay, leased_until] = bounds;
            let mut select = reader
                .prepare_cached(&format!("SELECT 1 FROM refresh_tokens WHERE {} LIMIT 1", purpose.due_sql))?;
            Ok(select.exists(params![provider, now, max_delay, leased_until])?)
        };
        if !self.connections.read_aside(is_any_due).await? {
            return Ok(Vec::new());
        }
        self.connections
            .write(move |transaction| {
                let [now, max_delay, leased_until] = bounds;
                let select =
                    format!("SELECT {COLUMNS} FROM refresh_tokens WHERE {} LIMIT ?5", purpose.due_sql);
                let leased: Vec<RefreshTokenRow> = transaction
                    .prepare_cached(&select)?
                    .query_map(
                        params![request.provider, now, max_delay, leased_until, request.limit],
                        |row| Ok(read(row, &request.sealer)),
                    )?
                    .map(|row| row?)
                    .collect::<Result<_, _>>()?;
                for row in &leased {
                    transaction.prepare_cached(purpose.claim_sql)?.execute(params![
                        row.session_id.as_str(),
                        leased_until,
                        now
                    ])?;
                }
                Ok(leased)
            })
            .await
    }

    pub(in crate::store) async fn swap_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
        sealer: FieldSealer,
        credential: Zeroizing<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                let next = sealer.seal(place(&id), &credential);
                let changed = transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET sealed_grant = ?3, version = version + 1, lost_since = NULL \
                         WHERE session_id = ?1 AND version = ?2",
                    )?
                    .execute(params![id.as_str(), version, next.as_bytes()])?;
                Ok(changed == 1)
            })
            .await
    }

    pub(in crate::store) async fn release_refresh_token(
        &self,
        session_id: &SessionID,
        next_attempt: NextAttempt,
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
                        time::to_database(next_attempt.due_at),
                        next_attempt.failures,
                        next_attempt.uncertain_since.map(time::to_database)
                    ])?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn postpone_revocation(
        &self,
        session_id: &SessionID,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = session_id.clone();
        self.connections
            .write(move |transaction| {
                transaction
                    .prepare_cached(
                        "UPDATE refresh_tokens SET revoke_after = ?2, failures = failures + 1 WHERE session_id = ?1",
                    )?
                    .execute(params![id.as_str(), time::to_database(at)])?;
                Ok(())
            })
            .await
    }

    pub(in crate::store) async fn forget_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
    ) -> Result<(), StoreError> {
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

/// Marks the token of an ended session for revocation at the provider and stops its revalidation.
pub(super) fn mark_for_revocation(transaction: &Transaction<'_>, session_id: &str) -> Result<(), StoreError> {
    transaction
        .prepare_cached("UPDATE refresh_tokens SET due_at = NULL, revoke_after = 0 WHERE session_id = ?1")?
        .execute([session_id])?;
    Ok(())
}

pub(super) fn mark_all_for_revocation(transaction: &Transaction<'_>) -> Result<(), StoreError> {
    transaction.execute("UPDATE refresh_tokens SET due_at = NULL, revoke_after = 0", [])?;
    Ok(())
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    session_id: &SessionID,
    new: &NewRefreshToken,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let sealed = new.sealer.seal(place(session_id), &new.credential);
    transaction
        .prepare_cached(
            "INSERT INTO refresh_tokens (session_id, provider, sealed_grant, version, due_at, revoke_after, leased_until, \
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
    let before = time::to_database(revoked_before(now));
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
    let credential = sealer
        .open(place(&session_id), &Sealed::from_store(row.get("sealed_grant")?))
        .map_err(|DecryptError| StoreError::UnexpectedRow("a refresh token"))?;
    Ok(RefreshTokenRow {
        credential,
        provider: row.get("provider")?,
        version: row.get("version")?,
        failures: row.get("failures")?,
        uncertain_since: row.get::<_, Option<i64>>("lost_since")?.map(time::from_database).transpose()?,
        session_id,
    })
}

fn place(session_id: &SessionID) -> Place<'_> {
    Place { table: "refresh_tokens", row: session_id.as_str(), column: "sealed_grant", version: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The query runs every second, on stores that may hold many sessions.
    #[test]
    fn due_tokens_are_found_by_index_only() {
        let database = rusqlite::Connection::open_in_memory().expect("a database");
        database.execute_batch(include_str!("migrations/0001_first.sql")).expect("the schema");
        for LeasePurpose { due_sql, .. } in [REVALIDATION, REVOCATION] {
            let plan: Vec<String> = database
                .prepare(&format!(
                    "EXPLAIN QUERY PLAN SELECT {COLUMNS} FROM refresh_tokens WHERE {due_sql} LIMIT ?5"
                ))
                .and_then(|mut explain| {
                    explain.query_map(params!["okta", 1, 2, 3, 4], |row| row.get("detail"))?.collect()
                })
                .expect("a plan");
            assert!(plan.iter().any(|step| step.starts_with("SEARCH")), "{plan:?}");
            assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
            // Both time bounds must use the index: one bound alone would match every waiting row.
            let bounded = plan.iter().filter(|step| step.contains("<?)") || step.contains(">?)")).count();
            assert_eq!(bounded, 2, "{plan:?}");
        }
        let plan: Vec<String> = database
            .prepare(&format!("EXPLAIN QUERY PLAN {END_LEASES}"))
            .and_then(|mut explain| explain.query_map(params!["okta", 1], |row| row.get("detail"))?.collect())
            .expect("a plan");
        let by_index = |step: &String| step.contains("refresh_tokens_by_due (provider=? AND due_at<?)");
        assert!(plan.iter().any(by_index), "{plan:?}");
    }
}
