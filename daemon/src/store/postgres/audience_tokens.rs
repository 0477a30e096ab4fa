//! Audience tokens: insert and read.

use infra_shared::token_text::SessionID;
use jiff::Timestamp;
use tokio_postgres::{Row, Transaction};
use zeroize::Zeroizing;

use super::Postgres;
use super::session_rows::session_id;
use super::statements::{count, moment, parameters};
use super::transactions::in_transaction;
use crate::keys::{DecryptError, RowKeys, RowPlace, SealedRow};
use crate::store::audience_tokens::wait_for_next;
use crate::store::{AudienceRestriction, AudienceTokenRow, IssueOutcome, StoreError, TokenHash, time};

/// What the seal of an audience token binds besides its contents: also its session, at the place of a user.
pub(super) struct AudienceTokenPlace {
    pub(super) id: String,
    pub(super) token_mac: Vec<u8>,
    pub(super) session: String,
    pub(super) created_at: i64,
    pub(super) expires_at: i64,
}

impl Postgres {
    pub(in crate::store) async fn issue_audience_token(
        &self,
        token: AudienceTokenRow,
        max_per_session: u32,
    ) -> Result<IssueOutcome, StoreError> {
        let keys = &*self.rows;
        in_transaction!(self, transaction => insert(&transaction, keys, &token, max_per_session).await)
    }

    pub(in crate::store) async fn session_of_audience_token(
        &self,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<SessionID>, StoreError> {
        let select = format!("SELECT {} FROM audience_tokens a WHERE a.id = $1", AudienceTokenPlace::COLUMNS);
        let Some(row) = self.read_one(&select, parameters![id]).await? else { return Ok(None) };
        let place = AudienceTokenPlace::of_row(&row)?;
        let (_, restriction) = place.open(&self.rows, &row)?;
        (restriction.expires_at > now).then(|| session_id(&place.session)).transpose()
    }
}

async fn insert(
    transaction: &Transaction<'_>,
    keys: &RowKeys,
    token: &AudienceTokenRow,
    max_per_session: u32,
) -> Result<IssueOutcome, StoreError> {
    let (session, now) = (token.session.as_str(), time::to_database(token.created_at));
    // Locked until the commit: a sign-out waits for this token or comes first, and so does another token of the session,
    // which a lock FOR SHARE would not count.
    let live = "SELECT FROM sessions WHERE id = $1 AND ended_at IS NULL FOR NO KEY UPDATE";
    if transaction.query_typed_opt(live, parameters![session]).await?.is_none() {
        return Ok(IssueOutcome::SessionEnded);
    }
    let delete = "DELETE FROM audience_tokens WHERE session_id = $1 AND expires_at <= $2";
    transaction.execute_typed(delete, parameters![session, now]).await?;
    let select = "SELECT count(*), min(expires_at) FROM audience_tokens WHERE session_id = $1";
    let row = transaction.query_typed_one(select, parameters![session]).await?;
    let live = u32::try_from(count(row.try_get(0)?)?).unwrap_or(u32::MAX);
    if let Some(wait) =
        wait_for_next(live, moment(row.try_get(1)?)?, max_per_session, time::from_database(now)?)
    {
        return Ok(IssueOutcome::LimitReached(wait));
    }
    AudienceTokenPlace::new(token.id.as_str(), &token.session, [token.created_at, token.expires_at])
        .insert(transaction, keys, (&token.token_hash, &token.audience), "")
        .await?;
    Ok(IssueOutcome::Issued)
}

impl AudienceTokenPlace {
    /// Of the table `audience_tokens`, called `a`. No name is that of a column of a session.
    pub(super) const COLUMNS: &str = "left(a.id, 64) AS audience_token_id, a.token_mac AS audience_token_mac, \
        left(a.session_id, 64) AS audience_token_session, a.key_version AS audience_token_key_version, \
        CASE WHEN octet_length(a.sealed) <= 16384 THEN a.sealed ELSE '' END AS audience_token_sealed, a.created_at AS audience_token_created_at, \
        a.expires_at AS audience_token_expires_at";

    pub(super) fn new(id: &str, session: &SessionID, life: [Timestamp; 2]) -> Self {
        let [created_at, expires_at] = life.map(time::to_database);
        let session = session.as_str().to_owned();
        Self { id: id.to_owned(), token_mac: Vec::new(), session, created_at, expires_at }
    }

    pub(super) fn of_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.try_get("audience_token_id")?,
            token_mac: row.try_get("audience_token_mac")?,
            session: row.try_get("audience_token_session")?,
            created_at: row.try_get("audience_token_created_at")?,
            expires_at: row.try_get("audience_token_expires_at")?,
        })
    }

    pub(super) fn open(
        &self,
        keys: &RowKeys,
        row: &Row,
    ) -> Result<(TokenHash, AudienceRestriction), StoreError> {
        let unopened = || StoreError::UnexpectedRow("an audience token that was forged or damaged");
        let sealed = SealedRow {
            key_version: row.try_get("audience_token_key_version")?,
            bytes: row.try_get("audience_token_sealed")?,
        };
        let opened = keys.open(&self.row_place(), &sealed).map_err(|DecryptError| unopened())?;
        let (hash, audience) = opened.split_first_chunk().ok_or_else(unopened)?;
        let restriction = AudienceRestriction {
            audience: String::from_utf8(audience.to_vec()).map_err(|_| unopened())?,
            created_at: time::from_database(self.created_at)?,
            expires_at: time::from_database(self.expires_at)?,
        };
        Ok((TokenHash(*hash), restriction))
    }

    /// Seals the row, and sets the column that the token determines.
    pub(super) fn seal(&mut self, keys: &RowKeys, token_hash: &TokenHash, audience: &str) -> SealedRow {
        self.token_mac = keys.token_mac(&token_hash.0).to_vec();
        let plaintext = Zeroizing::new([token_hash.0.as_slice(), audience.as_bytes()].concat());
        keys.seal(&self.row_place(), &plaintext)
    }

    /// `conflict` is what to do if there is a token with this ID.
    pub(super) async fn insert(
        mut self,
        transaction: &Transaction<'_>,
        keys: &RowKeys,
        (token_hash, audience): (&TokenHash, &str),
        conflict: &str,
    ) -> Result<(), StoreError> {
        let sealed = self.seal(keys, token_hash, audience);
        let insert = format!(
            "INSERT INTO audience_tokens (id, token_mac, session_id, key_version, sealed, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) {conflict}"
        );
        transaction
            .execute_typed(
                &insert,
                parameters![
                    self.id,
                    self.token_mac,
                    self.session,
                    sealed.key_version,
                    sealed.bytes,
                    self.created_at,
                    self.expires_at
                ],
            )
            .await?;
        Ok(())
    }

    fn row_place(&self) -> RowPlace<'_> {
        RowPlace {
            table: "audience_tokens",
            id: self.id.as_bytes(),
            token_mac: &self.token_mac,
            user_key: self.session.as_bytes(),
            created_at: self.created_at,
            expires_at: self.expires_at,
        }
    }
}
