//! Revokes sessions. All revocations, whatever their reason, run one statement.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio_postgres::{Row, Transaction};

use super::session_rows::{
    COLUMNS_OF_MANY, LARGE_ROWS, NEXT_REVISION, SessionPlace, replace, select_again, session_id, unread,
};
use super::statements::{Parameter, parameter, parameters};
use super::transactions::in_transaction;
use super::{Postgres, changes, refresh_tokens};
use crate::keys::RowKeys;
use crate::store::freshness::Change;
use crate::store::{EndReason, RevokedSession, SessionSelector, StoreError, UserFilter, time};

/// Sessions revoked per transaction. Bounds the time that rows are locked, and the size of a change.
const PAGE: u16 = 5000;

pub(super) struct Revocation<'a> {
    pub(super) keys: &'a RowKeys,
    pub(super) selector: &'a SessionSelector,
    pub(super) at: Timestamp,
    pub(super) reason: EndReason,
}

/// One transaction of a revocation. Remember it once it is committed, for a failover that loses it.
pub(super) struct RevokedPage {
    pub(super) revoked: Vec<RevokedSession>,
    /// `None` if nothing was revoked.
    pub(super) change: Option<Change>,
    /// Whether the revocation is one of all sessions.
    pub(super) is_of_all: bool,
    /// After which session the next page starts; `None` for the last page.
    next: Option<String>,
}

impl Postgres {
    /// In pages in the order of IDs. If one fails, those before stay revoked.
    pub(in crate::store) async fn revoke(
        &self,
        selector: SessionSelector,
        at: Timestamp,
        reason: EndReason,
    ) -> Result<Vec<RevokedSession>, StoreError> {
        let revocation = Revocation { keys: &self.rows, selector: &selector, at, reason };
        let (mut revoked, mut after) = (Vec::new(), Some(String::new()));
        while let Some(last) = after {
            let page = in_transaction!(self, transaction => revocation.run_page(&transaction, &last).await)?;
            self.recent.add(&page, reason);
            revoked.extend(page.revoked);
            after = page.next;
        }
        Ok(revoked)
    }
}

impl Revocation<'_> {
    /// Marks up to [`PAGE`] sessions after `after` as revoked, with those that they delegated, and their refresh tokens for
    /// revocation at the provider.
    pub(super) async fn run_page(
        &self,
        transaction: &Transaction<'_>,
        after: &str,
    ) -> Result<RevokedPage, StoreError> {
        let values = Values::of(self.selector, self.keys);
        // Locked in the order of IDs, so that two revocations never wait for each other.
        let statement = format!(
            "WITH page AS (SELECT id FROM sessions WHERE ended_at IS NULL AND id > $3 AND {} ORDER BY id LIMIT $4 \
             FOR NO KEY UPDATE) \
             UPDATE sessions s SET ended_at = $1, end_reason = $2, {NEXT_REVISION} FROM page \
             WHERE s.id = page.id RETURNING {COLUMNS_OF_MANY}",
            values.condition()
        );
        let (at, reason, limit) = (time::to_database(self.at), self.reason.as_str(), i64::from(PAGE));
        let common: [Parameter<'_>; 4] =
            [parameter(&at), parameter(&reason), parameter(&after), parameter(&limit)];
        let parameters: Vec<Parameter<'_>> = common.into_iter().chain(values.parameters()).collect();
        let mut rows = transaction.query_typed(&statement, &parameters).await?;
        let next = last(&rows)?.filter(|_| rows.len() >= usize::from(PAGE));
        if !rows.is_empty() {
            let late = self.revoke_late(transaction, &rows, next.as_deref()).await?;
            rows.extend(late);
        }
        for large in unread(&rows, &["sealed"])?.chunks(LARGE_ROWS) {
            let again = transaction.query_typed(&select_again(), parameters![large.to_vec()]).await?;
            replace(&mut rows, again)?;
        }
        let ids = ids(&rows)?;
        let is_of_all = *self.selector == SessionSelector::ALL;
        if ids.is_empty() {
            return Ok(RevokedPage { revoked: Vec::new(), change: None, is_of_all, next });
        }
        refresh_tokens::mark_for_revocation(transaction, &ids).await?;
        let change = if is_of_all {
            changes::record_all(transaction).await?
        } else {
            changes::record(transaction, &ids).await?
        };
        let revoked =
            rows.iter().filter_map(|row| self.revoked(row).transpose()).collect::<Result<_, _>>()?;
        Ok(RevokedPage { revoked, change: Some(change), is_of_all, next })
    }

    /// Revokes the sessions that `parents`, revoked just now, delegated while their rows were waited for: the statement before
    /// did not see them. None can follow, because the rows are locked. The next page, after `next`, sees its own.
    async fn revoke_late(
        &self,
        transaction: &Transaction<'_>,
        parents: &[Row],
        next: Option<&str>,
    ) -> Result<Vec<Row>, StoreError> {
        let statement = format!(
            "WITH late AS (SELECT id FROM sessions WHERE ended_at IS NULL AND parent_id = ANY($3) \
             AND ($4 IS NULL OR id <= $4) ORDER BY id FOR NO KEY UPDATE) \
             UPDATE sessions s SET ended_at = $1, end_reason = $2, {NEXT_REVISION} FROM late \
             WHERE s.id = late.id RETURNING {COLUMNS_OF_MANY}"
        );
        let (at, reason) = (time::to_database(self.at), self.reason.as_str());
        Ok(transaction.query_typed(&statement, parameters![at, reason, ids(parents)?, next]).await?)
    }

    /// A row that does not open is revoked too, and its user is not known. `None` if it never had a user.
    fn revoked(&self, row: &Row) -> Result<Option<RevokedSession>, StoreError> {
        let place = SessionPlace::of_row(row)?;
        let (issuer, subject) = match place.open(self.keys, row) {
            Ok((_, contents)) => (contents.issuer, contents.subject),
            Err(StoreError::UnexpectedRow(what)) => {
                tracing::error!(
                    session = place.id(),
                    what,
                    "revoked a session that infrad did not write like this"
                );
                (String::new(), String::new())
            }
            Err(error) => return Err(error),
        };
        Ok(session_id(place.id()).ok().map(|id| RevokedSession { id, issuer, subject }))
    }
}

