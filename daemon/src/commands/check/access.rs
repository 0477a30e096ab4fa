//! Checks that the service can use the files in the configuration.
//!
//! Checks for the unit's user, or for the user of this command if no unit reads the configuration here.

use std::path::Path;

use super::live::Tried;
use crate::audit::{self, AuditSettings, UnsafePath};
use crate::commands::{Context, outside};
use crate::config::Config;
use crate::identity::{CheckResult, Outcome};
use crate::keys::RootKeySettings;
use crate::platform::{self, Access, Account, Purpose, UNIT, Unit};
use crate::secrets::Reference;
use crate::tls::OtherSource;

/// The user to check for.
struct Judge {
    /// This host's unit that reads the configuration.
    unit: Option<Unit>,
    account: Account,
}

/// Lists what the service cannot use and what cannot be determined. Omits what it can use.
pub(super) fn judge(context: &Context, config: &Config) -> Vec<Tried> {
    let unit = outside::unit_of(&context.config_path);
    let account = unit.as_ref().map_or_else(|| Some(Account::of_this_process()), Unit::account);
    let Some(account) = account else {
        let user = unit.as_ref().map(Unit::user).unwrap_or_default();
        let cause =
            format!("the user {user} of {UNIT} is not in /etc/passwd, so its permissions are unknown here");
        return vec![tried("files", "access of the service".to_owned(), Outcome::Unknown { cause })];
    };
    let judge = Judge { unit, account };
    let mut found = judge.files(context, config);
    // Without a unit, this command is the user, and sees what the start would meet.
    if judge.unit.is_some() {
        found.extend(config.root_keys.iter().filter_map(|root_key| judge.root_key(root_key)));
        found.extend(judge.directories(config));
    }
    found
}

/// The same for directories, which `check --live` does not test itself.
pub(super) fn judge_directories(context: &Context, config: &Config) -> Vec<Tried> {
    let unit = outside::unit_of(&context.config_path);
    let judge = Judge { account: Account::of_this_process(), unit };
    if judge.unit.is_some() { judge.directories(config) } else { Vec::new() }
}

/// Whether the checks apply to another user than the one running this command.
pub(super) fn is_for_another_user(context: &Context) -> bool {
    let account = outside::unit_of(&context.config_path).as_ref().and_then(Unit::account);
    account.is_some_and(|account| account.uid != Account::of_this_process().uid)
}

impl Judge {
    fn files(&self, context: &Context, config: &Config) -> Vec<Tried> {
        let mut found: Vec<Option<Tried>> = Vec::new();
        found.push(self.file("configuration", String::new(), &context.config_path, Purpose::Public));
        // Without a unit, this command reads the files itself.
        if let OtherSource::Files(files) = &config.https.source
            && self.unit.is_some()
        {
            let (certificate, key) = (&files.certificate, &files.private_key);
            let what = |kind: &str, path: &Path| format!("{kind} {}", path.display());
            found.push(self.file("https", what("certificate", certificate), certificate, Purpose::Public));
            found.push(self.file("https", what("private key", key), key, Purpose::CertificateKey));
        }
        let mut secret = |about: String, what: &str, reference: &Reference| {
            let Some(path) = config.backends.file_of(reference) else { return };
            found.push(self.file(&about, format!("{what} {reference}"), &path, Purpose::Secret));
        };
        for provider in &config.providers {
            secret(format!("provider {}", provider.name), "client secret", &provider.client_secret);
        }
        for service in &config.services {
            for credential in &service.credentials {
                secret(format!("service {}", service.name), "credential", credential);
            }
        }
        found.into_iter().flatten().collect()
    }

    fn file(&self, about: &str, what: String, path: &Path, purpose: Purpose) -> Option<Tried> {
        if let Some(name) = platform::credential_name(path).filter(|_| self.unit.is_some()) {
            return self.credential(about, what, name);
        }
        let outcome = match Access::judge(&platform::handed(path), purpose, &self.account) {
            Access::Usable => return None,
            // The service may run on another machine.
            Access::Missing if self.unit.is_none() => {
                Outcome::Unknown { cause: format!("{} is missing on this host", path.display()) }
            }
            Access::Missing => Outcome::Fails {
                cause: format!("{} is missing", path.display()),
                advice: format!(
                    "install it for the user {0} only: `install -o {0} -m 0400 FILE {1}`",
                    self.account.name,
                    path.display()
                ),
                is_away: false,
            },
            Access::Unusable { cause, advice } => fails(cause, advice),
            Access::Unknown { cause } => Outcome::Unknown { cause },
        };
        Some(tried(about, what, outcome))
    }

