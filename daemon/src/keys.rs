//! The key hierarchy: a root key wraps the data key, and every other key is derived from the data key.

mod aead;
mod derivation;
mod header;
mod native;
mod sealed;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use infra_shared::random;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::platform::PlatformError;
use header::Header;
use native::NativeRootKey;

pub use sealed::{DoesNotOpen, FieldSealer, Place, Sealed, TicketKey};

/// A root key: wraps and unwraps data keys, and never leaves the place that keeps it.
///
/// An implementation authenticates what it wraps (a changed or foreign wrapping is refused, never unwrapped to
/// something), binds it to `context`, and bounds every wait.
pub trait RootKey: Send + Sync {
    /// Which key this is, in public: its kind, a colon, and what tells it from others of its kind.
    fn id(&self) -> String;
    fn wrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        context: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, KeyError>> + Send + 'a>>;
    fn unwrap<'a>(
        &'a self,
        wrapped: &'a [u8],
        context: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<DataKey, KeyError>> + Send + 'a>>;
}

/// Where a root key is, as the configuration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKeySettings {
    /// 32 random bytes in a file of mode 0400, outside the data directory, created once.
    Native { path: PathBuf },
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("root key: {0}")]
    RootKeyFile(PlatformError),
    #[error("root key: {path} holds {bytes} bytes and a root key has 32: restore the right file")]
    RootKeyLength { path: String, bytes: usize },
    #[error(
        "root key: {path} lies in the data directory, where a thief of the data would find it: name another place \
         under `keys`"
    )]
    RootKeyBesideData { path: String },
    #[error(
        "root key: {path} is not there, and the data in {data_dir} needs it: restore it, for without it nobody can \
         read that data"
    )]
    RootKeyGone { path: String, data_dir: String },
    #[error(
        "root key: the data in {data_dir} was encrypted under the root key {expected}, and the configured one is \
         {configured}: configure or restore the right one"
    )]
    OtherRootKey { data_dir: String, expected: String, configured: String },
    #[error("{path} was damaged or changed: restore it from a backup")]
    HeaderDamaged { path: String },
    #[error(
        "{path} has version {version} and this infrad knows version {known}: run the infrad that wrote it"
    )]
    HeaderNewer { path: String, version: u32, known: u32 },
    #[error(
        "{data_dir} holds the database {database} and no keys.json: restore keys.json from a backup, or name an \
         empty `dataDir` to start anew"
    )]
    HeaderGone { data_dir: String, database: String },
    #[error(transparent)]
    Platform(#[from] PlatformError),
}

/// 32 random bytes from which every key of a store is derived.
pub struct DataKey(Zeroizing<[u8; 32]>);

/// The raw key of the database file.
pub struct DatabaseKey(Zeroizing<[u8; 32]>);

/// The keys of one store, open for use.
pub struct Keys {
    data_key: DataKey,
    database_file: String,
}

impl Keys {
    /// Opens the keys of `data_dir` with the root key that wrapped them, or creates them under the first one when the
    /// directory has no key header and no database yet.
    pub async fn open_or_create(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Self, KeyError> {
        match Header::read(data_dir)? {
            Some(header) => Self::open(data_dir, &header, root_keys).await,
            None => Self::create(data_dir, root_keys).await,
        }
    }

    async fn open(data_dir: &Path, header: &Header, root_keys: &[RootKeySettings]) -> Result<Self, KeyError> {
        let data_dir_name = || data_dir.display().to_string();
        let (mut configured, mut gone) = (Vec::new(), None);
        for RootKeySettings::Native { path } in root_keys {
            // One that is not there may be the next one, which nothing is wrapped by yet.
            let Some(root_key) = NativeRootKey::open(path, data_dir)? else {
                gone.get_or_insert_with(|| path.display().to_string());
                continue;
            };
            if root_key.id() != header.root_key {
                configured.push(root_key.id());
                continue;
            }
            let damaged = || KeyError::HeaderDamaged { path: header::path(data_dir).display().to_string() };
            let wrapped = header.wrapped_data_key().ok_or_else(damaged)?;
            let data_key = root_key.unwrap(&wrapped, &header.context()).await.map_err(|_| damaged())?;
            let check = derivation::check_value(&data_key);
            if !bool::from(check.as_bytes().ct_eq(header.check.as_bytes())) {
                return Err(damaged());
            }
            return Ok(Self { data_key, database_file: header.database.clone() });
        }
        Err(match gone {
            Some(path) => KeyError::RootKeyGone { path, data_dir: data_dir_name() },
            None => KeyError::OtherRootKey {
                data_dir: data_dir_name(),
                expected: header.root_key.clone(),
                configured: configured.join(", "),
            },
        })
    }

    async fn create(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<Self, KeyError> {
        if let Some(database) = header::find_database(data_dir)? {
            return Err(KeyError::HeaderGone { data_dir: data_dir.display().to_string(), database });
        }
        let RootKeySettings::Native { path } = root_keys.first().expect("a configuration names a root key");
        let root_key = NativeRootKey::open_or_create(path, data_dir)?;
        let data_key = DataKey(Zeroizing::new(random::bytes()));
        let mut header = Header::new(root_key.id(), derivation::check_value(&data_key));
        let wrapped = root_key.wrap(&data_key, &header.context()).await?;
        header.set_wrapped_data_key(&wrapped);
        header.create(data_dir)?;
        Ok(Self { data_key, database_file: header.database })
    }

    /// The file name of the database in the data directory that these keys are for.
    pub fn database_file(&self) -> &str {
        &self.database_file
    }

    pub fn database_key(&self) -> DatabaseKey {
        DatabaseKey(derivation::database_key(&self.data_key))
    }

    pub fn ticket_key(&self) -> TicketKey {
        TicketKey::new(&derivation::ticket_key(&self.data_key))
    }

    pub fn field_sealer(&self) -> FieldSealer {
        FieldSealer::new(&derivation::sealed_field_key(&self.data_key))
    }
}

impl DatabaseKey {
    /// The raw bytes, for the one place that opens the database.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
