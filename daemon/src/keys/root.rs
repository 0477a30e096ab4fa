//! Chooses among the configured root keys: the first wraps, any may unwrap.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use infra_shared::random;
use zeroize::Zeroizing;

#[cfg(feature = "aws")]
use super::aws_kms::KMSRootKey;
use super::error::Remedy;
use super::header::{self, Header};
use super::native::NativeRootKey;
use super::vault_transit::TransitRootKey;
use super::{DataKey, KeyError, RootKey, RootKeySettings};
use crate::platform;

impl RootKeySettings {
    /// Opens the root key for unwrapping; `None` if a native key's file is missing.
    fn open(&self, data_dir: &Path) -> Result<Option<Box<dyn RootKey>>, KeyError> {
        Ok(match self {
            Self::Native { path } => {
                NativeRootKey::open(path, data_dir)?.map(|key| Box::new(key) as Box<dyn RootKey>)
            }
            #[cfg(feature = "aws")]
            Self::AWSKMS { aws, key_id } => Some(Box::new(KMSRootKey::new(aws.clone(), key_id)?)),
            Self::Vault { server, transit_mount, key } => {
                Some(Box::new(TransitRootKey::new(server.clone(), transit_mount, key)?))
            }
        })
    }

    /// Opens the root key for wrapping. It has to exist.
    fn open_existing(&self, data_dir: &Path) -> Result<Box<dyn RootKey>, KeyError> {
        self.open(data_dir)?.ok_or_else(|| KeyError::RootKeyMissing { path: self.describe() })
    }

    /// Creates a native key that is missing, at the first start of a store.
    pub(super) fn create_if_missing(&self, data_dir: &Path) -> Result<(), KeyError> {
        match self {
            Self::Native { path } => NativeRootKey::create_if_missing(path, data_dir),
            _ => Ok(()),
        }
    }

    /// The file that the next start needs for this key, if it is missing. For a credential, the file from which systemd
    /// reads it. Reads no key.
    pub fn missing_file(&self) -> Option<PathBuf> {
        let Self::Native { path } = self else { return None };
        let file = match platform::credential_name(path) {
            Some(name) => platform::credential_source(name)?,
            None => path.clone(),
        };
        matches!(file.try_exists(), Ok(false)).then_some(file)
    }

    /// What keeps the next start from reading a credential, as far as a process that cannot read its source can tell: the
    /// source is missing, or has another size. `None` for other keys.
    pub fn source_problem(&self) -> Option<String> {
        let Self::Native { path } = self else { return None };
        let name = platform::credential_name(path)?;
        let source = platform::credential_source(name)?;
        match source.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Some(format!("{} is missing", source.display()))
            }
            Ok(metadata) if !platform::is_encrypted_credential(name) => {
                NativeRootKey::length_problem(&source, metadata.len())
            }
            _ => None,
        }
    }

    /// Whether [`Self::create_if_missing`] would succeed for a native key.
    pub(super) fn check_creation(&self, data_dir: &Path) -> Result<(), KeyError> {
        match self {
            Self::Native { path } if NativeRootKey::open(path, data_dir)?.is_none() => {
                platform::check_file_place_or_created(path).map_err(KeyError::RootKeyFile)
            }
            _ => Ok(()),
        }
    }

    /// Wraps and unwraps a random key, for `infrad check --live`. Returns `None` for a native key that the first
    /// start will create.
    pub async fn round_trip(&self, data_dir: &Path) -> Result<Option<()>, KeyError> {
        const CONTEXT: &str = "infra check";
        let Some(root_key) = self.open(data_dir)? else { return Ok(None) };
        let key = DataKey::random();
        let wrapped = root_key.wrap(&key, CONTEXT).await?;
        let unwrapped = root_key.unwrap(&wrapped, CONTEXT).await?;
        if key.is(&unwrapped) { Ok(Some(())) } else { Err(does_not_open(root_key.as_ref())) }
    }

    /// Whether this key wrapped a data key, by the id of the key that did; `None` if only its server can decide. A native
    /// key that is still missing has wrapped nothing.
    pub fn has_wrapped(&self, id: &str, data_dir: &Path) -> Result<Option<bool>, KeyError> {
        Ok(match self.open(data_dir)? {
            Some(root_key) if root_key.id() == id => Some(true),
            Some(root_key) if root_key.may_have_wrapped(id) => None,
            _ => Some(false),
        })
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Native { path } => match platform::credential_name(path) {
                Some(name) => format!("systemd credential {}", name.display()),
                None => path.display().to_string(),
            },
            #[cfg(feature = "aws")]
            Self::AWSKMS { key_id, .. } => format!("awskms:{key_id}"),
            Self::Vault { server, transit_mount, key } => {
                format!("vault:{}{transit_mount}/{key}", server.address)
            }
        }
    }
}

