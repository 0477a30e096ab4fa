//! What SQLCipher reports, in the store's terms.

use rusqlite::ErrorCode;

use crate::store::{DatabaseError, StoreError};

/// Why a database file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(
        "this infrad was built with an SQLite that cannot encrypt: build it with SQLCipher (`bundled-sqlcipher`)"
    )]
    CannotEncrypt,
    #[error("{path} is not encrypted, so it is not a database of infrad: restore the right file")]
    NotEncrypted { path: String },
    #[error(
        "{path} does not open with the key of this data directory: keys.json and the database are from different \
         stores or days, or the database is damaged; restore both from the same backup"
    )]
    WrongKey { path: String },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let is_disk_full = is_disk_full(&error);
        DatabaseError::new(error, is_disk_full).into()
    }
}

fn is_disk_full(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(code, _) if code.code == ErrorCode::DiskFull => true,
        // `sqlcipher_export` passes on the text of the code alone.
        rusqlite::Error::SqliteFailure(_, Some(text)) => text == "database or disk is full",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;
    use crate::store::is_disk_full;

    #[test]
    fn only_full_disk_counts_as_full_disk() {
        let error = |code| StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(is_disk_full(&error(ffi::SQLITE_FULL)));
        assert!(!is_disk_full(&error(ffi::SQLITE_CORRUPT)));
    }
}
