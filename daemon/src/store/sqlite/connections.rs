//! One write connection and a few read connections, each used by one thread at a time.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::platform::blocking;
use crate::store::StoreError;
use crate::store::writes::Writes;

/// Look-ups take microseconds, so a few connections serve all cores. Each costs a page cache.
pub(super) const READERS: usize = 4;

/// Longer than any look-up, shorter than a caller's timeout.
const READER_WAIT: Duration = Duration::from_secs(5);

/// The writer is separate from the readers, and full scans are separate from look-ups, so that none waits for another.
pub(in crate::store) struct Connections {
    pub(super) writer: Arc<Mutex<Connection>>,
    readers: Mutex<Readers>,
    reader_is_back: Condvar,
    scans: ScanConnection,
    maintenance: ScanConnection,
    pub(super) writes: Arc<Writes>,
}

/// The read connections of a database.
pub(super) struct ReadConnections {
    pub(super) look_ups: Vec<Connection>,
    /// For scans that a caller waits for, such as lists of sessions.
    pub(super) scans: Connection,
    /// For scans that may take minutes: verification and copies.
    pub(super) maintenance: Connection,
}

/// A connection for one full scan at a time. Later ones wait in order, without a thread.
struct ScanConnection(Mutex<Arc<tokio::sync::Mutex<Connection>>>);

struct Readers {
    idle: Vec<Connection>,
    /// Counts replacements. Readers of an earlier generation are dropped when returned.
    generation: u64,
}

impl Connections {
    pub(super) fn new(writer: Connection, readers: ReadConnections) -> Self {
        let ReadConnections { look_ups, scans, maintenance } = readers;
        Self {
            writer: Arc::new(Mutex::new(writer)),
            readers: Mutex::new(Readers { idle: look_ups, generation: 0 }),
            reader_is_back: Condvar::new(),
            scans: ScanConnection::new(scans),
            maintenance: ScanConnection::new(maintenance),
            writes: Arc::default(),
        }
    }

    /// Reads in-line, because a look-up is faster than a thread switch.
    #[expect(clippy::unused_async, reason = "the callers wait, as they would for a database on another host")]
    pub(super) async fn look_up<T>(
        &self,
        look_up: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.read(look_up)
    }

    /// Reads off the threads that serve requests: many rows, or for a background task.
    pub(super) async fn read_aside<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connections = self.clone();
        blocking(move || connections.read(read)).await
    }

    pub(super) fn read<T>(
        &self,
        look_up: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let reader = self.take_reader()?;
        look_up(reader.connection())
    }

    /// Runs a full scan that a caller waits for.
    pub(super) async fn scan<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.scans.run(scan).await
    }

    /// Runs a full scan that may take minutes.
    pub(super) async fn scan_in_background<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.maintenance.run(scan).await
    }

    /// Runs one transaction on the writer, off the request threads. It starts as a write transaction, so what it
    /// reads stays true until it writes. Durable when it returns.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.write_then(operation, |written| written).await
    }

    /// Runs one transaction, then `committed` under the writer's lock. Both run even if the caller has been cancelled.
    pub(super) async fn write_then<W: Send + 'static, T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Transaction<'_>) -> Result<W, StoreError> + Send + 'static,
        committed: impl FnOnce(W) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (writer, watch) = (self.writer.clone(), self.writes.clone());
        blocking(move || {
            // A panic inside a transaction rolled it back, so the connection is still usable.
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            watch.observe(|| {
                let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let result = operation(&transaction)?;
                transaction.commit()?;
                Ok(committed(result))
            })
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
    pub(super) fn replace_readers(&self, fresh: ReadConnections) {
        let ReadConnections { look_ups, scans, maintenance } = fresh;
        self.scans.replace(scans);
        self.maintenance.replace(maintenance);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        *readers = Readers { idle: look_ups, generation: readers.generation + 1 };
        self.reader_is_back.notify_all();
    }
}

impl ScanConnection {
    fn new(connection: Connection) -> Self {
        Self(Mutex::new(Arc::new(tokio::sync::Mutex::new(connection))))
    }

    async fn run<T: Send + 'static>(
        &self,
        scan: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let connection = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connection = connection.lock_owned().await;
        blocking(move || scan(&connection)).await
    }

    fn replace(&self, connection: Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(tokio::sync::Mutex::new(connection));
    }
}

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
