//! Starts the real `infrad serve` in a throw-away directory, kills it, and starts it again in the same place.

mod configuration;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use infra_shared::origin::Origin;
use infra_shared::pin::Pin;
use rustix::process::Signal;
use tempfile::TempDir;

pub use configuration::{Configuration, MANY_LOGINS, ProviderEntry};

use crate::api::Api;
use crate::ports::Ports;
use crate::program::{Running, built, files_with_modes};
use crate::provider::Provider;
use crate::view::View;

/// An honest daemon is ready long before.
const READY: Duration = Duration::from_secs(30);
/// A graceful stop takes no longer.
const STOP: Duration = Duration::from_secs(20);

/// What a daemon logs when it gets SIGHUP.
const RELOADED: &str = "told to reload";

/// What a daemon has written when it was asked, for people to read: it may lack the last lines, so nothing else can be done
/// with it.
pub struct LogSoFar(String);

impl std::fmt::Display for LogSoFar {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A daemon with its directory, its ports and its configuration; killed when the value is dropped.
pub struct Daemon {
    directory: TempDir,
    configuration: Configuration,
    /// The daemon's own port, then those for redirects.
    ports: Ports,
    running: Option<Running>,
    pin: Option<Pin>,
    /// What earlier runs said.
    log: String,
    environment: Vec<(String, String)>,
    view: Option<Arc<View>>,
}

impl Daemon {
    /// A daemon with one provider named `okta`.
    pub fn start(provider: &Provider) -> Self {
        Self::start_with(provider, |_| {})
    }

    /// The same, with the configuration changed first.
    pub fn start_with(provider: &Provider, change: impl FnOnce(&mut Configuration)) -> Self {
        Self::start_for(vec![ProviderEntry::of(provider)], change)
    }

    /// A daemon with these providers.
    pub fn start_for(providers: Vec<ProviderEntry>, change: impl FnOnce(&mut Configuration)) -> Self {
        let mut daemon = Self::prepare(providers, change);
        daemon.start_again();
        daemon
    }

    /// Directory, ports and configuration of a daemon that does not run yet.
    pub fn prepare(providers: Vec<ProviderEntry>, change: impl FnOnce(&mut Configuration)) -> Self {
        let directory = TempDir::with_prefix("infra-daemon-").expect("a temporary directory");
        let ports = Ports::reserve(4);
        let mut configuration = Configuration::new(directory.path(), &ports.all(), providers);
        change(&mut configuration);
        let daemon = Self {
            directory,
            configuration,
            ports,
            running: None,
            pin: None,
            log: String::new(),
            environment: Vec::new(),
            view: None,
        };
        daemon.write_configuration();
        daemon
    }

    /// Changes the configuration; it counts from the next start.
    pub fn change(&mut self, change: impl FnOnce(&mut Configuration)) {
        change(&mut self.configuration);
        self.write_configuration();
    }

    /// Sets a variable in the daemon's environment, from the next start.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs it, and what else is run of `infrad`, with this view of the machine.
    pub fn live_in(&mut self, view: &Arc<View>) {
        self.view = Some(Arc::clone(view));
    }

    /// Starts it, on the same port and directory as before, and waits until it is ready.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the daemon runs already");
        let mut running = self.infrad(["serve"]);
        let pin = running.wait_for("its address and fingerprint", |stdout, stderr| {
            let said = format!("{stdout}\n{stderr}");
            said.contains("https://").then(|| find_pin(&said)).flatten()
        });
        let address = format!("127.0.0.1:{}", self.port());
        crate::wait::until(READY, || std::net::TcpStream::connect(&address).ok())
            .unwrap_or_else(|| panic!("nobody listens on {address}\n{}", running.output()));
        self.pin = Some(pin);
        self.running = Some(running);
    }

    /// Starts `infrad` with these arguments and the daemon's configuration, and does not wait.
    pub fn infrad<const N: usize>(&self, arguments: [&str; N]) -> Running {
        let command = self.command(self.program(), &arguments);
        Running::start(command, format!("infrad {}", arguments.join(" ")), None, READY)
    }

    /// The same with something on standard input.
    pub fn infrad_told<const N: usize>(&self, arguments: [&str; N], input: &str) -> Running {
        self.infrad_told_words(&arguments, input)
    }

    /// The same for arguments that come from elsewhere.
    pub fn infrad_told_words(&self, arguments: &[&str], input: &str) -> Running {
        let mut command = self.command(self.program(), arguments);
        command.stdin(Stdio::piped());
        let input = format!("{input}\n").into_bytes();
        Running::start(command, format!("infrad {}", arguments.join(" ")), Some(input), READY)
    }

    /// Starts `infrad` in a terminal of its own.
    pub fn infrad_in_terminal<const N: usize>(&self, arguments: [&str; N]) -> Running {
        let command = self.command(self.program(), &arguments);
        Running::start_in_terminal(command, format!("infrad {}", arguments.join(" ")), READY)
    }

    /// Starts `infrad` under another program, which is given it with its arguments.
    pub fn infrad_under(&self, mut program: Command, arguments: &[&str]) -> Running {
        program.arg(built("infrad"));
        Running::start(
            self.command(program, arguments),
            format!("infrad {}", arguments.join(" ")),
            None,
            READY,
        )
    }

