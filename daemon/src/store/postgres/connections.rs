//! A bounded pool of connections. Every wait for one, and everything done with one, has a total limit.

use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_postgres::Transaction;

use super::connector::Connector;
use super::error::AccessProblem;
use super::settings::PostgresSettings;
use crate::store::StoreError;

/// Connections of one member. A server allows 100 by default, for all members.
pub(super) const MOST: usize = 16;
/// How long a caller waits for a connection, including a new one. Longer in unit tests, for a busy machine.
pub(super) const WAIT: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 5 });
/// How long one operation may take. Longer than the limit of a statement, which the server has (see `schema`).
pub(super) const OPERATION: Duration = Duration::from_secs(if cfg!(test) { 120 } else { 15 });
/// How often a transaction runs if another one stops it.
pub(super) const ATTEMPTS: u32 = 4;

/// A connection from the pool. Derefs to [`tokio_postgres::Client`].
pub(in crate::store) type Client = Object<Connector>;

pub(in crate::store) struct Connections {
    pool: Pool<Connector>,
    description: String,
}

/// A connection in use. Closed when dropped, unless it was released: after a failure, it may still run the statement.
pub(super) struct InUse(Option<Client>);

impl Connections {
    /// Opens no connection yet.
    pub(in crate::store) fn new(settings: &PostgresSettings) -> Result<Self, StoreError> {
        let pool = Pool::builder(Connector::new(settings.clone())?)
            .max_size(MOST)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can be built");
        Ok(Self { pool, description: settings.describe() })
    }

    /// The database, for errors.
    pub(in crate::store) fn describe(&self) -> &str {
        &self.description
    }

    pub(super) fn connector(&self) -> &Connector {
        self.pool.manager()
    }

    /// Waits for a connection.
    pub(in crate::store) async fn client(&self) -> Result<Client, StoreError> {
        // Boxed, because opening a connection is a large future, and every operation contains it.
        match Box::pin(timeout(WAIT, self.pool.get())).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(PoolError::Backend(error))) => Err(error),
            // All are in use, or the servers do not answer.
            _ if self.pool.status().size >= MOST => Err(StoreError::Busy),
            _ => Err(StoreError::Unavailable {
                cause: format!("{} did not answer in {} s", self.description, WAIT.as_secs()),
                problem: AccessProblem::Unreachable,
            }),
        }
    }

    pub(super) async fn lend(&self) -> Result<InUse, StoreError> {
        Ok(InUse(Some(self.client().await?)))
    }

    /// Runs `work` on one connection, within the total limit.
    pub(in crate::store) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut client = self.lend().await?;
        let done = timeout(OPERATION, work(client.get()))
            .await
            .unwrap_or(Err(StoreError::NoAnswer { seconds: OPERATION.as_secs() }));
        let is_over = !matches!(
            done,
            Err(StoreError::NoAnswer { .. } | StoreError::TimedOut { .. } | StoreError::Unavailable { .. })
        );
        if is_over {
            client.release();
        }
        done
    }

    /// Runs `work` as one transaction and commits it. Runs it again if the database stopped it because of another one.
    pub(in crate::store) async fn transaction<T>(
        &self,
        work: impl AsyncFn(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut attempt = 1;
        loop {
            let done = self
                .run(async |client| {
                    let transaction = client.transaction().await?;
                    let done = work(&transaction).await?;
                    transaction.commit().await?;
                    Ok(done)
                })
                .await;
            match done {
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }
}

impl InUse {
    pub(super) fn get(&mut self) -> &mut Client {
        self.0.as_mut().expect("the connection is released once, at the end")
    }

    pub(super) fn release(&mut self) {
        drop(self.0.take());
    }
}

impl Drop for InUse {
    /// Stops what the server still does for this connection: a commit that waits for a lost standby would keep a connection of
    /// the server for as long as that takes.
    fn drop(&mut self) {
        let Some(client) = self.0.take() else { return };
        let pool = Object::pool(&client);
        let client = Object::take(client);
        if let (false, Some(pool), Ok(runtime)) = (client.is_closed(), pool, Handle::try_current()) {
            runtime.spawn(async move { pool.manager().cancel_at_last_host(&client).await });
        }
    }
}
