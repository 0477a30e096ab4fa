//! The systemd unit of infrad on this host, read from its files and drop-ins: user, credentials and paths.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::accounts::Account;

pub const UNIT: &str = "infrad.service";
/// What opens the unit's ports.
pub const SOCKET_UNIT: &str = "infrad.socket";
/// Configuration file if the unit names no other.
const CONFIGURATION: &str = "/etc/infra/infrad.yaml";

/// Unit directories in order of precedence (systemd.unit(5)).
const PLACES: [&str; 5] = [
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
];

/// The `[Service]` section of infrad.service with its drop-ins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// All assignments, in the order in which systemd reads them.
    settings: Vec<(String, String)>,
    /// The same of the `[Socket]` section of infrad.socket; empty if there is none.
    socket: Vec<(String, String)>,
}

impl Unit {
    /// Finds the unit of this host, if there is one.
    pub fn find() -> Option<Self> {
        Self::find_below(Path::new("/"))
    }

    fn find_below(root: &Path) -> Option<Self> {
        // A masked unit is an empty one.
        let unit = Self {
            settings: settings_below(root, UNIT, "[Service]")?,
            socket: settings_below(root, SOCKET_UNIT, "[Socket]").unwrap_or_default(),
        };
        unit.command_line().is_some().then_some(unit)
    }

    /// The addresses that systemd opens and hands to the unit.
    pub fn handed_addresses(&self) -> Vec<SocketAddr> {
        let listed = list_of(&self.socket, "ListenStream");
        let address = |text: &str| match text.parse::<u16>() {
            Ok(port) => Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))),
            Err(_) => text.parse().ok(),
        };
        listed.into_iter().filter_map(address).collect()
    }

    /// Whether the unit may open ports below 1024 itself.
    pub fn may_open_low_ports(&self) -> bool {
        let capabilities = self.list("AmbientCapabilities").into_iter().flat_map(str::split_whitespace);
        capabilities.into_iter().any(|capability| capability == "CAP_NET_BIND_SERVICE")
    }

    /// Parses a unit without drop-ins.
    #[cfg(test)]
    pub fn of_text(text: &str) -> Self {
        Self { settings: settings_of(text, "[Service]"), socket: Vec::new() }
    }

    /// All assignments, in order.
    pub fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    pub fn program(&self) -> Option<&str> {
        Some(
            self.command_line()?
                .split_whitespace()
                .next()?
                .trim_start_matches(['@', '-', ':', '+', '!', '|']),
        )
    }

    /// The configuration file that the unit uses, or the default.
    pub fn configuration(&self) -> PathBuf {
        let mut words = self.command_line().unwrap_or_default().split_whitespace();
        while let Some(word) = words.next() {
            if let Some(path) = word.strip_prefix("--config=") {
                return path.into();
            }
            if let Some(path) = words.clone().next().filter(|_| word == "--config") {
                return path.into();
            }
        }
        let environment = self.list("Environment").into_iter().flat_map(str::split_whitespace);
        let mut named = environment.filter_map(|word| word.trim_matches('"').strip_prefix("INFRAD_CONFIG="));
        named.next_back().unwrap_or(CONFIGURATION).into()
    }

    pub fn user(&self) -> &str {
        self.last("User").unwrap_or("root")
    }

    /// The user with its groups. `None` if this machine's files do not list it.
    pub fn account(&self) -> Option<Account> {
        let mut account = Account::find(self.user())?;
        let named = self.last("Group").into_iter();
        let groups = self.list("SupplementaryGroups").into_iter().flat_map(str::split_whitespace);
        named.chain(groups).for_each(|group| account.join(group));
        Some(account)
    }

    /// Names of the credentials that systemd passes to the unit, and their source files.
    pub fn credentials(&self) -> Vec<(&str, &str)> {
        let kinds = ["LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"];
        let values = kinds.iter().flat_map(|kind| {
            let is_file = kind.starts_with("Load");
            self.list(kind).into_iter().map(move |value| (value, is_file))
        });
        values
            .map(|(value, is_file)| {
                let (name, source) = value.split_once(':').unwrap_or((value, ""));
                (name, if is_file { source } else { "" })
            })
            .collect()
    }

    /// Whether systemd encrypts the file of the credential `name`.
    pub fn is_encrypted(&self, name: &str) -> bool {
        let of_kind =
            |kind| self.list(kind).into_iter().map(|value| value.split(':').next().unwrap_or_default());
        of_kind("LoadCredentialEncrypted").chain(of_kind("SetCredentialEncrypted")).any(|found| found == name)
    }

    /// Whether the unit sets the environment variable `name`. `None` if a file or the service manager decides.
    pub fn sets_variable(&self, name: &str) -> Option<bool> {
        let assignments = self.list("Environment").into_iter().flat_map(str::split_whitespace);
        let is_it = |word: &str| {
            word.trim_start_matches(['"', '\'']).split_once('=').is_some_and(|(key, _)| key == name)
        };
        if assignments.into_iter().any(is_it) {
            return Some(true);
        }
        let is_elsewhere =
            !self.list("EnvironmentFile").is_empty() || !self.list("PassEnvironment").is_empty();
        (!is_elsewhere).then_some(false)
    }

    /// Whether the unit's sandbox allows writing to `path`: outside what `ProtectSystem=` protects, in its own
    /// directories and in `ReadWritePaths=` (systemd.exec(5)).
    pub fn may_write(&self, path: &Path) -> bool {
        let protected: &[&str] = match self.protection() {
            "strict" => &["/"],
            "full" => &["/usr", "/boot", "/efi", "/etc"],
            "no" | "false" | "off" | "0" => &[],
            _ => &["/usr", "/boot", "/efi"],
        };
        if !protected.iter().any(|protected| path.starts_with(protected)) {
            return true;
        }
        let words = |key| self.list(key).into_iter().flat_map(str::split_whitespace);
        let own =
            [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log"), ("CacheDirectory", "/var/cache")];
        let own =
            own.into_iter().flat_map(|(key, parent)| words(key).map(|name| Path::new(parent).join(name)));
        let listed = words("ReadWritePaths").map(|path| PathBuf::from(path.trim_start_matches(['-', '+'])));
        own.chain(listed).any(|place| path.starts_with(place))
    }

    /// The value of `ProtectSystem=`, which decides what the unit may write.
    pub fn protection(&self) -> &str {
        self.last("ProtectSystem").unwrap_or("no")
    }

    /// Whether systemd creates the directory `path` before the unit starts.
    pub fn makes(&self, path: &Path) -> bool {
        let words = |key| self.list(key).into_iter().flat_map(str::split_whitespace);
        let state = words("StateDirectory").any(|name| path == Path::new("/var/lib").join(name));
        state || words("LogsDirectory").any(|name| path == Path::new("/var/log").join(name))
    }

    /// The directories below `/var/lib` that systemd creates for the unit.
    pub fn state_directories(&self) -> Vec<PathBuf> {
        let names = self.list("StateDirectory").into_iter().flat_map(str::split_whitespace);
        names.map(|name| Path::new("/var/lib").join(name)).collect()
    }

    fn command_line(&self) -> Option<&str> {
        self.list("ExecStart").into_iter().next_back()
    }

    fn last(&self, key: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Values of a list setting. An empty assignment resets the list.
    fn list(&self, key: &str) -> Vec<&str> {
        list_of(&self.settings, key)
    }
}

/// The commands that start the daemon once with `option`. A unit cannot be given an option for one start.
pub fn start_once(option: &str) -> String {
    static HAS_UNIT: OnceLock<bool> = OnceLock::new();
    start_once_if(*HAS_UNIT.get_or_init(|| Unit::find().is_some()), option)
}

fn start_once_if(has_unit: bool, option: &str) -> String {
    if has_unit {
        format!(
            "`systemctl stop infrad.socket infrad.service`, then `infrad as-service serve {option}`, then `systemctl start infrad`"
        )
    } else {
        format!("start it once with `infrad serve {option}`")
    }
}

fn list_of<'a>(settings: &'a [(String, String)], key: &str) -> Vec<&'a str> {
    let values = settings.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str());
    let mut list = Vec::new();
    for value in values {
        if value.is_empty() {
            list.clear();
        } else {
            list.push(value);
        }
    }
    list
}

