//! The state of the store, and the steps that replace it or move it away.

use jiff::Timestamp;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::database::{PostgresDatabase, insert_key, number, replace_wrappings};
use super::session_rows::DUMMY_ID;
use super::statements::{count, parameters};
use super::transactions::in_transaction;
use super::{Postgres, changes};
use crate::keys::StoredKeys;
use crate::store::moving::{Replaceable, StoreState, check_replaceable};
use crate::store::{Fill, StoreError, time};

/// Everything that a copy brings, and what belongs to the store before. The counter stays: it never falls.
const EMPTY: &str = "TRUNCATE sessions, audience_tokens, consumed_tickets, refresh_tokens, providers, provider_endpoints, \
                     certificates, acme_accounts, acme_orders, acme_successes, acme_challenges, members, keys, store";
/// Keeps other commands and heartbeats away until the end of the transaction.
const LOCK: &str = "LOCK TABLE store IN EXCLUSIVE MODE";
const RUNNING: &str = "SELECT count(*) FROM members WHERE seen_at > now() - interval '15 s'";

impl PostgresDatabase {
    /// The store in the database and its state; `None` if it has no keys.
    pub async fn state(&self) -> Result<Option<(String, StoreState)>, StoreError> {
        let read = async |transaction: &Transaction<'_>| {
            let row = transaction.query_typed_opt("SELECT id, state FROM store", &[]).await?;
            let Some(row) = row else { return Ok(None) };
            Ok(Some((row.try_get(0)?, StoreState::parse(row.try_get(1)?)?)))
        };
        self.connections.transaction(read).await
    }

    /// Empties the database for a copy of the store of `keys`. Fails if it may not be replaced. Daemons refuse it until
    /// [`crate::store::Store::finish_fill`].
    pub async fn begin_fill(
        &self,
        keys: &StoredKeys,
        replaceable: Replaceable,
        now: Timestamp,
    ) -> Result<Fill, StoreError> {
        let (fill, database) = (Fill::new(), self.describe());
        let (version, now) = (number(keys.current)?, time::to_database(now));
        self.connections
            .transaction(async |transaction| {
                transaction.batch_execute(LOCK).await?;
                expect_stopped(transaction, database).await?;
                let before = transaction.query_typed_opt("SELECT id, state FROM store", &[]).await?;
                if let Some(before) = before {
                    let (id, state): (&str, &str) = (before.try_get(0)?, before.try_get(1)?);
                    let sessions = count_sessions(transaction, now).await?;
                    let state = StoreState::parse(state)?;
                    check_replaceable(replaceable, state, id == keys.store, sessions, database)?;
                }
                transaction.batch_execute(EMPTY).await?;
                transaction
                    .execute_typed(
                        "INSERT INTO store (id, data_key_version, created_at, state, copy) \
                         VALUES ($1, $2, $3, 'filling', $4)",
                        &[
                            (&keys.store, Type::TEXT),
                            (&version, Type::INT4),
                            (&now, Type::INT8),
                            (&fill.0, Type::TEXT),
                        ],
                    )
                    .await?;
                for row in &keys.rows {
                    insert_key(transaction, row, now).await?;
                }
                Ok(())
            })
            .await?;
        Ok(fill)
    }
}

impl PostgresDatabase {
    /// Stores keys that the recovery key has unwrapped, under another root key. Fails if a daemon runs: it holds the keys, and
    /// needs no recovery key to wrap them.
    pub async fn replace_recovered_keys(&self, keys: &StoredKeys) -> Result<(), StoreError> {
        let database = self.describe();
        self.connections
            .transaction(async |transaction| {
                transaction.batch_execute(LOCK).await?;
                expect_stopped(transaction, database).await?;
                replace_wrappings(transaction, &keys.rows).await
            })
            .await
    }
}

async fn expect_stopped(transaction: &Transaction<'_>, database: &str) -> Result<(), StoreError> {
    let members = count(transaction.query_typed_one(RUNNING, &[]).await?.try_get(0)?)?;
    if members == 0 {
        return Ok(());
    }
    Err(StoreError::InUse { database: database.to_owned(), members })
}

