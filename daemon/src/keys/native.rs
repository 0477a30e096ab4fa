//! The native root key: 32 random bytes in their own file.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use infra_shared::random;
use zeroize::Zeroizing;

use super::aead::AEADKey;
use super::{DataKey, KeyError, RootKey, derivation};
use crate::platform;

const BYTES: usize = 32;
const MODE: u32 = 0o400;

/// A root key on the local disk, readable only by its owner.
pub(super) struct NativeRootKey {
    key: AEADKey,
    id: String,
}

impl NativeRootKey {
    /// Reads the key; `None` if the file does not exist.
    ///
    /// Rejects a key inside `data_dir`, because an attacker who copies that directory would get the root key too.
    pub(super) fn open(path: &Path, data_dir: &Path) -> Result<Option<Self>, KeyError> {
        let name = path.display().to_string();
        if resolved(path).starts_with(resolved(data_dir)) {
            return Err(KeyError::RootKeyBesideData { path: name });
        }
        let contents = match platform::read_private_file(path, 4096) {
            Ok(contents) => contents,
            Err(error) if error.is_not_found() || error.is_permission_denied() => {
                if let Some(name) = platform::credential_name(path) {
                    let is_in_unit = platform::credentials_directory().is_some();
                    return Err(KeyError::RootKeyNotHanded { name: name.display().to_string(), is_in_unit });
                }
                if error.is_not_found() {
                    return Ok(None);
                }
                return Err(KeyError::RootKeyFile(error));
            }
            Err(error) => return Err(KeyError::RootKeyFile(error)),
        };
        Self::of(&contents, &name).map(Some)
    }

    fn of(contents: &[u8], path: &str) -> Result<Self, KeyError> {
        let key: &[u8; BYTES] = contents.try_into().map_err(|_| {
            let (path, bytes) = (path.to_owned(), contents.len());
            KeyError::RootKeyLength { path, bytes }
        })?;
        let id = format!("native:{}", derivation::root_key_id(key));
        Ok(Self { key: AEADKey::new(key), id })
    }

    /// Why a file with this many bytes, the source of a credential, is no root key.
    pub(super) fn length_problem(source: &Path, bytes: u64) -> Option<String> {
        (usize::try_from(bytes) != Ok(BYTES)).then(|| {
            format!(
                "{} has {bytes} bytes, but a root key has {BYTES}: check the path in `LoadCredential=`",
                source.display()
            )
        })
    }

    /// The id of the key in the file that systemd reads as root for a credential, whatever its owner and mode. `None` if
    /// this process cannot read the file.
    pub(super) fn id_in_source(source: &Path) -> Result<Option<String>, KeyError> {
        let Ok(contents) = platform::read_as_manager(source, 4096) else { return Ok(None) };
        Self::of(&contents, &source.display().to_string()).map(|key| Some(key.id))
    }

    /// Creates the key if it is missing. Only for a store without data: a new key unwraps no existing data.
    pub(super) fn create_if_missing(path: &Path, data_dir: &Path) -> Result<(), KeyError> {
        if Self::open(path, data_dir)?.is_some() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            create_parent(parent)?;
        }
        let key: Zeroizing<[u8; BYTES]> = Zeroizing::new(random::bytes());
        platform::create_file(path, key.as_slice(), MODE).map_err(KeyError::RootKeyFile)?;
        tracing::info!(
            path = %path.display(),
            "created the root key: keep a copy away from this host, because only it or a recovery key opens the data"
        );
        Ok(())
    }
}

#[async_trait]
impl RootKey for NativeRootKey {
    fn id(&self) -> String {
        self.id.clone()
    }

    fn may_have_wrapped(&self, id: &str) -> bool {
        id == self.id
    }

    async fn wrap(&self, data_key: &DataKey, context: &str) -> Result<Vec<u8>, KeyError> {
        Ok(self.key.seal(context.as_bytes(), data_key.0.as_slice()))
    }

    async fn unwrap(&self, wrapped: &[u8], context: &str) -> Result<DataKey, KeyError> {
        self.key
            .open(context.as_bytes(), wrapped)
            .and_then(|opened| Some(DataKey(Zeroizing::new(opened.as_slice().try_into().ok()?))))
            .ok_or_else(|| KeyError::DoesNotUnwrap { id: self.id() })
    }
}

/// An existing directory (such as `/etc/infra`) may be readable by other users, because the key's own mode protects
/// it.
fn create_parent(parent: &Path) -> Result<(), KeyError> {
    if parent.as_os_str().is_empty() || parent.is_dir() {
        return Ok(());
    }
    platform::ensure_private_directory(parent).map_err(KeyError::RootKeyFile)
}

/// Resolves links in the part of `path` that exists.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            let rest = path.strip_prefix(ancestor).unwrap_or(Path::new(""));
            return real.join(rest);
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_credential_is_reported_and_not_created() {
        let data_dir = tempfile::tempdir().expect("a directory");
        let path = Path::new("/run/credentials/infrad.service/none.key");
        let open = NativeRootKey::open(path, data_dir.path()).map(|key| key.is_some());
        let made = NativeRootKey::create_if_missing(path, data_dir.path());
        for error in [open.map(drop).expect_err("not handed"), made.expect_err("not handed")] {
            assert!(
                matches!(&error, KeyError::RootKeyNotHanded { name, .. } if name == "none.key"),
                "{error}"
            );
            assert!(error.to_string().contains("none.key is a systemd credential"), "{error}");
            assert!(error.hint().is_some_and(|hint| !hint.contains("recovery")), "{error}");
        }
    }
}