/// The assignments of a section in the file of a unit and its drop-ins; `None` if there is no such file.
fn settings_below(root: &Path, unit: &str, section: &str) -> Option<Vec<(String, String)>> {
    let text = PLACES.iter().find_map(|place| std::fs::read_to_string(root.join(place).join(unit)).ok())?;
    let mut settings = settings_of(&text, section);
    // A file in an earlier place replaces one of the same name in a later place; the names decide the order.
    let mut drop_ins: BTreeMap<std::ffi::OsString, PathBuf> = BTreeMap::new();
    for place in PLACES {
        let folder = root.join(place).join(format!("{unit}.d"));
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "conf") {
                drop_ins.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    let texts = drop_ins.values().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.for_each(|text| settings.extend(settings_of(&text, section)));
    Some(settings)
}

/// The assignments of the sections of this name; a line that ends with a backslash continues (systemd.syntax(7)).
fn settings_of(text: &str, section: &str) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let (mut in_section, mut held) = (false, String::new());
    for line in text.lines() {
        let is_comment = line.trim_start().starts_with(['#', ';']);
        if is_comment {
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            held.push_str(part.trim());
            held.push(' ');
            continue;
        }
        held.push_str(line.trim());
        let whole = std::mem::take(&mut held);
        if whole.starts_with('[') {
            in_section = whole == section;
        } else if let Some((key, value)) = whole.split_once('=').filter(|_| in_section) {
            settings.push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKAGED: &str = include_str!("../../../deploy/systemd/infrad.service");

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            std::fs::write(path, text).expect("a file");
        }
        root
    }

    #[test]
    fn packaged_unit_has_user_credential_and_paths() {
        let root = root(&[("usr/lib/systemd/system/infrad.service", PACKAGED)]);
        let unit = Unit::find_below(root.path()).expect("a unit");
        assert_eq!((unit.user(), unit.program()), ("infrad", Some("/usr/bin/infrad")));
        assert_eq!(unit.configuration(), Path::new(CONFIGURATION));
        assert_eq!(unit.credentials(), [("root.key", "/etc/infra/root.key")]);
        assert!(
            unit.may_write(Path::new("/var/lib/infrad/infrad.db"))
                && unit.makes(Path::new("/var/lib/infrad"))
        );
        assert!(!unit.may_write(Path::new("/srv/infrad")) && !unit.makes(Path::new("/srv/infrad")));
    }

    #[test]
    fn handed_addresses_are_those_of_the_socket_and_its_drop_ins() {
        let socket = include_str!("../../../deploy/systemd/infrad.socket");
        let service = ("usr/lib/systemd/system/infrad.service", PACKAGED);
        let packaged = ("usr/lib/systemd/system/infrad.socket", socket);
        let changed = (
            "etc/systemd/system/infrad.socket.d/override.conf",
            "[Socket]\nListenStream=\nListenStream=127.0.0.1:8443\n",
        );
        for (files, expected) in [
            (vec![service], vec![]),
            (vec![service, packaged], vec!["[::]:443"]),
            (vec![service, packaged, changed], vec!["127.0.0.1:8443"]),
        ] {
            let unit = Unit::find_below(root(&files).path()).expect("a unit");
            let found: Vec<String> = unit.handed_addresses().iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
            assert!(!unit.may_open_low_ports());
        }
    }

    #[test]
    fn drop_ins_override_in_the_order_of_their_names() {
        let root = root(&[
            ("lib/systemd/system/infrad.service", PACKAGED),
            (
                "etc/systemd/system/infrad.service.d/override.conf",
                "[Service]\nUser=other\nReadWritePaths=/opt \\\n  -/srv\n",
            ),
            (
                "run/systemd/system/infrad.service.d/50-key.conf",
                "[Unit]\nUser=nobody\n[Service]\nLoadCredential=\nLoadCredentialEncrypted=root.key:/etc/infra/root.cred\n",
            ),
            ("run/systemd/system/infrad.service.d/override.conf", "[Service]\nUser=hidden\n"),
            (
                "etc/systemd/system/infrad.service.d/60.conf",
                "[Service]\nExecStart=\nExecStart=/opt/infrad serve --config /opt/infrad.yaml\n",
            ),
        ]);
        let unit = Unit::find_below(root.path()).expect("a unit");
        assert_eq!((unit.user(), unit.program()), ("other", Some("/opt/infrad")));
        assert_eq!(unit.credentials(), [("root.key", "/etc/infra/root.cred")]);
        assert_eq!(unit.configuration(), Path::new("/opt/infrad.yaml"));
        assert!(unit.may_write(Path::new("/srv/infrad")));
    }

    #[test]
    fn protected_directories_follow_the_level_of_protection() {
        for (level, usr, etc, srv) in [
            ("strict", false, false, false),
            ("full", false, false, true),
            ("yes", false, true, true),
            ("no", true, true, true),
        ] {
            let unit =
                format!("[Service]\nUser=infrad\nExecStart=/usr/bin/infrad serve\nProtectSystem={level}\n");
            let unit = Unit::find_below(root(&[("lib/systemd/system/infrad.service", &unit)]).path())
                .expect("a unit");
            let may = ["/usr/x", "/etc/x", "/srv/x"].map(|path| unit.may_write(Path::new(path)));
            assert_eq!(may, [usr, etc, srv], "{level}");
        }
    }

    #[test]
    fn start_with_an_option_fits_the_host() {
        assert_eq!(start_once_if(false, "--new-store"), "start it once with `infrad serve --new-store`");
        let told = start_once_if(true, "--accept-rollback");
        assert!(told.contains("`infrad as-service serve --accept-rollback`"), "{told}");
        assert!(!told.contains("`infrad serve"), "the unit's own start takes no options: {told}");
    }

    #[test]
    fn missing_or_masked_unit_is_not_found() {
        assert_eq!(Unit::find_below(root(&[]).path()), None);
        let masked = root(&[
            ("etc/systemd/system/infrad.service", ""),
            ("lib/systemd/system/infrad.service", PACKAGED),
        ]);
        assert_eq!(Unit::find_below(masked.path()), None);
    }
}
