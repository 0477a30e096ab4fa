//! One write connection and a few read connections, each used by one thread at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::StoreError;
use super::writes::Writes;
use crate::platform::blocking;

/// Look-ups take microseconds, so a few connections serve all cores. Each costs a page cache.
pub(super) const READERS: usize = 4;

/// Longer than any look-up, shorter than a caller's timeout.
const READER_WAIT: Duration = Duration::from_secs(5);

pub(super) struct Connections {
    pub(super) writer: Arc<Mutex<Connection>>,
    readers: Mutex<Readers>,
    reader_is_back: Condvar,
    /// For full scans, so that they do not block look-ups.
    background: Mutex<Arc<Mutex<Connection>>>,
    pub(super) writes: Arc<Writes>,
}

/// The idle readers.
struct Readers {
    idle: Vec<Connection>,
    /// Counts replacements. Readers of an earlier generation are dropped when returned.
    generation: u64,
}

impl Connections {
    pub(super) fn new(writer: Connection, readers: Vec<Connection>, background: Connection) -> Self {
        Self {
            writer: Arc::new(Mutex::new(writer)),
            readers: Mutex::new(Readers { idle: readers, generation: 0 }),
            reader_is_back: Condvar::new(),
            background: Mutex::new(Arc::new(Mutex::new(background))),
            writes: Arc::default(),
        }
    }

    /// Reads in-line, because a look-up is faster than a thread switch.
    pub(super) fn read<T>(
        &self,
        look_up: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self.take_reader()?;
        look_up(reader.connection())
    }

    /// Runs a long read. Long reads run one at a time.
    pub(super) fn read_in_background<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let connection = self.background.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection)
    }

    /// Runs one transaction on the writer, off the request threads. It starts as a write transaction, so what it
    /// reads stays true until it writes. Durable when it returns.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(operation, |written| written, |_| ()).await
    }

    /// Runs one transaction, then `committed` under the writer's lock, then `then` without it. All of it runs even if
    /// the caller has been cancelled.
    pub(super) async fn write_then<W: Send + 'static, T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Result<W, StoreError> + Send + 'static,
        committed: impl FnOnce(W) -> T + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, StoreError> {
        let (writer, watch) = (self.writer.clone(), self.writes.clone());
        blocking(move || {
            // A panic inside a transaction rolled it back, so the connection is still usable.
            let written = {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                watch.over(|| {
                    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
                    let result = operation(&transaction)?;
                    transaction.commit()?;
                    Ok(committed(result))
                })
            };
            written.inspect(then)
        })
        .await
    }

    fn take_reader(&self) -> Result<Reader<'_>, StoreError> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut readers, _) = self
            .reader_is_back
            .wait_timeout_while(readers, READER_WAIT, |readers| readers.idle.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let connection = readers.idle.pop().ok_or(StoreError::Busy)?;
        Ok(Reader { connection: Some(connection), generation: readers.generation, connections: self })
    }

    /// Replaces all readers. Reads in progress finish on the old connections.
    pub(super) fn replace_readers(&self, idle: Vec<Connection>, background: Connection) {
        *self.background.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Mutex::new(background));
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers = Readers { idle, generation: readers.generation + 1 };
        self.reader_is_back.notify_all();
    }
}

/// A borrowed read connection.
struct Reader<'a> {
    connection: Option<Connection>,
    generation: u64,
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
        if readers.generation == self.generation {
            readers.idle.extend(self.connection.take());
        }
        self.connections.reader_is_back.notify_one();
    }
}
