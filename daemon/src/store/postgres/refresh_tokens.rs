//! Leases, updates and deletes refresh tokens.
//!
//! They are sealed like all rows of the shared database. The sealer that callers bring is for the fields of an encrypted file.

use infra_shared::token_text::SessionID;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use super::Postgres;
use super::providers::provider_key;
use super::session_rows::session_id;
use super::statements::{moment, parameters};
use crate::keys::{DecryptError, FieldSealer, RowKeys, RowPlace, SealedRow};
use crate::store::refresh_tokens::revoked_before;
use crate::store::{Lease, LeaseRequest, NewRefreshToken, NextAttempt, RefreshTokenRow, StoreError, time};

/// Of the table `refresh_tokens`, called `r`. Larger ones are read as empty and do not open.
pub(super) const SEALED: &str = "CASE WHEN octet_length(r.sealed) > 262144 THEN '' ELSE r.sealed END";
pub(super) const SEALED_OF_MANY: &str = "CASE WHEN octet_length(r.sealed) > 4096 THEN '' ELSE r.sealed END";
/// How much the clocks of members may differ.
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_mins(5);

struct LeasePurpose {
    /// The condition of due tokens. $1: provider, $2: now, $3: now plus the longest pause, $4: now plus the longest lease.
    due_sql: &'static str,
    /// What a lease sets. $5: its end, $7: the member.
    claim_sql: &'static str,
}

const REVALIDATION: LeasePurpose = LeasePurpose {
    due_sql: "provider_key = $1 AND (due_at <= $2 OR due_at > $3) AND (leased_until <= $2 OR leased_until > $4) \
              AND revoke_after > $2",
    claim_sql: "leased_until = $5, leased_by = $7, lost_since = coalesce(r.lost_since, $2)",
};

/// Revocation at the provider. Waits until no lease for revalidation is active.
const REVOCATION: LeasePurpose = LeasePurpose {
    due_sql: "provider_key = $1 AND (revoke_after <= $2 OR (due_at IS NULL AND revoke_after > $3)) \
              AND (leased_until <= $2 OR leased_until > $4)",
    // Clears `due_at`: a session at the end of its lifetime is not revalidated again.
    claim_sql: "revoke_after = $5, due_at = NULL",
};

impl Postgres {
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

    /// Leaves the leases of other members. Those of a daemon that was killed end with their time.
    pub(in crate::store) async fn end_leases(
        &self,
        provider: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (provider, now) = (provider_key(&self.rows, provider), time::to_database(now));
        let update = "UPDATE refresh_tokens SET leased_until = 0 \
                      WHERE provider_key = $1 AND due_at <= $2 AND leased_until > $2 AND leased_by = $3";
        self.write(update, parameters![provider.as_slice(), now, self.member.as_str()]).await?;
        Ok(())
    }

    /// One statement: another member skips the locked rows, and sees them leased once they are unlocked.
    async fn lease(
        &self,
        purpose: &LeasePurpose,
        request: LeaseRequest,
    ) -> Result<Vec<RefreshTokenRow>, StoreError> {
        let times = request.times(CLOCK_DIFFERENCE);
        let LeasePurpose { due_sql, claim_sql } = purpose;
        let update = format!(
            "WITH due AS (SELECT session_id, lost_since FROM refresh_tokens WHERE {due_sql} LIMIT $6 \
             FOR NO KEY UPDATE SKIP LOCKED) \
             UPDATE refresh_tokens r SET {claim_sql} FROM due WHERE r.session_id = due.session_id \
             RETURNING r.session_id, r.key_version, {SEALED} AS sealed, r.version, r.failures, due.lost_since"
        );
        let provider = provider_key(&self.rows, &request.provider);
        let rows = self
            .write_returning(
                &update,
                parameters![
                    provider.as_slice(),
                    time::to_database(times.now),
                    time::to_database(times.furthest_due),
                    time::to_database(times.furthest_lease),
                    time::to_database(times.until),
                    i64::from(request.limit),
                    self.member.as_str(),
                ],
            )
            .await?;
        let mut leased = Vec::with_capacity(rows.len());
        for row in &rows {
            match read(&self.rows, row, &request.provider) {
                Ok(token) => leased.push(token),
                // The others are leased, so they have to be used.
                Err(error) => tracing::error!(%error, "left out a refresh token"),
            }
        }
        Ok(leased)
    }

