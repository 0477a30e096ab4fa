//! Credentials that systemd passes to a unit (systemd.exec(5), `LoadCredential=`): read-only, and removed when the unit
//! stops.
//!
//! Each unit has its own directory. A command that runs with the service's rights therefore finds the same credential
//! under another path. For this reason a credential path of any unit means the credential with that name of this
//! process.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Unit;

const PLACE: &str = "/run/credentials";

pub fn is_credential(path: &Path) -> bool {
    path.starts_with(PLACE)
}

pub fn credential_name(path: &Path) -> Option<&Path> {
    let below = path.strip_prefix(PLACE).ok()?;
    let mut parts = below.components();
    parts.next()?;
    Some(parts.as_path()).filter(|name| !name.as_os_str().is_empty())
}

/// Directory with this process's credentials. `None` if systemd passed none.
#[expect(clippy::disallowed_methods, reason = "systemd names the directory in the environment only")]
pub fn credentials_directory() -> Option<&'static Path> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| {
            std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
        })
        .as_deref()
}

/// The file from which systemd reads the credential `name` of this host's unit; `None` if it has no path of its own.
pub fn credential_source(name: &Path) -> Option<PathBuf> {
    let unit = Unit::find()?;
    let (_, source) = unit.credentials().into_iter().find(|(found, _)| Path::new(found) == name)?;
    source.starts_with('/').then(|| source.into())
}

/// Whether systemd decrypts the source of the credential `name` of this host's unit.
pub fn is_encrypted_credential(name: &Path) -> bool {
    Unit::find().is_some_and(|unit| name.to_str().is_some_and(|name| unit.is_encrypted(name)))
}

/// The file to open for `path`.
pub fn handed(path: &Path) -> Cow<'_, Path> {
    handed_in(path, credentials_directory())
}

fn handed_in<'a>(path: &'a Path, directory: Option<&Path>) -> Cow<'a, Path> {
    match (credential_name(path), directory) {
        (Some(name), Some(directory)) => Cow::Owned(directory.join(name)),
        _ => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_path_of_any_unit_maps_to_own_directory() {
        let own = Some(Path::new("/run/credentials/run-u7.service"));
        let named = Path::new("/run/credentials/infrad.service/root2.key");
        assert_eq!(handed_in(named, own), Path::new("/run/credentials/run-u7.service/root2.key"));
        assert_eq!(handed_in(named, None), named);
        let other = Path::new("/etc/infra/root.key");
        assert_eq!(handed_in(other, own), other);
        assert_eq!(credential_name(named), Some(Path::new("root2.key")));
        assert_eq!(credential_name(Path::new("/run/credentials/infrad.service")), None);
    }
}
