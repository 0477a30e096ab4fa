//! One connection that writes and a few that read, each used by one thread at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;

/// Look-ups take microseconds: a few connections serve all cores, and each has a page cache to pay for.
pub(super) const READERS: usize = 4;

/// Longer than any look-up takes, shorter than a caller waits.
const READER_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Connections {
    writer: Arc<Mutex<Connection>>,
    readers: Mutex<Vec<Connection>>,
    reader_is_back: Condvar,
}

impl Connections {
    pub(super) fn new(writer: Connection, readers: Vec<Connection>) -> Self {
        Self {
            writer: Arc::new(Mutex::new(writer)),
            readers: Mutex::new(readers),
            reader_is_back: Condvar::new(),
        }
    }

    /// Reads in-line: a look-up is faster than a change of threads would be.
    pub(super) fn read<T>(
        &self,
        look_up: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self.take_reader()?;
        look_up(reader.connection())
    }

    /// Runs one transaction on the writer, away from the threads that serve requests. It begins as a writing one, so
    /// that what it reads is still so when it writes. Durable when it returns.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let writer = self.writer.clone();
        tokio::task::spawn_blocking(move || {
            // A panic inside a transaction rolled it back: the connection is as good as before.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let result = operation(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
        .await
        .expect("a transaction neither panics nor is aborted")
    }

    fn take_reader(&self) -> Result<Reader<'_>, StoreError> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut readers, _) = self
            .reader_is_back
            .wait_timeout_while(readers, READER_WAIT, |readers| readers.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let connection = readers.pop().ok_or(StoreError::Busy)?;
        Ok(Reader { connection: Some(connection), connections: self })
    }
}

/// A reader on loan.
struct Reader<'a> {
    connection: Option<Connection>,
    connections: &'a Connections,
}

impl Reader<'_> {
    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is given back when dropped, not before")
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        let mut readers = self.connections.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.extend(self.connection.take());
        self.connections.reader_is_back.notify_one();
    }
}