/// All sessions, and the live ones.
async fn count_sessions(transaction: &Transaction<'_>, now: i64) -> Result<[u64; 2], StoreError> {
    let select = "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL AND expires_at > $1) FROM sessions \
                  WHERE id <> $2";
    let row = transaction.query_typed_one(select, parameters![now, DUMMY_ID]).await?;
    Ok([count(row.try_get(0)?)?, count(row.try_get(1)?)?])
}

/// Fails if daemons may not use the store. Until the end of the transaction, its state does not change.
pub(super) async fn expect_ready(transaction: &Transaction<'_>, database: &str) -> Result<(), StoreError> {
    let row = transaction.query_typed_opt("SELECT state FROM store FOR SHARE", &[]).await?;
    let state = row.map_or(Ok(StoreState::Ready), |row| StoreState::parse(row.try_get(0)?))?;
    if state == StoreState::Ready {
        return Ok(());
    }
    Err(StoreError::NotReady { database: database.to_owned(), state })
}

impl Postgres {
    /// The state and what is recorded of the copy.
    pub(in crate::store) async fn state(&self) -> Result<(StoreState, Option<String>), StoreError> {
        match self.read_one("SELECT state, copy FROM store", &[]).await? {
            Some(row) => Ok((StoreState::parse(row.try_get(0)?)?, row.try_get(1)?)),
            None => Ok((StoreState::Ready, None)),
        }
    }

    /// Fails if another command has begun to fill the database. None does until the end of the transaction.
    pub(super) async fn expect_filling(
        &self,
        transaction: &Transaction<'_>,
        fill: &Fill,
    ) -> Result<(), StoreError> {
        let select = "SELECT FROM store WHERE state = 'filling' AND copy = $1 FOR SHARE";
        match transaction.query_typed_opt(select, parameters![fill.0]).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::TakenOver { database: self.describe().to_owned() }),
        }
    }

    pub(in crate::store) async fn finish_fill(&self, fill: &Fill) -> Result<(), StoreError> {
        in_transaction!(self, transaction => async {
            self.expect_filling(&transaction, fill).await?;
            transaction.batch_execute("UPDATE store SET state = 'ready', copy = NULL").await?;
            // For members that know the store from before.
            changes::record_all(&transaction).await.map(|_| ())
        }.await)
    }

    pub(in crate::store) async fn begin_move(&self) -> Result<Option<String>, StoreError> {
        let database = self.describe();
        in_transaction!(self, transaction => async {
            transaction.batch_execute(LOCK).await?;
            let row = transaction.query_typed_one("SELECT state, copy FROM store", &[]).await?;
            let state = StoreState::parse(row.try_get(0)?)?;
            if !matches!(state, StoreState::Ready | StoreState::Moving) {
                return Err(StoreError::NotReady { database: database.to_owned(), state });
            }
            expect_stopped(&transaction, database).await?;
            transaction.batch_execute("UPDATE store SET state = 'moving'").await?;
            Ok(row.try_get(1)?)
        }.await)
    }

    pub(in crate::store) async fn expect_file(&self, file: &str) -> Result<(), StoreError> {
        let update = "UPDATE store SET copy = $1 WHERE state = 'moving'";
        let updated = self.write(update, parameters![file]).await?;
        if updated == 1 { Ok(()) } else { Err(self.taken_over()) }
    }

    pub(in crate::store) async fn change_state(
        &self,
        from: StoreState,
        to: StoreState,
    ) -> Result<(), StoreError> {
        let update = "UPDATE store SET state = $2, copy = NULL WHERE state = $1";
        let updated = self.write(update, parameters![from.as_str(), to.as_str()]).await?;
        if updated == 1 { Ok(()) } else { Err(self.taken_over()) }
    }

    pub(in crate::store) async fn use_again(&self) -> Result<(), StoreError> {
        let update = "UPDATE store SET state = 'ready', copy = NULL WHERE state IN ('moving', 'moved')";
        self.write(update, &[]).await.map(|_| ())
    }

    fn taken_over(&self) -> StoreError {
        StoreError::TakenOver { database: self.describe().to_owned() }
    }
}
