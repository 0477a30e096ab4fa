//! Reads and fills a whole database, for copies to and from another engine.

mod reader;
mod writer;

use std::sync::Arc;

use tokio_postgres::Row;

use super::Postgres;
use super::connections::InUse;
use super::statements::Parameter;
use super::transactions::{in_transaction, limited};
use crate::keys::{FieldSealer, RowKeys};
use crate::store::transfer::{Batch, Position, START};
use crate::store::{Fill, StoreError};

/// Reads a database in batches, all from one moment. Members may read and write meanwhile.
pub(in crate::store) struct Snapshot {
    /// In a transaction, which ends with the connection.
    client: InUse,
    keys: Arc<RowKeys>,
    sealer: FieldSealer,
    position: Position,
    left_out: u64,
}

impl Postgres {
    /// `sealer` opens the sealed fields of this store.
    pub(in crate::store) async fn snapshot(&self, sealer: FieldSealer) -> Result<Snapshot, StoreError> {
        let mut client = self.connections.lend().await?;
        limited(async {
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            Ok(client.get().batch_execute(begin).await?)
        })
        .await?;
        let mut snapshot = Snapshot { client, keys: self.rows.clone(), sealer, position: START, left_out: 0 };
        snapshot.expect_current_key().await?;
        snapshot.count_odd_keys().await?;
        Ok(snapshot)
    }

    /// Writes rows of another store. Fails once another command fills the database.
    pub(in crate::store) async fn write_batch(
        &self,
        fill: &Fill,
        batch: &Batch,
        sealer: &FieldSealer,
    ) -> Result<(), StoreError> {
        let (keys, member) = (&*self.rows, self.member.as_str());
        in_transaction!(self, transaction => {
            self.expect_filling(&transaction, fill).await?;
            writer::write(&transaction, keys, sealer, member, batch).await
        })
    }

    /// The database, for errors.
    pub(in crate::store) fn describe(&self) -> &str {
        self.connections.describe()
    }
}

impl Snapshot {
    /// Returns the next batch; `None` after the last one.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        let (batch, position) = match self.position.clone() {
            Position::Sessions(after) => {
                let (sessions, last) = self.sessions(&after).await?;
                let next = last.map_or(Position::AudienceTokens(String::new()), Position::Sessions);
                (Batch::Sessions(sessions), next)
            }
            Position::AudienceTokens(after) => {
                let (tokens, last) = self.audience_tokens(&after).await?;
                let next = last.map_or(Position::ConsumedTickets(Vec::new()), Position::AudienceTokens);
                (Batch::AudienceTokens(tokens), next)
            }
            Position::ConsumedTickets(after) => {
                let (tickets, last) = self.consumed_tickets(&after).await?;
                (Batch::ConsumedTickets(tickets), last.map_or(Position::Settings, Position::ConsumedTickets))
            }
            Position::Settings => (Batch::Settings(Box::new(self.settings().await?)), Position::End),
            Position::End => return Ok(None),
        };
        self.position = position;
        Ok(Some(batch))
    }

    /// Fails if another member has switched to a newer data key. A row of any other key that is not held is none of infrad.
    async fn expect_current_key(&mut self) -> Result<(), StoreError> {
        let current = self.row("SELECT data_key_version FROM store").await?;
        if self.keys.is_held(current.try_get(0)?) {
            return Ok(());
        }
        Err(StoreError::UnexpectedRow("a data key that this daemon does not hold yet"))
    }

    /// Rows that infrad did not write, and that were skipped.
    pub(in crate::store) fn left_out(&self) -> u64 {
        self.left_out
    }

    async fn rows(&mut self, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, StoreError> {
        let client = self.client.get();
        limited(async { Ok(client.query_typed(statement, parameters).await?) }).await
    }

    async fn row(&mut self, statement: &str) -> Result<Row, StoreError> {
        let mut rows = self.rows(statement, &[]).await?;
        rows.pop().ok_or(StoreError::UnexpectedRow("no row"))
    }
}
