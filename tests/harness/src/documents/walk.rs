//! Follows a page: types its commands on a machine that provides the page's examples.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::Daemon;
use crate::program::{Ran, RecordingBrowser, Running, User, built};
use crate::provider::Provider;
use crate::services;

/// The example fingerprint of the pages.
const FINGERPRINT: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// The short form of the fingerprint, for pages without room for all of it.
const SOME_FINGERPRINT: &str = "sha256:…";
const LIMIT: Duration = Duration::from_mins(1);

/// A reader of a page, as user and operator in one, in the user's home.
pub struct Walk<'a> {
    user: &'a User,
    provider: &'a Provider,
    browser: RecordingBrowser,
    /// The examples of the page, with their replacements.
    replaced: Vec<(String, String)>,
    environment: Vec<(String, String)>,
}

/// The host on which the reader follows the page.
pub trait Host {
    /// `systemctl start`, `stop`, `restart` and `reload`.
    fn control(&mut self, verb: &str);
}

impl Host for Daemon {
    fn control(&mut self, verb: &str) {
        match verb {
            "start" => self.start_again(),
            "stop" => {
                self.stop();
            }
            "restart" => self.restart(),
            "reload" => {
                let process = Pid::from_raw(self.process().cast_signed()).expect("a process");
                kill_process(process, Signal::HUP).expect("the daemon runs");
            }
            other => panic!("`systemctl {other}` is not played here"),
        }
    }
}

impl<'a> Walk<'a> {
    pub fn new(user: &'a User, provider: &'a Provider) -> Self {
        // The daemon plays the example services. Readers of a page write its CA certificate to this file.
        let certificate = user.home().join("ca.pem").display().to_string();
        let curl = format!("cacert = \"{certificate}\"\nsilent\nfail\nmax-time = 10\n");
        std::fs::write(user.home().join(".curlrc"), curl).expect("a file");
        let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
        Self { user, provider, browser, replaced: Vec::new(), environment: Vec::new() }
    }

    /// Replaces an example with another text. Earlier replacements take precedence.
    pub fn replace(&mut self, example: &str, own: &str) {
        self.replaced.push((example.to_owned(), own.to_owned()));
    }

    /// Sets a variable that the page assumes to be set.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Installs a program that the page assumes to be installed.
    pub fn install(&self, path: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.user.home().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, script).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    }

    /// Creates a file with mode 0600 instead of the one that the page names.
    pub fn private_file(&mut self, example: &str, text: &str) -> PathBuf {
        let name = example.rsplit('/').next().expect("a name");
        let path = self.user.home().join(name);
        services::write_private(&path, text);
        self.replace(example, &path.display().to_string());
        path
    }

    /// Runs `script` line by line on the host of `daemon`; each line must exit with code 0.
    ///
    /// `systemctl` and `infrad serve` start and stop the daemon.
    pub fn follow(&self, script: &str, daemon: &mut Daemon) -> Vec<Ran> {
        let (mut ran, mut pending) = (Vec::new(), String::new());
        for line in script.lines() {
            // Each line has to succeed anyway.
            let line = line.trim_end().strip_suffix("&&").unwrap_or(line);
            let code = line.split(" #").next().unwrap_or_default().trim();
            if let Some(verb) = verb(code) {
                ran.extend(self.run(&std::mem::take(&mut pending), daemon));
                daemon.control(verb);
            } else {
                pending.extend([line, "\n"]);
            }
        }
        ran.extend(self.run(&pending, daemon));
        ran
    }

    fn run(&self, script: &str, daemon: &Daemon) -> Option<Ran> {
        if script.trim().is_empty() {
            return None;
        }
        let host = daemon.origin().replace("https://", "");
        let fingerprint = daemon.fingerprint();
        let examples =
            [(FINGERPRINT, &fingerprint), (SOME_FINGERPRINT, &fingerprint), ("infra.example.com", &host)];
        let own = self.replaced.iter().map(|(example, own)| (example.as_str(), own));
        let script = own
            .chain(examples)
            .fold(script.to_owned(), |script, (example, own)| script.replace(example, own));
        let folder = built("infra").parent().expect("a folder").display().to_string();
        let home = self.user.home().display();
        let mut shell = Command::new("bash");
        shell
            .args(["-e", "-u", "-o", "pipefail", "-c", &script])
            .env_clear()
            .env("HOME", self.user.home())
            .env("PATH", format!("{home}/bin:{folder}:/usr/local/bin:/usr/bin:/bin"))
            .env("INFRAD_CONFIG", daemon.configuration_file())
            .env("SSL_CERT_FILE", self.provider.authority_file())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.user.home());
        self.browser.prepare(&mut shell);
        Some(Running::start(shell, script, None, LIMIT).wait().expect(0))
    }
}

/// Returns the action if a line makes the service manager control the daemon, otherwise `None`.
fn verb(line: &str) -> Option<&str> {
    if line == "infrad serve" {
        return Some("start");
    }
    let words: Vec<&str> = line.strip_prefix("systemctl ")?.split_whitespace().collect();
    match words.as_slice() {
        ["stop", "infrad"] => panic!("`{line}` leaves the socket, and the next connection starts the daemon"),
        ["stop", "infrad.socket", "infrad.service"]
        | ["disable", "--now", "infrad.socket", "infrad.service"] => Some("stop"),
        [verb, "infrad"] => Some(verb),
        _ => None,
    }
}
