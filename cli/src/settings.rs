//! Reads the environment. No other module does.

mod environment;
mod id_token;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use infra_shared::http::KeyExchange;
use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::{SessionToken, is_signed_token};

use crate::failure::{Exit, Failure};
use crate::platform;

pub use environment::{Destination, Environment};
pub use id_token::IDTokenSource;

/// Names the directory of this program's files.
pub const HOME: &str = "INFRA_HOME";
pub const SERVER: &str = "INFRA_SERVER";
pub const TOKEN: &str = "INFRA_TOKEN";
pub const FINGERPRINT: &str = "INFRA_FINGERPRINT";
/// Set for the command of `infra delegate`, with the label of its session.
pub const DELEGATED: &str = "INFRA_DELEGATED";
/// Credentials besides [`TOKEN`] with which this program gets tokens.
pub const OTHER_CREDENTIALS: [&str; 4] =
    [id_token::TOKEN, id_token::FILE, id_token::GITHUB_URL, id_token::GITHUB_TOKEN];
/// Where `infra exec` puts an audience token, unless another name is given.
pub const AUDIENCE_TOKEN: &str = "INFRA_AUDIENCE_TOKEN";
const CA_FILE: &str = "INFRA_CA_FILE";

/// Settings from the environment.
#[derive(Debug)]
pub struct Settings {
    /// `INFRA_HOME`, or `~/.infra`.
    pub home: PathBuf,
    /// Whether `INFRA_HOME` is set.
    pub is_home_set: bool,
    /// `INFRA_SERVER`.
    pub server: Option<Origin>,
    /// `INFRA_TOKEN`.
    pub token: Option<SessionToken>,
    /// Whether `INFRA_DELEGATED` is set: `infra delegate` started this program.
    pub is_delegated: bool,
    /// `INFRA_FINGERPRINT`.
    pub fingerprint: Option<Pin>,
    /// `INFRA_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// `BROWSER`.
    pub browser: Option<String>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// Whether a desktop session can open a browser.
    pub has_desktop: bool,
}

/// Whether `TZ` sets the user's time zone.
#[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
pub fn has_time_zone() -> bool {
    env::var_os("TZ").is_some()
}

impl Settings {
    /// Reads the environment of the process.
    pub fn read() -> Result<Self, Failure> {
        Self::from_variables(raw_variable)
    }

    /// Reads the variables through `find`.
    ///
    /// An empty variable of this program is an error, because its value is probably missing: without INFRA_TOKEN, a job
    /// would use the stored session of another user. Other variables are unset if they are empty.
    fn from_variables(find: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        for name in [TOKEN, SERVER, DELEGATED, FINGERPRINT, CA_FILE, HOME, KEY_EXCHANGE] {
            if find(name).is_some_and(|value| value.is_empty()) {
                let failure = Failure::new(Exit::Usage, format!("{name} is set, but empty"));
                return Err(failure.hint(format!("set {name} to its value, or unset it")));
            }
        }
        let find = |name: &str| find(name).filter(|value| !value.is_empty());
        let text = |name: &str| {
            find(name)
                .map(|value| {
                    value
                        .into_string()
                        .map_err(|_| Failure::new(Exit::Usage, format!("{name} is not valid UTF-8")))
                })
                .transpose()
        };
        let is_set = |name: &str| find(name).is_some();
        let has_desktop = platform::HAS_DESKTOP || ["DISPLAY", "WAYLAND_DISPLAY"].into_iter().any(is_set);
        parse_key_exchange(find(KEY_EXCHANGE).as_deref())?;
        Ok(Self {
            home: home(find(HOME))?,
            is_home_set: is_set(HOME),
            server: text(SERVER)?.map(|text| parse(SERVER, &text)).transpose()?,
            token: text(TOKEN)?.map(|text| token(&text)).transpose()?,
            is_delegated: is_set(DELEGATED),
            fingerprint: text(FINGERPRINT)?.map(|text| parse(FINGERPRINT, &text)).transpose()?,
            ca_file: find(CA_FILE).map(|value| absolute(CA_FILE, value)).transpose()?,
            browser: text("BROWSER")?,
            path: find("PATH"),
            has_desktop,
        })
    }

    /// Finds a program in `PATH`. Empty and relative entries are ignored, because they depend on the working directory,
    /// which another user may control.
    pub fn find_program(&self, name: &str) -> Option<PathBuf> {
        platform::find_program(OsStr::new(name), self.path.as_deref()?)
    }
}

/// Where this process runs. Computed on demand, because only a sign-in needs it.
pub fn environment() -> Environment {
    Environment::find(Path::new(platform::ROOT), variable)
}

/// Makes the `ClientHello` fit into one packet, for middleboxes that require it.
const KEY_EXCHANGE: &str = "INFRA_KEY_EXCHANGE";

/// Key exchange of TLS connections. There is no automatic fallback, because a network attacker could trigger it.
pub fn key_exchange() -> KeyExchange {
    // `read` has rejected other values.
    parse_key_exchange(variable(KEY_EXCHANGE).as_deref()).unwrap_or_default()
}

fn parse_key_exchange(value: Option<&OsStr>) -> Result<KeyExchange, Failure> {
    match value.map(OsStr::to_str) {
        None | Some(Some("hybrid")) => Ok(KeyExchange::Hybrid),
        Some(Some("classical")) => Ok(KeyExchange::Classical),
        _ => Err(Failure::new(Exit::Usage, format!("{KEY_EXCHANGE} must be `hybrid` or `classical`"))),
    }
}

