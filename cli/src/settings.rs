//! The one place that reads the environment.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use infra_shared::token_text::SessionToken;

use crate::failure::{Exit, Failure};

/// What the environment says.
#[derive(Debug)]
pub struct Settings {
    /// `INFRA_HOME`, or `~/.infra`.
    pub home: PathBuf,
    /// `INFRA_SERVER`.
    pub server: Option<Origin>,
    /// `INFRA_TOKEN`.
    pub token: Option<SessionToken>,
    /// `INFRA_FINGERPRINT`.
    pub fingerprint: Option<Pin>,
    /// `INFRA_CA_FILE`.
    pub ca_file: Option<PathBuf>,
    /// `BROWSER`.
    pub browser: Option<String>,
    /// `PATH`.
    pub path: Option<OsString>,
    /// Whether this session came over SSH, so that a browser opened here would not be the user's.
    pub is_remote: bool,
    /// Whether there is a desktop to open a browser on.
    pub has_desktop: bool,
}

impl Settings {
    /// Reads the environment of the process.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read() -> Result<Self, Failure> {
        Self::from_variables(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// Reads the variables that `find` finds.
    fn from_variables(find: impl Fn(&str) -> Option<OsString>) -> Result<Self, Failure> {
        let text = |name: &str| {
            find(name)
                .map(|value| {
                    value.into_string().map_err(|_| Failure::new(Exit::Usage, format!("{name} is not text")))
                })
                .transpose()
        };
        let is_set = |name: &str| find(name).is_some();
        // On Linux a desktop announces itself; elsewhere there is one.
        let has_desktop = cfg!(not(target_os = "linux"))
            || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].into_iter().any(is_set);
        Ok(Self {
            home: home(find("INFRA_HOME"))?,
            server: text("INFRA_SERVER")?.map(|text| parse("INFRA_SERVER", &text)).transpose()?,
            token: text("INFRA_TOKEN")?.map(|text| token(&text)).transpose()?,
            fingerprint: text("INFRA_FINGERPRINT")?
                .map(|text| parse("INFRA_FINGERPRINT", &text))
                .transpose()?,
            ca_file: find("INFRA_CA_FILE").map(|value| absolute("INFRA_CA_FILE", value)).transpose()?,
            browser: text("BROWSER")?,
            path: find("PATH"),
            is_remote: is_set("SSH_CONNECTION") || is_set("SSH_TTY"),
            has_desktop,
        })
    }
}

/// What the environment says about proxies, in the order in which the HTTP client reads it.
#[derive(Debug, Default)]
pub struct ProxyVariables {
    /// The variable that names the proxy, and its value, which may hold a password.
    pub proxy: Option<(&'static str, String)>,
    /// `NO_PROXY`.
    pub exempt: String,
}

impl ProxyVariables {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn read() -> Self {
        let find = |names: [&'static str; 2]| {
            let set = names.into_iter().find_map(|name| Some((name, env::var_os(name)?)));
            set.filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        };
        let proxy = find(["HTTPS_PROXY", "https_proxy"]).or_else(|| find(["ALL_PROXY", "all_proxy"]));
        let exempt = find(["NO_PROXY", "no_proxy"]).map(|(_, value)| value).unwrap_or_default();
        Self { proxy, exempt }
    }
}

fn home(infra_home: Option<OsString>) -> Result<PathBuf, Failure> {
    match infra_home {
        Some(value) => absolute("INFRA_HOME", value),
        None => dirs::home_dir()
            .filter(|home| home.is_absolute())
            .map(|home| home.join(".infra"))
            .ok_or_else(|| {
                Failure::new(Exit::Failed, "your home directory is not known").hint("set HOME or INFRA_HOME")
            }),
    }
}

/// What lies in the working directory may be anybody's, and a variable stays set wherever one goes.
fn absolute(name: &str, value: OsString) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(value);
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Failure::new(Exit::Usage, format!("{name} must be an absolute path")))
}

fn parse<T: std::str::FromStr<Err: std::error::Error>>(name: &str, text: &str) -> Result<T, Failure> {
    text.parse().map_err(|error| Failure::new(Exit::Usage, format!("{name} cannot be used")).because(&error))
}

/// The value itself is not repeated: it may be another secret, put into the wrong variable.
fn token(text: &str) -> Result<SessionToken, Failure> {
    SessionToken::parse(text.trim())
        .ok_or_else(|| Failure::new(Exit::Usage, "INFRA_TOKEN is not a session token (`infra_…`)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::from_variables(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn everything_that_is_set_is_read() {
        let pin = Pin::of_public_key(b"a").to_string();
        let token = SessionToken::mint();
        let settings = read(&[
            ("INFRA_HOME", "/tmp/infra"),
            ("INFRA_SERVER", "infra.test"),
            ("INFRA_TOKEN", token.expose()),
            ("INFRA_FINGERPRINT", &pin),
            ("INFRA_CA_FILE", "/tmp/ca.pem"),
            ("BROWSER", "firefox"),
            ("SSH_CONNECTION", "10.0.0.1 1 10.0.0.2 22"),
        ])
        .expect("settings");
        assert_eq!(settings.home, PathBuf::from("/tmp/infra"));
        assert_eq!(settings.server.expect("a server").host(), "infra.test");
        assert_eq!(settings.token.expect("a token").expose(), token.expose());
        assert!(settings.is_remote);
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_name_and_not_repeated() {
        for (name, value) in [
            ("INFRA_HOME", "relative"),
            ("INFRA_CA_FILE", "canary.pem"),
            ("INFRA_SERVER", "http://canary.test"),
            ("INFRA_TOKEN", "canary"),
            ("INFRA_FINGERPRINT", "md5:canary"),
        ] {
            let failure = read(&[(name, value)]).expect_err(name);
            assert_eq!(failure.exit(), Exit::Usage);
            assert!(format!("{failure:?}").contains(name) && !format!("{failure:?}").contains("canary"));
        }
    }
}
