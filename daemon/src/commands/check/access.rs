//! Checks that the service can use the files in the configuration.
//!
//! Checks for the unit's user, or for the user of this command if no unit reads the configuration here.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::credentials;
use super::live::Tried;
use crate::assembly::holds_other_files;
use crate::audit::{self, AuditSettings, UnsafePath};
use crate::commands::{Context, service_access};
use crate::config::Config;
use crate::failure::Failure;
use crate::identity::{CheckResult, Outcome};
use crate::keys::RootKeySettings;
use crate::platform::{self, Access, Account, Purpose, UNIT, Unit};
use crate::secrets::Reference;
use crate::store::ClientCertificate;
use crate::tls::OtherSource;

/// Where the unit keeps what it writes: what is checked, the line of the configuration, and the directory.
const OWN_PLACES: [(&str, &str, &str); 3] = [
    ("data directory", "dataDir: /var/lib/infrad", "/var/lib/infrad"),
    (
        "rollback guard",
        "rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard",
        "/var/lib/infrad-rollback-guard",
    ),
    ("audit log", "audit: {file: /var/log/infrad/audit.jsonl}", "/var/log/infrad"),
];

/// The user to check for.
struct AccessChecker<'a> {
    config_path: &'a Path,
    /// This host's unit that reads the configuration.
    unit: Option<Unit>,
    account: Account,
}

/// Lists what the service cannot use and what cannot be determined. Omits what it can use.
pub(super) fn check(context: &Context, config: &Config) -> Vec<Tried> {
    let unit = service_access::unit_of(&context.config_path);
    let account = unit.as_ref().map_or_else(|| Some(Account::of_this_process()), Unit::account);
    let Some(account) = account else {
        let user = unit.as_ref().map(Unit::user).unwrap_or_default();
        let cause =
            format!("the user {user} of {UNIT} is not in /etc/passwd, so its permissions are unknown here");
        return vec![tried("files", "access of the service".to_owned(), Outcome::Unknown { cause })];
    };
    let checker = AccessChecker { config_path: &context.config_path, unit, account };
    let mut found = checker.files(config);
    // Without a unit, this command is the user, and sees what the start would meet.
    if let Some(unit) = &checker.unit {
        found.extend(config.root_keys.iter().filter_map(|root_key| checker.root_key(root_key)));
        found.extend(checker.directories(config));
        let missing = credentials::missing(unit, &found);
        found.extend(missing);
    }
    found
}

/// Fails if root asks about data of another user, outside of the unit: root's rights would hide what that user lacks, and
/// the advice would take the daemon's files away from it.
pub(super) fn expect_user_of_data(context: &Context, config: &Config) -> Result<(), Failure> {
    let owner = std::fs::metadata(&config.data_dir).map(|metadata| metadata.uid()).unwrap_or_default();
    let is_root = Account::of_this_process().uid == 0;
    if !is_root || owner == 0 || service_access::unit_of(&context.config_path).is_some() {
        return Ok(());
    }
    let user = Account::name_of(owner);
    let is_of_unit = Unit::find().and_then(|unit| unit.account()).is_some_and(|account| account.uid == owner);
    let hint = if is_of_unit { service_access::as_service() } else { service_access::as_user(&user) };
    Err(Failure::failed("root cannot tell what the daemon can do")
        .because_text(format!(
            "{} belongs to the user {user}, and this command runs as root",
            config.data_dir.display()
        ))
        .hint(hint))
}

/// The same for directories, which `check --live` does not test itself.
pub(super) fn check_directories(context: &Context, config: &Config) -> Vec<Tried> {
    let unit = service_access::unit_of(&context.config_path);
    let checker =
        AccessChecker { config_path: &context.config_path, account: Account::of_this_process(), unit };
    if checker.unit.is_some() { checker.directories(config) } else { Vec::new() }
}

/// The user that the checks apply to, if it is another one than the user running this command.
pub(super) fn other_user(context: &Context) -> Option<Account> {
    let account = service_access::unit_of(&context.config_path).as_ref().and_then(Unit::account);
    account.filter(|account| account.uid != Account::of_this_process().uid)
}

