//! Checks that a command has the same access as the service: its user's files, and the credentials that systemd passes
//! only to the unit.

use std::ffi::OsString;
use std::path::Path;

use super::Context;
use crate::config::Config;
use crate::failure::Failure;
use crate::keys::{self, KeyError, RootKeySettings};
use crate::platform::{self, Account, UNIT, Unit};

/// This host's unit that reads the configuration at `path`.
pub(super) fn unit_of(path: &Path) -> Option<Unit> {
    Unit::find().filter(|unit| unit.configuration() == path)
}

/// Why this process lacks the service's access. `None` if it has it, or if no unit reads this configuration here.
pub(super) fn why_outside(context: &Context, config: &Config) -> Option<String> {
    let unit = unit_of(&context.config_path)?;
    let own = Account::of_this_process();
    let mut causes = Vec::new();
    if unit.account().is_some_and(|account| account.uid != own.uid) {
        causes.push(format!(
            "{UNIT} runs as the user {}, who owns the data, but this command runs as {}",
            unit.user(),
            own.name
        ));
    }
    if platform::credentials_directory().is_none() {
        causes.extend(config.root_keys.iter().find_map(|root_key| match root_key {
            RootKeySettings::Native { path } => platform::credential_name(path),
            _ => None,
        }).map(|name| {
            format!(
                "the root key {} is a systemd credential of {UNIT}, but this command runs outside the unit",
                name.display()
            )
        }));
    }
    (!causes.is_empty()).then(|| causes.join("; "))
}

/// Fails if this process lacks the service's access, before it opens or creates anything.
pub(super) fn expect_inside(context: &Context, config: &Config) -> Result<(), Failure> {
    why_outside(context, config).map_or(Ok(()), |cause| Err(failure(cause)))
}

/// The failure of a command that must run as the service.
pub(super) fn failure(cause: String) -> Failure {
    Failure::failed("this command must run as the service does").because_text(cause).hint(as_service())
}

/// The command to type instead of the current one.
pub(super) fn as_service() -> String {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
    format!("`{sudo}infrad as-service {}`", line(&words))
}

/// The command to type instead of the current one, which runs as root.
pub(super) fn as_user(user: &str) -> String {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    format!("`runuser -u {user} -- infrad {}`", line(&words))
}

/// How to restore `source`, from which systemd hands over the credential `name`.
pub(super) fn restore_credential(unit: &Unit, name: &str, source: &str) -> String {
    if let Some(restoring) = restore_kept(unit, name, source) {
        return restoring;
    }
    format!(
        "restore {source} from its copy; if it is a root key without a copy, follow docs/runbooks.md#the-root-key-is-lost"
    )
}

/// How to restore it from the copy that systemd keeps for the running unit (systemd.exec(5): root can read it).
fn restore_kept(unit: &Unit, name: &str, source: &str) -> Option<String> {
    let kept = Path::new("/run/credentials").join(UNIT).join(name);
    if !matches!(kept.try_exists(), Ok(true)) {
        return None;
    }
    let (kept, source) = (platform::quoted(&kept.to_string_lossy()), platform::quoted(source));
    let restore = if unit.is_encrypted(name) {
        format!("systemd-creds encrypt --name={name} {kept} {source}")
    } else {
        format!("install -o root -g root -m 0400 {kept} {source}")
    };
    Some(format!(
        "keep infrad running: until it stops, systemd keeps a copy. Put it back as root: `{restore}`"
    ))
}

/// What to do about a root key that is missing or wrong while a daemon runs, which still holds the data key. `None` if none
/// runs, or if the error has its own advice.
///
/// Advises to write or move no file that exists: with another path in `keys`, it may be any file.
pub(super) fn keep_running(config: &Config, error: &KeyError) -> Option<String> {
    if !error.is_of_other_file() && !error.is_missing() {
        return None;
    }
    if !matches!(platform::lock_holder(&config.data_dir), Ok(Some(_))) {
        return None;
    }
    let is_missing = |root_key: &&RootKeySettings| root_key.missing_file().is_some();
    let root_key = config.root_keys.iter().find(is_missing).or(config.root_keys.first())?;
    let RootKeySettings::Native { path } = root_key else { return None };
    if error.is_of_other_file() {
        let place = platform::credential_name(path).map_or("keys", |_| "LoadCredential=");
        return Some(format!(
            "keep infrad running: it still holds the data key. Check the path in `{place}`: it may name another file. Only \
             if the path is right, follow docs/runbooks.md#the-root-key-is-lost"
        ));
    }
    let handed = platform::credential_name(path).and_then(|name| {
        let (unit, name) = (Unit::find()?, name.to_str()?);
        restore_kept(&unit, name, platform::credential_source(Path::new(name))?.to_str()?)
    });
    handed.or_else(|| {
        Some(format!(
            "keep infrad running: it still holds the data key. Correct the path in `keys`, or restore the file from its \
             copy. Only if the key is lost, create a new one as the user that infrad runs as, `{}`, then run `infrad key \
             rewrap`",
            keys::creating_root_key(&path.display().to_string())
        ))
    })
}

pub(super) fn line(words: &[OsString]) -> String {
    words.iter().map(|word| platform::quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
