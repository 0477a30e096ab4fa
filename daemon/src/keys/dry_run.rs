//! Checks the keys of a data directory without creating or changing anything.

use std::path::Path;

use super::error::Remedy;
use super::header::{self, Header};
use super::native::NativeRootKey;
use super::{KeyError, Keys, RootKey, RootKeySettings};

/// Whether `data_dir` holds neither keys nor a database, so that both would be created.
pub fn is_unused(data_dir: &Path) -> Result<bool, KeyError> {
    Ok(Header::read(data_dir)?.is_none() && header::find_databases(data_dir)?.is_empty())
}

/// Whether [`Keys::open_or_create`] would succeed, as far as that can be decided without a network.
pub async fn check(data_dir: &Path, root_keys: &[RootKeySettings]) -> Result<(), KeyError> {
    let is_native = |root_key: &&RootKeySettings| matches!(root_key, RootKeySettings::Native { .. });
    let native: Vec<RootKeySettings> = root_keys.iter().take_while(is_native).cloned().collect();
    if Header::read(data_dir)?.is_none() {
        expect_no_database(data_dir)?;
        return native.first().map_or(Ok(()), |first| first.check_creation(data_dir));
    }
    match Keys::open(data_dir, &native).await {
        // The next one, which is kept elsewhere, may be the right one.
        Err(
            KeyError::RootKeyGone { .. } | KeyError::OtherRootKey { .. } | KeyError::RootKeyNotHanded { .. },
        ) if native.len() < root_keys.len() => Ok(()),
        opened => opened.map(drop),
    }
}

/// Whether a start with these native root keys could open keys that the root key `needed` wrapped. Decides nothing if another
/// kind of root key is configured. `origin` names the database of the keys in errors.
pub fn check_wrapped_by(
    needed: &str,
    origin: &str,
    data_dir: &Path,
    root_keys: &[RootKeySettings],
) -> Result<(), KeyError> {
    let (mut configured, mut gone) = (Vec::new(), None);
    for root_key in root_keys {
        let RootKeySettings::Native { path } = root_key else { return Ok(()) };
        match native_id(path, data_dir)? {
            Some(id) if id == needed => return Ok(()),
            Some(id) => configured.push(id),
            None => gone = gone.or(Some(root_key.describe())),
        }
    }
    let (header_path, remedy) = (origin.to_owned(), Remedy::OtherHost);
    Err(match gone {
        Some(path) => KeyError::RootKeyGone { path, header_path, needed: needed.to_owned(), remedy },
        None => KeyError::OtherRootKey {
            header_path,
            expected: needed.to_owned(),
            configured: configured.join(", "),
            remedy,
        },
    })
}

/// Fails if there is a database without the header of its keys: new keys would not open it.
pub(super) fn expect_no_database(data_dir: &Path) -> Result<(), KeyError> {
    match header::find_databases(data_dir)?.into_iter().next() {
        Some(database) => Err(KeyError::HeaderGone { data_dir: data_dir.display().to_string(), database }),
        None => Ok(()),
    }
}

/// The id of the native root key at `path`; `None` if there is no file.
pub fn native_id(path: &Path, data_dir: &Path) -> Result<Option<String>, KeyError> {
    Ok(NativeRootKey::open(path, data_dir)?.map(|key| key.id()))
}

/// The id of the native root key that systemd hands over from the file `source`; `None` if it cannot be read here.
pub fn id_in_source(source: &Path) -> Result<Option<String>, KeyError> {
    NativeRootKey::id_in_source(source)
}

/// Which root key wraps the data key of a data directory.
pub struct Wrapping(Header);

/// The header with the root key that wraps the data key; `None` if there is no data.
pub fn wrapping(data_dir: &Path) -> Result<Option<Wrapping>, KeyError> {
    Ok(Header::read(data_dir)?.map(Wrapping))
}

impl Wrapping {
    /// Fails if it is none of the native root keys with these ids.
    pub fn expect_one_of(self, configured: &[String], data_dir: &Path) -> Result<(), KeyError> {
        if configured.contains(&self.0.root_key) {
            return Ok(());
        }
        Err(KeyError::OtherRootKey {
            header_path: header::path(data_dir).display().to_string(),
            remedy: Remedy::of_file(self.0.recovery.is_some()),
            expected: self.0.root_key,
            configured: configured.join(", "),
        })
    }
}
