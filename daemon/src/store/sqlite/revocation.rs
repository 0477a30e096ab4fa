//! Revokes sessions. All revocations, whatever their reason, run one statement.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Row, Transaction, params_from_iter};

use super::Sqlite;
use super::guard::{GUARDED, GuardedChange};
use super::sessions::session_id;
use super::{listing, refresh_tokens};
use crate::store::{EndReason, RevokedSession, SessionSelector, StoreError, UserFilter, time};

impl Sqlite {
    pub(in crate::store) async fn revoke(
        &self,
        selector: SessionSelector,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        self.write_guarded(move |transaction, change| revoke(transaction, change, &selector, at, reason))
            .await
    }
}

/// Revokes the selected sessions within a guarded change, and those that they delegated.
pub(super) fn revoke(
    transaction: &Transaction<'_>,
    change: &mut GuardedChange<'_>,
    selector: &SessionSelector,
    at: Timestamp,
    reason: EndReason,
) -> Result<Vec<RevokedSession>, StoreError> {
    let mut revoked = Vec::new();
    update(transaction, selector, at, reason, |row| {
        change.revoke(row)?;
        revoked.push(RevokedSession {
            id: session_id(&row.get::<_, String>("id")?)?,
            issuer: row.get("issuer")?,
            subject: row.get("subject")?,
        });
        Ok(())
    })?;
    Ok(revoked)
}

/// Marks the selected sessions as revoked, and their refresh tokens for revocation at the provider. Calls `each` with
/// every new row of [`GUARDED`]. Returns the number of sessions.
pub(super) fn update(
    transaction: &Transaction<'_>,
    selector: &SessionSelector,
    at: Timestamp,
    reason: EndReason,
    mut each: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
) -> Result<usize, StoreError> {
    let (condition, values) = condition(selector);
    let mut update = transaction.prepare_cached(&statement(&condition))?;
    let common = [Value::from(time::to_database(at)), Value::from(reason.as_str().to_owned())];
    let mut rows = update.query(params_from_iter(common.into_iter().chain(values)))?;
    let (is_all, mut count) = (*selector == SessionSelector::ALL, 0);
    while let Some(row) = rows.next()? {
        each(row)?;
        if !is_all {
            refresh_tokens::mark_for_revocation(transaction, &row.get::<_, String>("id")?)?;
        }
        count += 1;
    }
    if is_all {
        refresh_tokens::mark_all_for_revocation(transaction)?;
    }
    Ok(count)
}

/// The SQL condition, and its parameters from `?3` on. `?1` is the time of the revocation.
fn condition(selector: &SessionSelector) -> (String, Vec<Value>) {
    const OTHERS: &str =
        "(issuer, subject) = (SELECT issuer, subject FROM sessions WHERE id = ?3) AND id <> ?3";
    let id = |id: &SessionID| Value::from(id.as_str().to_owned());
    match selector {
        SessionSelector::Ids(ids) => {
            let ids = serde_json::to_string(ids).expect("a list of ids is JSON");
            // The other selectors name users, and so the sessions that theirs delegated.
            let family = "id IN (SELECT value FROM json_each(?3) UNION \
                          SELECT id FROM sessions WHERE parent_id IN (SELECT value FROM json_each(?3)))";
            (family.to_owned(), vec![ids.into()])
        }
        SessionSelector::OthersOf(session) => (OTHERS.to_owned(), vec![id(session)]),
        SessionSelector::Users { filter, except } => {
            let except = except.as_ref().map_or(Value::Null, id);
            match filter {
                UserFilter::All => ("id IS NOT ?3".to_owned(), vec![except]),
                UserFilter::Named(name) => (
                    format!("id IS NOT ?3 AND {}", listing::user_condition("?4")),
                    vec![except, name.clone().into()],
                ),
            }
        }
    }
}

fn statement(condition: &str) -> String {
    format!(
        "UPDATE sessions SET ended_at = ?1, end_reason = ?2, revision = revision + 1 \
         WHERE ended_at IS NULL AND {condition} RETURNING {GUARDED}"
    )
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::SessionToken;

    use super::*;

    /// Each login runs the statement once, on stores that may hold many sessions.
    #[test]
    fn statement_finds_sessions_by_index_only() {
        let database = rusqlite::Connection::open_in_memory().expect("a database");
        database.execute_batch(include_str!("migrations/0001_first.sql")).expect("the schema");
        let id = SessionToken::mint().id().clone();
        let alice = UserFilter::Named("alice".to_owned());
        for selector in [
            SessionSelector::Ids(vec![id.clone()]),
            SessionSelector::OthersOf(id.clone()),
            SessionSelector::Users { filter: alice, except: Some(id) },
        ] {
            let (condition, values) = condition(&selector);
            let values = [Value::from(0), Value::from("logout".to_owned())].into_iter().chain(values);
            let plan: Vec<String> = database
                .prepare(&format!("EXPLAIN QUERY PLAN {}", statement(&condition)))
                .and_then(|mut explain| {
                    explain.query_map(params_from_iter(values), |row| row.get("detail"))?.collect()
                })
                .expect("a plan");
            assert!(plan.iter().any(|step| step.starts_with("SEARCH sessions")), "{selector:?}: {plan:?}");
            assert!(plan.iter().all(|step| !step.starts_with("SCAN sessions")), "{selector:?}: {plan:?}");
        }
    }
}
