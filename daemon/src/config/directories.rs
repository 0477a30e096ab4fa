//! Where data and root key are kept when the configuration does not say: never in one place.
//!
//! A daemon of the system (root) keeps them in `/var/lib/infrad` and `/etc/infra/root.key`; a user's own in the
//! platform's directories for data and for configuration, as `directories` knows them. A service that is handed its root
//! key uses that one (`LoadCredential=root.key:…`).

use std::path::PathBuf;

use ::directories::ProjectDirs;

/// The defaults; `None` where there is no home directory to derive them from.
#[derive(Debug, Clone, Default)]
pub(super) struct Directories {
    pub(super) data: Option<PathBuf>,
    pub(super) root_key: Option<PathBuf>,
}

impl Directories {
    pub(super) fn of_this_process() -> Self {
        let directories = Self::of_this_user();
        Self { root_key: handed_root_key().or(directories.root_key), ..directories }
    }

    fn of_this_user() -> Self {
        if is_root() {
            return Self {
                data: Some("/var/lib/infrad".into()),
                root_key: Some("/etc/infra/root.key".into()),
            };
        }
        // macOS has one directory for both, hence a folder in it for each.
        let directories = ProjectDirs::from("", "", "infrad");
        Self {
            data: directories.as_ref().map(|directories| directories.data_local_dir().join("data")),
            root_key: directories
                .as_ref()
                .map(|directories| directories.config_dir().join("key").join("root.key")),
        }
    }
}

/// The credential `root.key`, where the service manager hands one over (systemd.exec(5), `LoadCredential=`).
#[expect(clippy::disallowed_methods, reason = "systemd says where by the environment alone")]
fn handed_root_key() -> Option<PathBuf> {
    let credentials = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    Some(credentials.join("root.key")).filter(|path| path.exists())
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
fn is_root() -> bool {
    false
}