    pub(in crate::store) async fn swap_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
        _: FieldSealer,
        credential: Zeroizing<Vec<u8>>,
    ) -> Result<bool, StoreError> {
        // The seal binds the provider, which is a column.
        let select = "SELECT provider_key FROM refresh_tokens WHERE session_id = $1";
        let Some(row) = self.read_one(select, parameters![session_id.as_str()]).await? else {
            return Ok(false);
        };
        let next = self.rows.seal(&place(session_id.as_str(), row.try_get("provider_key")?), &credential);
        let update = "UPDATE refresh_tokens SET key_version = $3, sealed = $4, version = version + 1, lost_since = NULL \
                      WHERE session_id = $1 AND version = $2";
        Ok(self
            .write(update, parameters![session_id.as_str(), version, next.key_version, next.bytes])
            .await?
            == 1)
    }

    /// Leaves a token that another member leased since.
    pub(in crate::store) async fn release_refresh_token(
        &self,
        session_id: &SessionID,
        next_attempt: NextAttempt,
    ) -> Result<(), StoreError> {
        let update = "UPDATE refresh_tokens SET due_at = CASE WHEN due_at IS NULL THEN NULL ELSE $2 END, \
                      leased_until = 0, failures = $3, lost_since = $4 WHERE session_id = $1 AND leased_by = $5";
        self.write(
            update,
            parameters![
                session_id.as_str(),
                time::to_database(next_attempt.due_at),
                i32::try_from(next_attempt.failures).unwrap_or(i32::MAX),
                next_attempt.uncertain_since.map(time::to_database),
                self.member.as_str()
            ],
        )
        .await?;
        Ok(())
    }

    pub(in crate::store) async fn postpone_revocation(
        &self,
        session_id: &SessionID,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let update =
            "UPDATE refresh_tokens SET revoke_after = $2, failures = failures + 1 WHERE session_id = $1";
        self.write(update, parameters![session_id.as_str(), time::to_database(at)]).await?;
        Ok(())
    }

    pub(in crate::store) async fn forget_refresh_token(
        &self,
        session_id: &SessionID,
        version: i64,
    ) -> Result<(), StoreError> {
        let delete = "DELETE FROM refresh_tokens WHERE session_id = $1 AND version = $2";
        self.write(delete, parameters![session_id.as_str(), version]).await?;
        Ok(())
    }

    /// Deletes tokens whose revocation period has passed and tokens without a session. Also deletes revocations for
    /// providers that no member lists, because no member has their client secret.
    pub(super) async fn purge_refresh_tokens(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let delete = "DELETE FROM refresh_tokens WHERE session_id = ANY (ARRAY (SELECT r.session_id FROM refresh_tokens r \
                      WHERE NOT EXISTS (SELECT FROM sessions s WHERE s.id = r.session_id \
                      AND coalesce(s.ended_at, s.expires_at) > $1) \
                      OR (r.due_at IS NULL AND r.provider_key NOT IN (SELECT name_key FROM providers)) \
                      LIMIT $2 FOR UPDATE OF r SKIP LOCKED))";
        self.delete_in_batches(lease, delete, time::to_database(revoked_before(now))).await.map(|_| ())
    }
}

/// Marks the tokens of ended sessions for revocation at the provider and stops their revalidation.
pub(super) async fn mark_for_revocation(
    transaction: &Transaction<'_>,
    sessions: &[&str],
) -> Result<(), StoreError> {
    let update = "UPDATE refresh_tokens SET due_at = NULL, revoke_after = 0 WHERE session_id = ANY($1)";
    transaction.execute_typed(update, parameters![sessions.to_vec()]).await?;
    Ok(())
}

pub(super) async fn insert(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    session_id: &SessionID,
    new: &NewRefreshToken,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let provider = provider_key(keys, &new.provider);
    let sealed = keys.seal(&place(session_id.as_str(), &provider), &new.credential);
    transaction
        .execute_typed(
            "INSERT INTO refresh_tokens (session_id, provider_key, key_version, sealed, version, due_at, revoke_after, \
             leased_until, failures) VALUES ($1, $2, $3, $4, 1, $5, $6, 0, 0)",
            parameters![
                session_id.as_str(),
                provider.as_slice(),
                sealed.key_version,
                sealed.bytes,
                time::to_database(new.due_at),
                time::to_database(expires_at),
            ],
        )
        .await?;
    Ok(())
}

fn read(keys: &RowKeys, row: &Row, provider: &str) -> Result<RefreshTokenRow, StoreError> {
    let session_id = session_id(row.try_get("session_id")?)?;
    let sealed = SealedRow { key_version: row.try_get("key_version")?, bytes: row.try_get("sealed")? };
    let credential = keys
        .open(&place(session_id.as_str(), &provider_key(keys, provider)), &sealed)
        .map_err(|DecryptError| StoreError::UnexpectedRow("a refresh token"))?;
    Ok(RefreshTokenRow {
        credential,
        provider: provider.to_owned(),
        version: row.try_get("version")?,
        failures: u32::try_from(row.try_get::<_, i32>("failures")?)
            .map_err(|_| StoreError::UnexpectedRow("a count"))?,
        uncertain_since: moment(row.try_get("lost_since")?)?,
        session_id,
    })
}

pub(super) fn place<'a>(session_id: &'a str, provider_key: &'a [u8]) -> RowPlace<'a> {
    RowPlace {
        table: "refresh_tokens",
        id: session_id.as_bytes(),
        user_key: provider_key,
        ..RowPlace::default()
    }
}