fn ids(rows: &[Row]) -> Result<Vec<&str>, StoreError> {
    Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

/// The last ID, in the order of the database.
fn last(rows: &[Row]) -> Result<Option<String>, StoreError> {
    Ok(ids(rows)?.into_iter().max().map(ToOwned::to_owned))
}

/// What a selector compares with.
enum Values<'a> {
    Ids(Vec<&'a str>),
    OthersOf(&'a str),
    AllExcept(Option<&'a str>),
    Named { except: Option<&'a str>, subject_key: Vec<u8>, email_key: Vec<u8> },
}

impl<'a> Values<'a> {
    fn of(selector: &'a SessionSelector, keys: &RowKeys) -> Self {
        match selector {
            SessionSelector::Ids(ids) => Self::Ids(ids.iter().map(SessionID::as_str).collect()),
            SessionSelector::OthersOf(session) => Self::OthersOf(session.as_str()),
            SessionSelector::Users { filter, except } => {
                let except = except.as_ref().map(SessionID::as_str);
                match filter {
                    UserFilter::All => Self::AllExcept(except),
                    UserFilter::Named(name) => Self::Named {
                        except,
                        subject_key: keys.subject_key(name).to_vec(),
                        email_key: keys.email_key(name).to_vec(),
                    },
                }
            }
        }
    }

    /// The condition. Its parameters start at `$5`.
    fn condition(&self) -> &'static str {
        match self {
            // The other selectors name users, and so the sessions that theirs delegated.
            Self::Ids(_) => "(id = ANY($5) OR parent_id = ANY($5))",
            Self::OthersOf(_) => "user_key = (SELECT user_key FROM sessions WHERE id = $5) AND id <> $5",
            Self::AllExcept(_) => "id IS DISTINCT FROM $5",
            Self::Named { .. } => "id IS DISTINCT FROM $5 AND (subject_key = $6 OR email_key = $7)",
        }
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        match self {
            Self::Ids(ids) => vec![parameter(ids)],
            Self::OthersOf(session) => vec![parameter(session)],
            Self::AllExcept(session) => vec![parameter(session)],
            Self::Named { except, subject_key, email_key } => {
                vec![parameter(except), parameter(subject_key), parameter(email_key)]
            }
        }
    }
}
