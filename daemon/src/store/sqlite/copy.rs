//! Copies the whole database under another key, for backup, rotation and restore.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rusqlite::{Connection, params};
use zeroize::Zeroizing;

use super::Sqlite;
use super::connections::{self, ReadConnections};
use super::{encryption, guard, schema};
use crate::keys::{DatabaseKey, DecryptError, FieldSealer, Place, Sealed};
use crate::platform::{self, blocking};
use crate::store::StoreError;

/// Every sealed column: table, key column, column, version of the sealed content.
pub(super) const SEALED: [(&str, &str, &str, u32); 4] = [
    ("acme_accounts", "directory", "credentials", 1),
    ("certificates", "name", "private_key", 1),
    ("providers", "name", "client_secret_reference", 1),
    ("refresh_tokens", "session_id", "sealed_grant", 1),
];

/// Suffixes of a database file and of the files SQLite keeps with it.
const COMPANIONS: [&str; 4] = ["", "-wal", "-shm", "-journal"];

impl Sqlite {
    pub(in crate::store) async fn copy_to(&self, path: PathBuf, key: DatabaseKey) -> Result<(), StoreError> {
        self.connections.scan_in_background(move |reader| export(reader, &path, &key)).await
    }

    pub(in crate::store) async fn move_to<E: From<StoreError> + Send + 'static>(
        &self,
        path: PathBuf,
        key: DatabaseKey,
        old: FieldSealer,
        new: FieldSealer,
        commit: impl FnOnce() -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let (connections, guard) = (self.connections.clone(), self.guard.clone());
        blocking(move || {
            guard.check()?;
            let mut writer = connections.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let (fresh, row, readers) = (|| {
                remove(&path)?;
                export(&writer, &path, &key)?;
                let mut fresh = encryption::open(&path, &key)?;
                reseal(&mut fresh, &old, &new)?;
                let row = guard::rekey(&mut fresh, &guard.key(), key.digest_key())?;
                verify(&fresh, &path)?;
                Ok::<_, StoreError>((fresh, row, open_readers(&path, &key)?))
            })()?;
            commit()?;
            *writer = fresh;
            // Before the key, as verification expects.
            connections.replace_readers(readers);
            guard.rekeyed(key.digest_key().clone(), row);
            Ok(())
        })
        .await
    }
}

/// A database and the keys for it and its sealed fields.
pub struct DatabaseFile {
    pub path: PathBuf,
    pub key: DatabaseKey,
    pub sealer: FieldSealer,
}

/// Copies the database `from` to the new file `to` and reseals its sealed fields.
pub async fn copy_file(from: DatabaseFile, to: DatabaseFile) -> Result<(), StoreError> {
    blocking(move || {
        export(&encryption::open(&from.path, &from.key)?, &to.path, &to.key)?;
        let mut fresh = encryption::open(&to.path, &to.key)?;
        reseal(&mut fresh, &from.sealer, &to.sealer)?;
        guard::rekey(&mut fresh, from.key.digest_key(), to.key.digest_key())?;
        verify(&fresh, &to.path)
    })
    .await
}

/// Verifies the database at `path`: every page, and all sessions against their digests.
pub async fn verify_file(path: PathBuf, key: DatabaseKey) -> Result<(), StoreError> {
    blocking(move || {
        let database = encryption::open(&path, &key)?;
        verify(&database, &path)?;
        match guard::verify(&database, key.digest_key(), || ())? {
            (_, None) => Ok(()),
            (_, Some(what)) => Err(StoreError::RolledBack(what.to_owned())),
        }
    })
    .await
}

