//! One transaction for each operation. It runs again if the database stopped it because of another one.

use std::future::Future;

use tokio::time::{Instant, timeout};
use tokio_postgres::Row;

use super::Postgres;
use super::connections::{ATTEMPTS, OPERATION};
use super::statements::Parameter;
use crate::store::StoreError;

/// Runs an expression with a connection in scope, until it is done.
macro_rules! repeated {
    ($postgres:expr, $client:ident => $operation:expr) => {{
        let postgres: &$crate::store::postgres::Postgres = $postgres;
        let mut attempts = $crate::store::postgres::transactions::Attempts::new();
        loop {
            let working = async {
                let mut lent = postgres.connections.lend().await?;
                let $client = lent.get();
                let done = $operation?;
                lent.release();
                Ok(done)
            };
            let done = $crate::store::postgres::transactions::limited(working).await;
            if attempts.are_over(&done) {
                postgres.writes.record(attempts.begun, &done);
                break done;
            }
        }
    }};
}

/// Runs an expression with `transaction` in scope, commits, and returns the value of the expression. Durable when it
/// returns.
///
/// A macro, because a closure that borrows its surroundings would make the future of each operation unusable in a task.
macro_rules! in_transaction {
    ($postgres:expr, $transaction:ident => $operation:expr) => {
        $crate::store::postgres::transactions::repeated!($postgres, client => {
            let $transaction = client.transaction().await?;
            let done: Result<_, $crate::store::StoreError> = $operation;
            if done.is_ok() {
                $transaction.commit().await?;
            }
            done
        })
    };
}

pub(super) use {in_transaction, repeated};

/// The attempts at one transaction.
pub(super) struct Attempts {
    pub(super) begun: Instant,
    count: u32,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), count: 0 }
    }

    /// Whether `done` is final. Counts an attempt.
    pub(super) fn are_over<T>(&mut self, done: &Result<T, StoreError>) -> bool {
        self.count += 1;
        self.count >= ATTEMPTS || !matches!(done, Err(StoreError::Conflict(_)))
    }
}

pub(super) async fn limited<T>(
    working: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(OPERATION, working).await.unwrap_or(Err(StoreError::NoAnswer { seconds: OPERATION.as_secs() }))
}

impl Postgres {
    /// Reads with one statement.
    pub(super) async fn read(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        limited(async {
            let mut client = self.connections.lend().await?;
            let rows = client.get().query_typed(statement, parameters).await?;
            client.release();
            Ok(rows)
        })
        .await
    }

    pub(super) async fn read_one(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(statement, parameters).await?.into_iter().next())
    }

    /// Writes with one statement, which is a transaction of its own. Returns the number of rows.
    pub(super) async fn write(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<usize, StoreError> {
        let count = repeated!(self, client => client.execute_typed(statement, parameters).await)?;
        usize::try_from(count).map_err(|_| StoreError::UnexpectedRow("a count"))
    }

    /// Like [`Self::write`], but returns the rows.
    pub(super) async fn write_returning(
        &self,
        statement: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        repeated!(self, client => client.query_typed(statement, parameters).await)
    }
}
