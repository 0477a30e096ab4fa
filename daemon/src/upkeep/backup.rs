//! Backup files: the database under its own key, and the header that unwraps it.
//!
//! Layout: format line, key header (contains no root key), description, MAC of everything before it, database. A
//! 32-bit big-endian length precedes header and description.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::keys::{BackupKeys, KeyError, Opener, StoreKeys};
use crate::platform::{self, PlatformError};
use crate::store::{self, Copied, DatabaseFile, Store, StoreError};

const FORMAT: &[u8] = b"infrad backup 1\n";
/// Header and description have a few hundred bytes.
const MAX_PART: u32 = 64 * 1024;
const CHECK_BYTES: usize = 32;

/// Why a backup cannot be created or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{path} is not a backup of infrad")]
    NotABackup { path: String },
    #[error("{path} is damaged or was changed: use another backup")]
    Damaged { path: String },
    #[error(
        "not all members have read data key {version}: `infrad status` lists them; run `infrad key rotate` again to continue"
    )]
    MembersBehind { version: u32 },
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupDescription {
    pub created_at: Timestamp,
    /// The version of the infrad that created it.
    pub version: String,
    database_bytes: u64,
    /// SHA-256, in hexadecimal.
    database_hash: String,
}

pub struct OpenedBackup {
    pub keys: BackupKeys,
    pub description: BackupDescription,
    /// The database under the backup's own key. The file is removed when this value is dropped.
    pub database: NamedTempFile,
}

/// Creates a backup of the running store. An encrypted copy of the database is in `data_dir` until it is read.
pub async fn create_backup(
    keys: &StoreKeys,
    store: &Store,
    data_dir: &Path,
    now: Timestamp,
) -> Result<impl Read + Send + use<>, BackupError> {
    let failed = io_failure(data_dir);
    let (sealer, keys) = (keys.field_sealer(), keys.backup_keys(data_dir).await?);
    let directory =
        tempfile::Builder::new().prefix(platform::BESIDE).tempdir_in(data_dir).map_err(&failed)?;
    let path = directory.path().join("backup");
    let to = DatabaseFile { path: path.clone(), key: keys.database_key(), sealer: keys.field_sealer() };
    if let Some(Copied { left_out, corrected, .. }) = store.copy_to(to, sealer, now).await?
        && left_out + corrected > 0
    {
        tracing::warn!(
            left_out,
            corrected,
            "infrad did not write some rows of the database, or not like this: the backup lacks them, or has the nearest \
             valid values: find out who can write to the database"
        );
    }
    let mut database = File::open(&path).map_err(&failed)?;
    // The open file stays readable after its directory is removed.
    drop(directory);
    let measured = platform::blocking(move || {
        let (bytes, hash) = measure(&mut database)?;
        database.seek(SeekFrom::Start(0))?;
        Ok((database, bytes, hash))
    });
    let (database, database_bytes, database_hash) = measured.await.map_err(&failed)?;
    let description = BackupDescription {
        created_at: now,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database_bytes,
        database_hash,
    };
    let mut front = FORMAT.to_vec();
    for part in [keys.header(), serde_json::to_vec(&description).expect("plain JSON")] {
        let length = u32::try_from(part.len()).expect("some hundred bytes");
        front.extend_from_slice(&length.to_be_bytes());
        front.extend_from_slice(&part);
    }
    let check = keys.check(&front);
    front.extend_from_slice(&check);
    Ok(std::io::Cursor::new(front).chain(database))
}

/// Fails if there is no file of backups at `path`. Does not verify it.
pub fn expect_backup(path: &Path) -> Result<(), BackupError> {
    open_file(path).map(drop)
}

/// Opens a file that begins as backups do, after that beginning.
fn open_file(path: &Path) -> Result<File, BackupError> {
    let mut file = File::open(path).map_err(io_failure(path))?;
    let mut front = [0; FORMAT.len()];
    if file.read_exact(&mut front).is_err() || front != *FORMAT {
        return Err(BackupError::NotABackup { path: path.display().to_string() });
    }
    Ok(file)
}

/// Opens and verifies the backup at `path`. Extracts the database to `directory`.
pub async fn open_backup(
    path: &Path,
    opener: Opener<'_>,
    data_dir: &Path,
    directory: &Path,
) -> Result<OpenedBackup, BackupError> {
    let name = path.display().to_string();
    let damaged = || BackupError::Damaged { path: name.clone() };
    let mut file = open_file(path)?;
    let mut front = FORMAT.to_vec();
    let header = read_part(&mut file, &mut front).ok_or_else(damaged)?;
    let description = read_part(&mut file, &mut front).ok_or_else(damaged)?;
    let mut check = [0; CHECK_BYTES];
    file.read_exact(&mut check).map_err(|_| damaged())?;

    let keys = BackupKeys::open(&header, &name, opener, data_dir).await?;
    if !keys.is_checked(&front, &check) {
        return Err(damaged());
    }
    let description: BackupDescription = serde_json::from_slice(&description).map_err(|_| damaged())?;
    let failed = io_failure(directory);
    let mut database =
        tempfile::Builder::new().prefix(platform::BESIDE).tempfile_in(directory).map_err(&failed)?;
    std::io::copy(&mut file, &mut database).map_err(&failed)?;
    database.seek(SeekFrom::Start(0)).map_err(&failed)?;
    let measured = measure(database.as_file_mut()).map_err(&failed)?;
    if measured != (description.database_bytes, description.database_hash.clone()) {
        return Err(damaged());
    }
    store::verify_file(database.path().to_owned(), keys.database_key()).await?;
    Ok(OpenedBackup { keys, description, database })
}

/// Reads a length and that many bytes, and appends both to `front`.
fn read_part(file: &mut File, front: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    file.read_exact(&mut length).ok()?;
    let bytes = u32::from_be_bytes(length);
    if bytes > MAX_PART {
        return None;
    }
    let mut part = vec![0; usize::try_from(bytes).ok()?];
    file.read_exact(&mut part).ok()?;
    front.extend_from_slice(&length);
    front.extend_from_slice(&part);
    Some(part)
}

/// Returns the length and SHA-256 of the rest of the file.
fn measure(file: &mut File) -> std::io::Result<(u64, String)> {
    struct Hashing(Sha256);
    impl Write for Hashing {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hashing = Hashing(Sha256::new());
    let bytes = std::io::copy(file, &mut hashing)?;
    Ok((bytes, HEXLOWER.encode(&hashing.0.finalize())))
}

fn io_failure(path: &Path) -> impl Fn(std::io::Error) -> PlatformError + use<> {
    let path = path.display().to_string();
    move |source| PlatformError::Io { path: path.clone(), source }
}
