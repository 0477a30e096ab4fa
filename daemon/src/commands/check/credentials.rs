//! Checks the credentials that systemd hands over to the unit: their source files, and that they hold the root key.

use std::io::ErrorKind;
use std::path::Path;

use super::access::{fails, tried};
use super::live::Tried;
use crate::commands::service_access;
use crate::config::Config;
use crate::identity::Outcome;
use crate::keys::{self, KeyError, RootKeySettings};
use crate::platform::{self, Access, Account, Purpose, UNIT, Unit, run_as};

/// What keeps systemd from handing over the credential `name`, or hands it to more users than the daemon's.
pub(super) fn check(unit: &Unit, name: &Path) -> Option<Outcome> {
    let Some((found, source)) = unit.credentials().into_iter().find(|(found, _)| Path::new(found) == name)
    else {
        return Some(fails(
            format!("{UNIT} has no credential {}", name.display()),
            format!(
                "`systemctl edit infrad`, then add under `[Service]`: `LoadCredential={0}:/etc/infra/{0}`",
                name.display()
            ),
        ));
    };
    // systemd searches its own directories for a credential without a path.
    if !source.starts_with('/') {
        return None;
    }
    match Path::new(source).symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Some(fails(
            format!("{source} is missing, and systemd reads the credential {found} from it"),
            service_access::restore_credential(unit, found, source),
        )),
        _ if unit.is_encrypted(found) => None,
        _ => check_source(source),
    }
}

/// The source is for root alone. systemd reads it with any mode, so the daemon does not notice another one.
fn check_source(source: &str) -> Option<Outcome> {
    let root = Account { name: "root".to_owned(), uid: 0, gids: vec![0], home: "/root".into() };
    // systemd follows links.
    let real = Path::new(source).canonicalize().ok()?;
    match Access::check(&real, Purpose::Secret, &root) {
        Access::Unusable { cause, .. } => Some(fails(
            format!("{source} is for root alone, because systemd passes it to {UNIT}, but {cause}"),
            format!("`chown root: {0}`, then `chmod 0400 {0}`", real.display()),
        )),
        _ => None,
    }
}

/// Credentials without a source that no setting uses: systemd does not start the unit without them.
pub(super) fn missing(unit: &Unit, found: &[Tried]) -> Vec<Tried> {
    let is_known = |source: &str| {
        found.iter().any(|tried| match &tried.finding.outcome {
            Outcome::Fails { cause, .. } => cause.contains(source),
            _ => false,
        })
    };
    let credentials = unit.credentials().into_iter();
    let missing = credentials.filter(|(_, source)| {
        source.starts_with('/') && matches!(Path::new(source).try_exists(), Ok(false)) && !is_known(source)
    });
    let report = |(name, source): (&str, &str)| {
        let cause = format!("{source} is missing, and {UNIT} does not start without it");
        let hint = format!(
            "restore {source}; if the configuration no longer uses it: `systemctl edit infrad`, then add under `[Service]` \
             `LoadCredential=` alone, then one `LoadCredential=NAME:FILE` for each other credential"
        );
        tried("unit", format!("credential {name}"), fails(cause, hint))
    };
    missing.map(report).collect()
}

/// Whether a root key that systemd hands over has its length and wraps the data. Only root sees the sources.
pub(super) fn check_root_keys(config: &Config, unit: &Unit) -> Option<Tried> {
    let account = unit.account()?;
    let wrapping = run_as(&account, || keys::wrapping(&config.data_dir)).ok().and_then(Result::ok).flatten();
    let credentials = unit.credentials();
    let (mut ids, mut first) = (Vec::new(), None);
    for root_key in &config.root_keys {
        // A root key in AWS KMS or Vault may be the one that wraps the data.
        let RootKeySettings::Native { path } = root_key else { return None };
        let handed = platform::credential_name(path)
            .and_then(|name| credentials.iter().find(|(found, _)| Path::new(found) == name));
        let id = match handed {
            // An encrypted one has another form.
            Some((name, _)) if unit.is_encrypted(name) => return None,
            Some((_, source)) => {
                first.get_or_insert(*source);
                keys::id_in_source(Path::new(source))
            }
            None => keys::native_id(path, &config.data_dir),
        };
        match (id, handed) {
            (Ok(id), _) => ids.extend(id),
            (Err(error @ KeyError::RootKeyLength { .. }), Some((_, source))) => {
                let check = format!(
                    "check the path in `LoadCredential=`: {source} may be another file. Only if the path is right,"
                );
                let is_unused = matches!(keys::is_unused(&config.data_dir), Ok(true));
                let hint = if wrapping.is_some() || !is_unused {
                    service_access::keep_running(config, &error)
                        .unwrap_or_else(|| format!("{check} follow docs/runbooks.md#the-root-key-is-lost"))
                } else {
                    let damaged = platform::quoted(source);
                    format!(
                        "{check} `mv --backup=numbered {damaged} {damaged}.bad`, then `{}`",
                        keys::creating_root_key(source)
                    )
                };
                return Some(tried("root key", root_key.describe(), fails(error.to_string(), hint)));
            }
            (Err(_), _) => {}
        }
    }
    if ids.is_empty() {
        return None;
    }
    let error = wrapping?.expect_one_of(&ids, &config.data_dir).err()?;
    let what = config.root_keys.first().map(RootKeySettings::describe).unwrap_or_default();
    let otherwise = if error.can_be_recovered() {
        "if that key is lost for good, follow docs/runbooks.md#the-root-key-is-lost"
    } else {
        "nothing else opens the data, because there is no recovery key"
    };
    let hint = service_access::keep_running(config, &error).unwrap_or_else(|| {
        first.map_or_else(
            || error.hint().unwrap_or_default(),
            |source| {
                format!("check the path in `LoadCredential=`: {source} may be another file; {otherwise}")
            },
        )
    });
    Some(tried("root key", what, fails(error.to_string(), hint)))
}
