//! Opens SQLCipher connections and rejects any setup that would leave a row unencrypted.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use zeroize::Zeroizing;

use super::FileError;
use crate::keys::DatabaseKey;
use crate::platform::{self, PlatformError};
use crate::store::StoreError;

/// The first bytes of every unencrypted SQLite file (SQLite file format §1.3).
const PLAIN_HEADER: &[u8; 16] = b"SQLite format 3\0";

/// How long a connection waits for another connection's write.
const BUSY: Duration = Duration::from_secs(5);

/// Rejects an SQLite without encryption, which ignores keys and would write plaintext without an error.
pub(super) fn check_library() -> Result<(), StoreError> {
    let version: Result<String, _> =
        Connection::open_in_memory()?.query_row("PRAGMA cipher_version", [], |row| row.get(0));
    match version {
        Ok(version) if !version.is_empty() => Ok(()),
        _ => Err(FileError::CannotEncrypt.into()),
    }
}

/// Creates a missing file with mode 0600 and rejects an unencrypted one.
pub(super) fn prepare_file(path: &Path) -> Result<(), StoreError> {
    let name = || path.display().to_string();
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(platform::create_file(path, &[], 0o600)?);
        }
        Err(source) => return Err(PlatformError::Io { path: name(), source }.into()),
    };
    let mut header = [0; PLAIN_HEADER.len()];
    let has_header = file.read_exact(&mut header).is_ok();
    if has_header && header == *PLAIN_HEADER {
        return Err(FileError::NotEncrypted { path: name() }.into());
    }
    Ok(())
}

/// Opens a connection and proves the key by reading.
pub(super) fn open(path: &Path, key: &DatabaseKey) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // NOFOLLOW checks every folder of the path. The data directory itself was checked before.
    let real = path
        .canonicalize()
        .map_err(|source| PlatformError::Io { path: path.display().to_string(), source })?;
    let connection = Connection::open_with_flags(real, flags)?;
    // PRAGMA accepts no bound parameters.
    connection.execute_batch(&Zeroizing::new(format!("PRAGMA key = \"{}\"", *raw_key(key))))?;
    connection.busy_timeout(BUSY)?;
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Ok(()) => {}
        Err(rusqlite::Error::SqliteFailure(failure, _)) if failure.code == ErrorCode::NotADatabase => {
            return Err(FileError::WrongKey { path: path.display().to_string() }.into());
        }
        Err(error) => return Err(error.into()),
    }
    connection.execute_batch(SETTINGS)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Formats the key as an SQLCipher raw key. It is 32 random bytes, so it needs no key stretching.
pub(super) fn raw_key(key: &DatabaseKey) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(72));
    text.push_str("x'");
    for byte in key.expose() {
        write!(text, "{byte:02x}").expect("a string takes everything");
    }
    text.push('\'');
    text
}

/// Commits are durable, deleted content is overwritten, and no temporary files are written.
const SETTINGS: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA trusted_schema = OFF;
    PRAGMA cache_size = -4096;
";