/// Removes a database and its companion files. Missing files are fine.
pub fn remove(path: &Path) -> Result<(), StoreError> {
    for companion in COMPANIONS {
        let mut name = path.as_os_str().to_owned();
        name.push(companion);
        match std::fs::remove_file(&name) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(platform::PlatformError::Io { path: path.display().to_string(), source }.into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes files that an interrupted key rotation left in `data_dir`: databases other than `current`, and unfinished
/// temporary files.
pub fn remove_strays(data_dir: &Path, current: &str) -> Result<(), StoreError> {
    let failed = |source| platform::PlatformError::Io { path: data_dir.display().to_string(), source };
    for entry in std::fs::read_dir(data_dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_of_current = COMPANIONS.iter().any(|companion| name == format!("{current}{companion}"));
        let is_database = name.starts_with("infrad")
            && COMPANIONS.iter().any(|companion| name.ends_with(&format!(".db{companion}")));
        if (is_database && !is_of_current) || name.starts_with(platform::BESIDE) {
            let path = entry.path();
            let removed =
                if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            removed.map_err(failed)?;
            tracing::info!(file = %name, "removed files that an interrupted key change left behind");
        }
    }
    Ok(())
}

/// Opens the readers for look-ups and those for full scans.
pub(super) fn open_readers(path: &Path, key: &DatabaseKey) -> Result<ReadConnections, StoreError> {
    let for_scans = || {
        let connection = encryption::open(path, key)?;
        // A scan reads each page only once.
        connection.pragma_update(None, "cache_size", -512)?;
        Ok::<_, StoreError>(connection)
    };
    Ok(ReadConnections {
        look_ups: (0..connections::READERS).map(|_| encryption::open(path, key)).collect::<Result<_, _>>()?,
        scans: for_scans()?,
        maintenance: for_scans()?,
    })
}

pub(super) fn export(from: &Connection, to: &Path, key: &DatabaseKey) -> Result<(), StoreError> {
    let name = to.to_str().ok_or_else(|| platform::PlatformError::OtherKind {
        path: to.display().to_string(),
        expected: "a path of UTF-8 text",
    })?;
    platform::create_file(to, &[], 0o600)?;
    let raw_key: Zeroizing<String> = encryption::raw_key(key);
    from.execute("ATTACH DATABASE ?1 AS copy KEY ?2", params![name, raw_key.as_str()])?;
    // One transaction, so that all tables are from one snapshot.
    let exported = (|| {
        let version: u32 = from.query_row("PRAGMA main.user_version", [], |row| row.get(0))?;
        from.execute_batch("BEGIN")?;
        from.query_row("SELECT sqlcipher_export('copy')", [], |_| Ok(()))?;
        from.execute_batch(&format!("PRAGMA copy.user_version = {version}; COMMIT"))
    })();
    if exported.is_err() {
        // Report the first error, not this one.
        let _ = from.execute_batch("ROLLBACK");
    }
    let detached = from.execute_batch("DETACH DATABASE copy");
    exported.and(detached)?;
    Ok(platform::sync_directory(to)?)
}

fn reseal(database: &mut Connection, old: &FieldSealer, new: &FieldSealer) -> Result<(), StoreError> {
    let transaction = database.transaction()?;
    for (table, name, column, version) in SEALED {
        let rows: Vec<(String, Vec<u8>)> = transaction
            .prepare(&format!("SELECT {name}, {column} FROM {table}"))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        let mut update =
            transaction.prepare(&format!("UPDATE {table} SET {column} = ?2 WHERE {name} = ?1"))?;
        for (row, sealed) in rows {
            let place = Place { table, row: &row, column, version };
            let field = old
                .open(place, &Sealed::from_store(sealed))
                .map_err(|DecryptError| StoreError::UnexpectedRow("a sealed field"))?;
            update.execute(params![row, new.seal(place, &field).as_bytes()])?;
        }
    }
    Ok(transaction.commit()?)
}

/// Checks every page, every index and the schema version.
pub(super) fn verify(database: &Connection, path: &Path) -> Result<(), StoreError> {
    let damaged = || StoreError::Damaged { database: path.display().to_string() };
    let found: Vec<String> = database
        .prepare("PRAGMA cipher_integrity_check")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if !found.is_empty() || sound != "ok" {
        return Err(damaged());
    }
    schema::check(database, path)
}