/// Settings that decide which kubeconfig `kubectl` uses.
#[derive(Debug)]
pub struct KubeconfigVariables {
    /// Whether `KUBECONFIG` lists files.
    pub is_set: bool,
    /// The absolute path of the home directory.
    pub home: Option<PathBuf>,
}

pub fn kubeconfig() -> KubeconfigVariables {
    KubeconfigVariables {
        is_set: variable("KUBECONFIG").is_some(),
        home: dirs::home_dir().filter(|home| home.is_absolute()),
    }
}

/// Where a CI job or a pod finds the ID token of its platform, if it has one.
pub fn id_token_source() -> Result<Option<IDTokenSource>, Failure> {
    id_token::find(raw_variable)
}

/// Whether this is a CI job: GitHub, GitLab and others set `CI=true`.
pub fn is_ci_job() -> bool {
    variable("CI").is_some_and(|value| value == "true")
}

/// `KUBERNETES_EXEC_INFO`: client-go's input to a credential plugin.
pub fn exec_info() -> Option<OsString> {
    variable("KUBERNETES_EXEC_INFO")
}

/// Whether the locale's encoding is UTF-8.
pub fn is_utf8() -> bool {
    // POSIX.1-2024 §8.2: the first that is set decides.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(variable).unwrap_or_default();
    let locale = locale.to_string_lossy().to_ascii_lowercase();
    platform::TEXT_IS_UTF8 || locale.ends_with("utf-8") || locale.ends_with("utf8")
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    raw_variable(name).filter(|value| !value.is_empty())
}

#[expect(clippy::disallowed_methods, reason = "only this module reads the environment")]
fn raw_variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn home(infra_home: Option<OsString>) -> Result<PathBuf, Failure> {
    match infra_home {
        Some(value) => absolute(HOME, value),
        None => dirs::home_dir()
            .filter(|home| home.is_absolute())
            .map(|home| home.join(".infra"))
            .ok_or_else(|| {
                Failure::new(Exit::Failed, "your home directory is not known").hint(platform::NO_HOME_HINT)
            }),
    }
}

/// Rejects a relative path. It would depend on the working directory, which another user may control.
fn absolute(name: &str, value: OsString) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Failure::new(Exit::Usage, format!("{name} must be an absolute path"))
        .hint(platform::ABSOLUTE_PATH_HINT))
}

fn parse<T: std::str::FromStr<Err: std::error::Error>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::new(Exit::Usage, format!("cannot use {name}")).because(&error))
}

/// Parses a token. The error does not contain the value, which may be another secret.
fn token(text: &str) -> Result<SessionToken, Failure> {
    let text = text.trim();
    SessionToken::parse(text).ok_or_else(|| {
        let what = if text.starts_with("infra_aud_") {
            "INFRA_TOKEN is an audience token (`infra_aud_…`), not a session token (`infra_…`)"
        } else if is_signed_token(text) {
            "INFRA_TOKEN is a signed token (JWT), not a session token (`infra_…`)"
        } else {
            "INFRA_TOKEN is not a session token (`infra_…`)"
        };
        Failure::new(Exit::Usage, what).hint("set INFRA_TOKEN to what `infra token` prints, or unset it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECTORY: &str = if cfg!(windows) { r"C:\infra" } else { "/tmp/infra" };
    const FILE: &str = if cfg!(windows) { r"C:\infra\ca.pem" } else { "/tmp/ca.pem" };

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::from_variables(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn all_variables_are_read() {
        let pin = Pin::of_public_key(b"a").to_string();
        let token = SessionToken::mint();
        let settings = read(&[
            ("INFRA_HOME", DIRECTORY),
            ("INFRA_SERVER", "infra.test"),
            ("INFRA_TOKEN", token.expose()),
            ("INFRA_FINGERPRINT", &pin),
            ("INFRA_CA_FILE", FILE),
            ("BROWSER", "firefox"),
            ("PATH", "/usr/bin"),
        ])
        .expect("settings");
        assert_eq!(settings.home, PathBuf::from(DIRECTORY));
        assert_eq!(settings.server.expect("a server").host(), "infra.test");
        assert_eq!(settings.token.expect("a token").expose(), token.expose());
        assert_eq!(settings.path, Some(OsString::from("/usr/bin")));
    }

    #[test]
    fn empty_variable_is_an_error_and_empty_browser_is_unset() {
        for name in [TOKEN, SERVER, DELEGATED, FINGERPRINT, CA_FILE, HOME, KEY_EXCHANGE] {
            let failure = read(&[("HOME", "/tmp"), (name, "")]).expect_err(name);
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(format!("{failure:?}").contains(&format!("{name} is set, but empty")), "{failure:?}");
        }
        assert_eq!(read(&[("INFRA_HOME", DIRECTORY), ("BROWSER", "")]).expect("settings").browser, None);
    }

    #[test]
    fn invalid_variable_is_named_and_its_value_hidden() {
        for (name, value) in [
            ("INFRA_HOME", "relative"),
            ("INFRA_CA_FILE", "canary.pem"),
            ("INFRA_SERVER", "http://canary.test"),
            ("INFRA_TOKEN", "canary"),
            ("INFRA_FINGERPRINT", "md5:canary"),
            (KEY_EXCHANGE, "canary"),
        ] {
            let failure = read(&[(name, value)]).expect_err(name);
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(format!("{failure:?}").contains(name) && !format!("{failure:?}").contains("canary"));
        }
    }
}