    /// Checks a credential, which systemd reads as root.
    fn credential(&self, about: &str, what: String, name: &Path) -> Option<Tried> {
        let credentials = self.unit.as_ref()?.credentials();
        let found = credentials.iter().find(|(found, _)| Path::new(found) == name);
        let outcome = match found {
            None => fails(
                format!("{UNIT} has no credential {}", name.display()),
                format!(
                    "`systemctl edit infrad`, then add under `[Service]`: `LoadCredential={0}:/etc/infra/{0}`",
                    name.display()
                ),
            ),
            // systemd searches its own directories for a credential without a path.
            Some((_, source)) => match Path::new(source).symlink_metadata() {
                Err(error) if source.starts_with('/') && error.kind() == std::io::ErrorKind::NotFound => {
                    fails(
                        format!(
                            "{source} is missing, and systemd reads the credential {} from it",
                            name.display()
                        ),
                        outside::restore_credential(source),
                    )
                }
                _ => return None,
            },
        };
        Some(tried(about, what, outcome))
    }

    fn root_key(&self, root_key: &RootKeySettings) -> Option<Tried> {
        let RootKeySettings::Native { path } = root_key else { return None };
        let what = root_key.describe();
        if let Some(name) = platform::credential_name(path).filter(|_| self.unit.is_some()) {
            return self.credential("root key", what, name);
        }
        match Access::judge(path, Purpose::Secret, &self.account) {
            // The first start creates a missing key.
            Access::Usable | Access::Missing => None,
            Access::Unusable { cause, advice } => Some(tried("root key", what, fails(cause, advice))),
            Access::Unknown { cause } => Some(tried("root key", what, Outcome::Unknown { cause })),
        }
    }

    fn directories(&self, config: &Config) -> Vec<Tried> {
        let audit = match &config.audit {
            Some(AuditSettings::File { path, .. }) => path.parent(),
            _ => None,
        };
        let guard = config.rollback_guard_file.as_deref().and_then(Path::parent);
        let mut found: Vec<Option<Tried>> = vec![self.data_directory(&config.data_dir)];
        for (about, directory) in [("rollback guard", guard), ("audit log", audit)] {
            found.push(directory.and_then(|directory| {
                let outcome = self.outside_of_sandbox(directory)?;
                Some(tried(about, directory.display().to_string(), outcome))
            }));
        }
        found.push(self.audit_log(config));
        found.into_iter().flatten().collect()
    }

    /// What a start would refuse.
    fn audit_log(&self, config: &Config) -> Option<Tried> {
        let Some(AuditSettings::File { path, .. }) = &config.audit else { return None };
        let UnsafePath { cause, advice } = audit::find_fault(path, &self.account)?;
        Some(tried("audit log", path.display().to_string(), fails(cause, advice)))
    }

    fn data_directory(&self, path: &Path) -> Option<Tried> {
        let outcome = match Access::judge(path, Purpose::PrivateDirectory, &self.account) {
            // Without a unit, the daemon creates it.
            Access::Missing => match &self.unit {
                Some(unit) if !unit.makes(path) => self.cannot_make(path)?,
                _ => return None,
            },
            Access::Usable => self.outside_of_sandbox(path)?,
            Access::Unusable { cause, advice } => match platform::lock_holder(path) {
                // What a daemon uses is not taken from it.
                Ok(Some(process)) => fails(
                    format!("{cause}; a running infrad uses it (process {process})"),
                    format!("stop it with `kill {process}`, then {advice}"),
                ),
                _ => fails(cause, advice),
            },
            Access::Unknown { cause } => Outcome::Unknown { cause },
        };
        Some(tried("data directory", path.display().to_string(), outcome))
    }

    /// Explains that a service without root privileges cannot create directories in system locations.
    fn cannot_make(&self, path: &Path) -> Option<Outcome> {
        if self.account.uid == 0 {
            return self.outside_of_sandbox(path);
        }
        let name = &self.account.name;
        let drop_in = match self.outside_of_sandbox(path) {
            Some(Outcome::Fails { advice, .. }) => format!(", then {advice}"),
            _ => String::new(),
        };
        Some(fails(
            format!("{} is missing, and {UNIT} does not create it", path.display()),
            format!(
                "correct `dataDir`, or create it: `install -d -o {name} -g {name} -m 0700 {}`{drop_in}",
                path.display()
            ),
        ))
    }

    /// With `ProtectSystem=strict`, a service can write only to its own directories.
    fn outside_of_sandbox(&self, path: &Path) -> Option<Outcome> {
        let unit = self.unit.as_ref().filter(|unit| !unit.may_write(path))?;
        Some(fails(
            format!("{UNIT} cannot write to {} (ProtectSystem={})", path.display(), unit.protection()),
            format!(
                "`systemctl edit infrad`, then add under `[Service]`: `ReadWritePaths={}`",
                path.display()
            ),
        ))
    }
}

fn fails(cause: String, advice: String) -> Outcome {
    Outcome::Fails { cause, advice, is_away: false }
}

fn tried(about: &str, what: String, outcome: Outcome) -> Tried {
    Tried { about: about.to_owned(), finding: CheckResult { what, outcome } }
}
