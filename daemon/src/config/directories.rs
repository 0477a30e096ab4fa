//! Default paths of the data and the root key, never in the same directory.
//!
//! For root: `/var/lib/infrad` and `/etc/infra/root.key`. For other users: the platform's data and configuration
//! directories (crate `directories`). If systemd passes the root key as a credential (`LoadCredential=root.key:…`), that
//! is the default. A command that reads a unit's configuration uses the unit's defaults, as any user.

use std::path::{Path, PathBuf};

use ::directories::ProjectDirs;

use crate::platform::{self, Account, UNIT, Unit};

/// Name of the credential that is the default root key.
const ROOT_KEY: &str = "root.key";

/// The defaults. `None` without a home directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Directories {
    pub(super) data: Option<PathBuf>,
    pub(super) root_key: Option<PathBuf>,
    /// Directories that systemd makes for the unit that uses the configuration.
    pub(super) running: Vec<PathBuf>,
}

impl Directories {
    /// Defaults for the configuration at `path`: those of the unit that uses it, else of this process.
    pub(super) fn for_configuration(path: &Path) -> Self {
        let unit = Unit::find().filter(|unit| unit.configuration() == path);
        let directories = match unit {
            Some(unit) => Self::of_unit(&unit, unit.account().as_ref()),
            None => Self::of_this_user(),
        };
        Self { root_key: handed_root_key().or(directories.root_key), ..directories }
    }

    /// Defaults of the daemon that runs as `unit`.
    fn of_unit(unit: &Unit, account: Option<&Account>) -> Self {
        let is_handed = unit.credentials().iter().any(|(name, _)| *name == ROOT_KEY);
        let handed = is_handed.then(|| Path::new("/run/credentials").join(UNIT).join(ROOT_KEY));
        let directories = match account {
            Some(account) if account.uid == 0 => Self::of_system(),
            Some(account) => Self {
                data: Some(account.home.join(".local/share/infrad/data")),
                root_key: Some(account.home.join(".config/infrad/key").join(ROOT_KEY)),
                running: Vec::new(),
            },
            None => Self::of_this_user(),
        };
        Self { root_key: handed.or(directories.root_key), running: unit.state_directories(), ..directories }
    }

    fn of_system() -> Self {
        Self {
            data: Some("/var/lib/infrad".into()),
            root_key: Some("/etc/infra/root.key".into()),
            running: Vec::new(),
        }
    }

    fn of_this_user() -> Self {
        if is_root() {
            return Self::of_system();
        }
        // On macOS both directories are the same, so each gets a subdirectory.
        let directories = ProjectDirs::from("", "", "infrad");
        Self {
            data: directories.as_ref().map(|directories| directories.data_local_dir().join("data")),
            root_key: directories
                .as_ref()
                .map(|directories| directories.config_dir().join("key").join("root.key")),
            running: Vec::new(),
        }
    }
}

/// Path of the credential `root.key`, if systemd passes it (systemd.exec(5), `LoadCredential=`).
fn handed_root_key() -> Option<PathBuf> {
    Some(platform::credentials_directory()?.join(ROOT_KEY)).filter(|path| path.exists())
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_that_hands_over_the_root_key_decides_the_default() {
        let unit = Unit::of_text(include_str!("../../../deploy/systemd/infrad.service"));
        let account =
            Account { name: "infrad".to_owned(), uid: 997, gids: vec![997], home: "/nonexistent".into() };
        let directories = Directories::of_unit(&unit, Some(&account));
        assert_eq!(directories.root_key, Some("/run/credentials/infrad.service/root.key".into()));
        assert_eq!(directories.data, Some("/nonexistent/.local/share/infrad/data".into()));

        let unit = Unit::of_text("[Service]\nExecStart=/usr/bin/infrad serve\n");
        let root = Account { name: "root".to_owned(), uid: 0, gids: vec![0], home: "/root".into() };
        let directories = Directories::of_unit(&unit, Some(&root));
        assert_eq!(directories.root_key, Some("/etc/infra/root.key".into()));
    }
}