    /// Starts the daemon itself under another program, at the address and with the pin of an earlier start; `false` where
    /// it ends before it serves, having said why.
    pub fn start_under(&mut self, program: Command) -> bool {
        assert!(self.running.is_none(), "the daemon runs already");
        let mut running = self.infrad_under(program, &["serve"]);
        let is_served = crate::wait::until(READY, || {
            let (is_running, output) = (running.is_running(), running.output());
            if find_pin(&output).is_some() { Some(true) } else { (!is_running).then_some(false) }
        });
        match is_served {
            Some(true) => self.running = Some(running),
            Some(false) => self.log.push_str(&running.output()),
            None => panic!("it neither serves nor ends\n{}", running.output()),
        }
        is_served == Some(true)
    }

    fn program(&self) -> Command {
        let program = built("infrad");
        self.view.as_ref().map_or_else(|| Command::new(&program), |view| view.enter(&program))
    }

    fn command(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .arg("--config")
            .arg(self.configuration_file())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        command
    }

    /// Stops it with SIGTERM; the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::TERM);
        let code = running.wait_for_end(STOP);
        self.log.push_str(&running.finished_output());
        code.unwrap_or_else(|| panic!("the daemon did not stop within {STOP:?}\n{}", self.log))
    }

    /// Stops it with SIGTERM and, once it waits for what is under way, SIGINT; the exit code.
    pub fn stop_at_once(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::TERM);
        running.wait_for("that it stops", |_, told| told.contains("stopping").then_some(()));
        assert!(running.is_running(), "it did not wait for what is under way\n{}", running.output());
        running.signal(Signal::INT);
        // Far less than what is under way may take.
        let code = running.wait_for_end(Duration::from_secs(5));
        self.log.push_str(&running.finished_output());
        code.unwrap_or_else(|| panic!("the second signal was ignored\n{}", self.log))
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::KILL);
        running.wait_for_end(STOP).expect("nothing survives SIGKILL");
        self.log.push_str(&running.finished_output());
    }

    /// Stops it and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// What users type.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }

    pub fn parsed_origin(&self) -> Origin {
        self.origin().parse().expect("an address and a port")
    }

    pub fn port(&self) -> u16 {
        *self.ports.all().first().expect("four ports were reserved")
    }

    /// The ports that are registered for redirects.
    pub fn redirect_ports(&self) -> Vec<u16> {
        self.ports.all().split_off(1)
    }

    /// The issuer that its configuration has for the provider of this name.
    #[track_caller]
    pub fn issuer(&self, provider: &str) -> &str {
        let named = self.configuration.providers.iter().find(|entry| entry.name == provider);
        &named.unwrap_or_else(|| panic!("the daemon has no provider `{provider}`")).issuer
    }

    /// The fingerprint that it printed at its last start.
    pub fn pin(&self) -> Pin {
        self.pin.expect("the daemon was started")
    }

    pub fn fingerprint(&self) -> String {
        self.pin().to_string()
    }

    /// A client of its interface.
    pub fn api(&self) -> Api {
        Api::pinned(&self.parsed_origin(), self.pin())
    }

    /// What it has written so far, in all its runs, to be shown by a test that fails. It answers requests before it has
    /// written all lines about them: a test that expects something of the log waits for it or completes it.
    pub fn log(&self) -> LogSoFar {
        LogSoFar(self.output())
    }

    /// The log once it contains `text`; fails the test when that does not come within a bound.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_with(text, |log| log.contains(text))
    }

    /// The log once it `is_complete`; `what` names what is missing when that does not come within a bound.
    #[track_caller]
    pub fn wait_for_log_with(&self, what: &str, is_complete: impl Fn(&str) -> bool) -> String {
        crate::wait::until(READY, || Some(self.output()).filter(|log| is_complete(log)))
            .unwrap_or_else(|| panic!("the log never has {what:?}\n{}", self.log()))
    }

    /// Every line that it has logged until now, for tests of what must not be in the log. A daemon that runs is made to
    /// reload, and the line about that is waited for: it is written after all others.
    #[track_caller]
    pub fn complete_log(&self) -> String {
        let Some(running) = &self.running else { return self.log.clone() };
        let reloads = |log: &str| log.matches(RELOADED).count();
        let before = reloads(&self.output());
        running.signal(Signal::HUP);
        self.wait_for_log_with(RELOADED, |log| reloads(log) > before)
    }

    fn output(&self) -> String {
        let now = self.running.as_ref().map(Running::output).unwrap_or_default();
        format!("{}{now}", self.log)
    }

    pub fn is_running(&mut self) -> bool {
        self.running.as_mut().is_some_and(Running::is_running)
    }

    /// The id of its process.
    pub fn process(&self) -> u32 {
        self.running.as_ref().expect("the daemon runs").process()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn root_key(&self) -> PathBuf {
        self.configuration.root_key.clone()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.configuration.data_dir.clone()
    }

    pub fn configuration_file(&self) -> PathBuf {
        self.directory.path().join("infrad.yaml")
    }

    /// What lies in its directory, with modes.
    pub fn files(&self) -> String {
        files_with_modes(self.directory.path())
    }

    fn write_configuration(&self) {
        std::fs::write(self.configuration_file(), self.configuration.to_yaml()).expect("the configuration");
    }
}

/// `sha256:` and 64 digits, anywhere in `text`.
fn find_pin(text: &str) -> Option<Pin> {
    text.match_indices("sha256:")
        .find_map(|(start, name)| text.get(start..start + name.len() + 64).and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_found_wherever_it_is_printed() {
        let pin = Pin::of_public_key(b"key");
        let said = format!("sha256: of\n  infra login https://h --fingerprint {pin}\nready");
        assert_eq!(find_pin(&said), Some(pin));
        assert_eq!(find_pin("sha256:abc"), None);
    }
}
