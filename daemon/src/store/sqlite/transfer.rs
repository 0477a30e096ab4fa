//! Reads and fills a whole database file, for copies to and from another engine.

mod reader;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::{DatabaseFile, encryption, schema};
use crate::keys::FieldSealer;
use crate::platform::blocking;
use crate::store::StoreError;
use crate::store::transfer::{Batch, Position, START};

/// A connection that the blocking threads borrow.
type Shared = Arc<Mutex<Connection>>;

/// Reads a database in batches. No other process may change it meanwhile.
pub(in crate::store) struct FileReader {
    connection: Shared,
    sealer: FieldSealer,
    position: Position,
}

/// Fills a new database in batches.
pub(in crate::store) struct FileWriter {
    connection: Shared,
    file: Arc<DatabaseFile>,
    /// Of the rollback guard: the counter to exceed, and the latest time.
    guarded: (u64, i64),
}

impl FileReader {
    /// Migrates the schema first, because a backup may have an older one.
    pub(in crate::store) async fn open(file: DatabaseFile) -> Result<Self, StoreError> {
        let DatabaseFile { path, key, sealer } = file;
        let opening = move || {
            encryption::check_library()?;
            let mut connection = encryption::open(&path, &key)?;
            schema::migrate(&schema::MIGRATIONS, &mut connection, &path, &key)?;
            Ok::<_, StoreError>(connection)
        };
        Ok(Self::new(Arc::new(Mutex::new(blocking(opening).await?)), sealer))
    }

    fn new(connection: Shared, sealer: FieldSealer) -> Self {
        Self { connection, sealer, position: START }
    }

    /// Returns the next batch; `None` after the last one.
    pub(in crate::store) async fn next(&mut self) -> Result<Option<Batch>, StoreError> {
        if self.position == Position::End {
            return Ok(None);
        }
        let (connection, sealer, position) =
            (self.connection.clone(), self.sealer.clone(), self.position.clone());
        let reading = move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            reader::read(&connection, &sealer, &position)
        };
        let (batch, position) = blocking(reading).await?;
        self.position = position;
        Ok(Some(batch))
    }

    /// Leaves everything in one file, without a write-ahead log.
    pub(in crate::store) async fn close(self) -> Result<(), StoreError> {
        blocking(move || {
            let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mode: String = connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))?;
            if mode == "delete" { Ok(()) } else { Err(StoreError::Busy) }
        })
        .await
    }
}

impl FileWriter {
    /// Creates the file. Fails if it exists.
    pub(in crate::store) async fn create(file: DatabaseFile) -> Result<Self, StoreError> {
        blocking(move || {
            encryption::check_library()?;
            crate::platform::create_file(&file.path, &[], 0o600)?;
            let mut connection = encryption::open(&file.path, &file.key)?;
            schema::migrate(&schema::MIGRATIONS, &mut connection, &file.path, &file.key)?;
            let connection = Arc::new(Mutex::new(connection));
            Ok(Self { connection, file: Arc::new(file), guarded: (0, 0) })
        })
        .await
    }

    pub(in crate::store) async fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        if let Batch::Settings(settings) = &batch {
            let counter = u64::try_from(settings.counter);
            self.guarded = (counter.map_err(|_| StoreError::UnexpectedRow("a count"))?, settings.latest_time);
        }
        let (connection, file) = (self.connection.clone(), self.file.clone());
        blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction()?;
            writer::write(&transaction, &file.sealer, &batch)?;
            Ok(transaction.commit()?)
        })
        .await
    }

    /// Makes the rollback guard's digests and verifies every page. Returns a reader of what was written.
    pub(in crate::store) async fn finish(self) -> Result<FileReader, StoreError> {
        let (connection, file, guarded) = (self.connection.clone(), self.file.clone(), self.guarded);
        blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            writer::finish(&mut connection, &file.path, file.key.digest_key(), guarded)
        })
        .await?;
        Ok(FileReader::new(self.connection, self.file.sealer.clone()))
    }
}