impl AccessChecker<'_> {
    fn files(&self, config: &Config) -> Vec<Tried> {
        let mut found: Vec<Option<Tried>> = Vec::new();
        let path = self.config_path;
        found.push(self.file("configuration", path.display().to_string(), path, Purpose::Public));
        // Without a unit, this command reads the files itself.
        if let OtherSource::Files(files) = &config.https.source
            && self.unit.is_some()
        {
            let (certificate, key) = (&files.certificate, &files.private_key);
            let what = |kind: &str, path: &Path| format!("{kind} {}", path.display());
            found.push(self.file("https", what("certificate", certificate), certificate, Purpose::Public));
            found.push(self.file("https", what("private key", key), key, Purpose::CertificateKey));
        }
        // This command has read them with its own rights.
        for (section, path) in config.ca_files.iter().filter(|_| self.unit.is_some()) {
            found.push(self.file(section, format!("CA file {}", path.display()), path, Purpose::Public));
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
        if let Some(database) = &config.database {
            if let Some(password) = &database.password {
                secret("database".to_owned(), "password", &password.reference);
            }
            if let Some(ClientCertificate { certificate, private_key }) = &database.client_certificate {
                let what = |kind: &str, path: &Path| format!("{kind} {}", path.display());
                let (public, private) = (Purpose::Public, Purpose::CertificateKey);
                found.push(self.file(
                    "database",
                    what("client certificate", certificate),
                    certificate,
                    public,
                ));
                found.push(self.file("database", what("client key", private_key), private_key, private));
            }
        }
        found.into_iter().flatten().collect()
    }

    fn file(&self, about: &str, what: String, path: &Path, purpose: Purpose) -> Option<Tried> {
        if let Some((name, unit)) = platform::credential_name(path).zip(self.unit.as_ref()) {
            return Some(tried(about, what, credentials::check(unit, name)?));
        }
        let outcome = match Access::check(&platform::handed(path), purpose, &self.account) {
            Access::Usable => return None,
            // The service may run on another host, which has the directory.
            Access::Missing if self.unit.is_none() && !path.parent().is_some_and(Path::is_dir) => {
                Outcome::Unknown { cause: format!("{} is missing on this host", path.display()) }
            }
            Access::Missing => Outcome::Fails {
                cause: format!("{} is missing", path.display()),
                hint: format!(
                    "install it for the user {0} only: `install -o {0} -m 0400 FILE {1}`",
                    self.account.name,
                    path.display()
                ),
                is_transient: false,
            },
            Access::Unusable { cause, hint } => fails(cause, hint),
            Access::Unknown { cause } => Outcome::Unknown { cause },
        };
        Some(tried(about, what, outcome))
    }

    fn root_key(&self, root_key: &RootKeySettings) -> Option<Tried> {
        let RootKeySettings::Native { path } = root_key else { return None };
        let what = root_key.describe();
        if let Some((name, unit)) = platform::credential_name(path).zip(self.unit.as_ref()) {
            return Some(tried("root key", what, credentials::check(unit, name)?));
        }
        match Access::check(path, Purpose::Secret, &self.account) {
            // The first start creates a missing key.
            Access::Usable | Access::Missing => None,
            Access::Unusable { cause, hint } => {
                let hint = self.as_credential(path).unwrap_or(hint);
                Some(tried("root key", what, fails(cause, hint)))
            }
            Access::Unknown { cause } => Some(tried("root key", what, Outcome::Unknown { cause })),
        }
    }

    /// How the unit gets a root key that belongs to root, which keeps it: the daemon's user needs no right to the file.
    fn as_credential(&self, path: &Path) -> Option<String> {
        let unit = self.unit.as_ref().filter(|_| self.account.uid != 0)?;
        let handed = unit.credentials().into_iter().find(|(_, source)| Path::new(source) == path);
        if let Some((name, _)) = handed {
            return Some(format!(
                "leave `keys` out, because systemd passes {0} to {UNIT} as a credential; among several `keys`, name it \
                 `/run/credentials/{UNIT}/{name}`",
                path.display()
            ));
        }
        let name = path.file_name()?.to_string_lossy();
        Some(format!(
            "have systemd pass it: `systemctl edit infrad`, then add under `[Service]` `LoadCredential={name}:{0}`; then name \
             it `/run/credentials/{UNIT}/{name}` under `keys`",
            path.display()
        ))
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
                let outcome = self.outside_of_sandbox(about, directory)?;
                Some(tried(about, directory.display().to_string(), outcome))
            }));
        }
        found.push(self.audit_log(config));
        found.into_iter().flatten().collect()
    }

    /// What a start would refuse.
    fn audit_log(&self, config: &Config) -> Option<Tried> {
        let Some(AuditSettings::File { path, .. }) = &config.audit else { return None };
        let UnsafePath { cause, hint } = audit::find_fault(path, &self.account)?;
        Some(tried("audit log", path.display().to_string(), fails(cause, hint)))
    }

    fn data_directory(&self, path: &Path) -> Option<Tried> {
        let outcome = match Access::check(path, Purpose::PrivateDirectory, &self.account) {
            // Without a unit, the daemon creates it.
            Access::Missing => match &self.unit {
                Some(unit) if !unit.makes(path) => self.cannot_make(path)?,
                _ => return None,
            },
            Access::Usable => self.outside_of_sandbox("data directory", path)?,
            Access::Unusable { cause, hint } => match platform::lock_holder(path) {
                // What a daemon uses is not taken from it.
                Ok(Some(process)) => fails(
                    format!("{cause}; a running infrad uses it (process {process})"),
                    format!("stop it with `kill {process}`, then {hint}"),
                ),
                _ if holds_other_files(path) => fails(
                    format!("{cause}, and it contains other files and no store"),
                    "configure a directory of its own as `dataDir`, such as `/var/lib/infrad`".to_owned(),
                ),
                _ => fails(cause, hint),
            },
            Access::Unknown { cause } => Outcome::Unknown { cause },
        };
        Some(tried("data directory", path.display().to_string(), outcome))
    }

    /// Explains that a service without root privileges cannot create directories in system locations.
    fn cannot_make(&self, path: &Path) -> Option<Outcome> {
        if self.account.uid == 0 {
            return self.outside_of_sandbox("data directory", path);
        }
        let name = &self.account.name;
        let drop_in = match self.outside_of_sandbox("data directory", path) {
            Some(Outcome::Fails { hint, .. }) => format!(", then {hint}"),
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
    fn outside_of_sandbox(&self, about: &str, path: &Path) -> Option<Outcome> {
        let unit = self.unit.as_ref().filter(|unit| !unit.may_write(path))?;
        let own = OWN_PLACES.iter().find(|(what, _, place)| *what == about && unit.makes(Path::new(place)));
        let drop_in = format!(
            "`systemctl edit infrad`, then add under `[Service]`: `ReadWritePaths={}`",
            path.display()
        );
        let hint = match own {
            // Data may be too large for the unit's own directory. The others have one that fits.
            Some((_, line, _)) if about != "data directory" || self.is_to_be_protected(path) => {
                format!("configure a path that the unit can write to: `{line}`")
            }
            _ if self.is_to_be_protected(path) => "configure a directory of its own".to_owned(),
            _ => drop_in,
        };
        Some(fails(
            format!("{UNIT} cannot write to {} (ProtectSystem={})", path.display(), unit.protection()),
            hint,
        ))
    }

    /// Whether the daemon must not write there: it holds the configuration, a credential, or the system.
    fn is_to_be_protected(&self, path: &Path) -> bool {
        let credentials = self.unit.iter().flat_map(Unit::credentials);
        let holds = |file: &Path| file.starts_with(path);
        holds(self.config_path)
            || credentials.into_iter().any(|(_, source)| holds(Path::new(source)))
            || ["/etc", "/usr", "/boot", "/var/lib", "/var/log", "/root", "/home"]
                .iter()
                .any(|it| holds(Path::new(it)))
    }
}

pub(super) fn fails(cause: String, hint: String) -> Outcome {
    Outcome::Fails { cause, hint, is_transient: false }
}

pub(super) fn tried(about: &str, what: String, outcome: Outcome) -> Tried {
    Tried { about: about.to_owned(), finding: CheckResult { what, outcome } }
}