/// The root key that wraps.
pub(super) fn first(root_keys: &[RootKeySettings]) -> &RootKeySettings {
    root_keys.first().expect("a configuration names a root key")
}

/// A wrapped key, and where it is stored.
pub(super) struct Wrapping<'a> {
    /// Names the file or database in errors.
    pub(super) origin: &'a str,
    /// The id of the root key that wrapped it.
    pub(super) root_key: &'a str,
    pub(super) wrapped: &'a [u8],
    pub(super) context: String,
    pub(super) remedy: Remedy,
    /// Whether an unwrapped key is the right one and what is stored with it is unchanged.
    pub(super) is_of: &'a (dyn Fn(&DataKey) -> bool + Sync),
}

/// Wraps `key` under the first root key, after a test that the wrapping unwraps. Returns the id of that root key and the
/// wrapping.
pub(super) async fn wrap_key(
    key: &DataKey,
    context: &str,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<(String, Vec<u8>), KeyError> {
    let root_key = first(root_keys).open_existing(data_dir)?;
    let wrapped = root_key.wrap(key, context).await?;
    if !root_key.unwrap(&wrapped, context).await?.is(key) {
        return Err(does_not_open(root_key.as_ref()));
    }
    Ok((root_key.id(), wrapped))
}

/// Wraps `data_key` under the first root key and stores the wrapping in `header`.
pub(super) async fn wrap(
    header: &mut Header,
    data_key: &DataKey,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<(), KeyError> {
    let (root_key, wrapped) = wrap_key(data_key, &header.context(), root_keys, data_dir).await?;
    header.root_key = root_key;
    header.wrapped_data_key = header::Bytes(wrapped);
    Ok(())
}

/// Unwraps the data key of `header` with the root key that wrapped it, and returns both. `header_path` names the source in errors.
pub(super) async fn unwrap(
    header: &Header,
    header_path: &str,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<(DataKey, RootKeySettings), KeyError> {
    let wrapping = Wrapping {
        origin: header_path,
        root_key: &header.root_key,
        wrapped: &header.wrapped_data_key.0,
        context: header.context(),
        remedy: Remedy::of_file(header.recovery.is_some()),
        is_of: &|data_key| header.is_signed_by(data_key),
    };
    unwrap_key(&wrapping, root_keys, data_dir).await
}

/// Unwraps a key with the root key that wrapped it, and returns both.
pub(super) async fn unwrap_key(
    wrapping: &Wrapping<'_>,
    root_keys: &[RootKeySettings],
    data_dir: &Path,
) -> Result<(DataKey, RootKeySettings), KeyError> {
    let damaged = || KeyError::HeaderDamaged { path: wrapping.origin.to_owned() };
    let (mut configured, mut gone, mut failed) = (Vec::new(), None, None::<KeyError>);
    for settings in root_keys {
        // A missing native key may be the next one, which has wrapped nothing yet.
        let root_key = match settings.open(data_dir) {
            Ok(root_key) => root_key,
            // Another key may unwrap. If none does, report this one: it may be the right key.
            Err(error @ KeyError::RootKeyNotHanded { .. }) => {
                failed.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let Some(root_key) = root_key else {
            gone.get_or_insert_with(|| settings.describe());
            continue;
        };
        if !root_key.may_have_wrapped(wrapping.root_key) {
            configured.push(root_key.id());
            continue;
        }
        match root_key.unwrap(wrapping.wrapped, &wrapping.context).await {
            Ok(key) if (wrapping.is_of)(&key) => return Ok((key, settings.clone())),
            Ok(_) => return Err(damaged()),
            // A native key's id is unique, so the wrapping must be damaged.
            Err(KeyError::DoesNotUnwrap { .. }) if matches!(settings, RootKeySettings::Native { .. }) => {
                return Err(damaged());
            }
            // Prefer this error: the unreachable key may be the right one.
            Err(error) if error.is_transient() => failed = Some(error),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let (header_path, remedy) = (wrapping.origin.to_owned(), wrapping.remedy);
    let expected = wrapping.root_key.to_owned();
    Err(match gone {
        Some(path) => KeyError::RootKeyGone { path, header_path, needed: expected, remedy },
        None => KeyError::OtherRootKey { header_path, expected, configured: configured.join(", "), remedy },
    })
}

fn does_not_open(root_key: &dyn RootKey) -> KeyError {
    KeyError::DoesNotUnwrap { id: root_key.id() }
}

impl DataKey {
    pub(super) fn random() -> Self {
        Self(Zeroizing::new(random::bytes()))
    }

    fn is(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }
}
