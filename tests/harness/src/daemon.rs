//! Starts the real `infrad serve` in a temporary directory, kills it, and restarts it there.

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

/// Start timeout, far above the time that an honest daemon needs.
const READY: Duration = Duration::from_mins(1);
/// Timeout of a graceful stop.
const STOP: Duration = Duration::from_mins(1);

/// What a daemon logs after SIGHUP.
const RELOADED: &str = "reloading certificates";

/// A log snapshot that can only be displayed, because it may lack the last lines.
pub struct LogSnapshot(String);

impl std::fmt::Display for LogSnapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A daemon with its directory, ports and configuration, killed when dropped.
pub struct Daemon {
    directory: TempDir,
    configuration: Configuration,
    /// The daemon's own port, then the redirect ports.
    ports: Ports,
    running: Option<Running>,
    pin: Option<Pin>,
    /// The output of earlier runs.
    log: String,
    environment: Vec<(String, String)>,
    view: Option<Arc<View>>,
}

impl Daemon {
    /// Starts a daemon with one provider named `okta`.
    pub fn start(provider: &Provider) -> Self {
        Self::start_with(provider, |_| {})
    }

    /// Like [`Self::start`], with a change to the configuration.
    pub fn start_with(provider: &Provider, change: impl FnOnce(&mut Configuration)) -> Self {
        Self::start_for(vec![ProviderEntry::of(provider)], change)
    }

    /// Starts a daemon with these providers.
    pub fn start_for(providers: Vec<ProviderEntry>, change: impl FnOnce(&mut Configuration)) -> Self {
        let mut daemon = Self::prepare(providers, change);
        daemon.start_again();
        daemon
    }

    /// Creates the directory, ports and configuration of a daemon, without starting it.
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

    /// Changes the configuration for the next start.
    pub fn change(&mut self, change: impl FnOnce(&mut Configuration)) {
        change(&mut self.configuration);
        self.write_configuration();
    }

    /// Sets an environment variable for the next start.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs the daemon, and every other call of `infrad`, with this view of the machine.
    pub fn set_view(&mut self, view: &Arc<View>) {
        self.view = Some(Arc::clone(view));
    }

    /// Starts the daemon on the same port and directory, and waits until it is ready.
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

    /// Starts `infrad` with these arguments and the daemon's configuration, without waiting.
    pub fn infrad<const N: usize>(&self, arguments: [&str; N]) -> Running {
        let command = self.command(self.program(), &arguments);
        Running::start(command, format!("infrad {}", arguments.join(" ")), None, READY)
    }

    /// Like [`Self::infrad`], with standard input.
    pub fn infrad_with_input<const N: usize>(&self, arguments: [&str; N], input: &str) -> Running {
        self.infrad_slice_with_input(&arguments, input)
    }

    /// Like [`Self::infrad_with_input`], with a slice of arguments.
    pub fn infrad_slice_with_input(&self, arguments: &[&str], input: &str) -> Running {
        let mut command = self.command(self.program(), arguments);
        command.stdin(Stdio::piped());
        let input = format!("{input}\n").into_bytes();
        Running::start(command, format!("infrad {}", arguments.join(" ")), Some(input), READY)
    }

    /// Starts `infrad` in its own terminal.
    pub fn infrad_in_terminal<const N: usize>(&self, arguments: [&str; N]) -> Running {
        let command = self.command(self.program(), &arguments);
        Running::start_in_terminal(command, format!("infrad {}", arguments.join(" ")), READY)
    }

    /// Starts `infrad` under another program, which gets the path and the arguments.
    pub fn infrad_under(&self, mut program: Command, arguments: &[&str]) -> Running {
        program.arg(built("infrad"));
        Running::start(
            self.command(program, arguments),
            format!("infrad {}", arguments.join(" ")),
            None,
            READY,
        )
    }

    /// Starts the daemon under another program, with the address and pin of an earlier start. Returns `false`
    /// if it exits with a reason before it serves.
    pub fn start_under(&mut self, program: Command) -> bool {
        assert!(self.running.is_none(), "the daemon runs already");
        let mut running = self.infrad_under(program, &["serve"]);
        let is_served = crate::wait::until(READY, || {
            let (is_running, output) = (running.is_running(), running.output());
            if find_pin(&output).is_some() { Some(true) } else { (!is_running).then_some(false) }
        });
        match is_served {
            Some(true) => {
                self.pin = find_pin(&running.output()).or_else(|| self.pin.take());
                self.running = Some(running);
            }
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

    /// Stops the daemon with SIGTERM and returns the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::TERM);
        let code = running.wait_for_end(STOP);
        self.log.push_str(&running.finished_output());
        code.unwrap_or_else(|| panic!("the daemon did not stop within {STOP:?}\n{}", self.log))
    }

    /// Stops the daemon with SIGTERM and, while it waits for open requests, SIGINT. Returns the exit code.
    pub fn stop_immediately(&mut self) -> Option<i32> {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::TERM);
        running.wait_for("that it stops", |_, stderr| stderr.contains("stopping").then_some(()));
        assert!(running.is_running(), "it did not wait for what is under way\n{}", running.output());
        running.signal(Signal::INT);
        // If it waited for open requests instead, it would exit with another code.
        let code = running.wait_for_end(STOP);
        self.log.push_str(&running.finished_output());
        code.unwrap_or_else(|| panic!("the second signal was ignored\n{}", self.log))
    }

    /// Kills the daemon with SIGKILL.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("the daemon runs");
        running.signal(Signal::KILL);
        running.wait_for_end(STOP).expect("nothing survives SIGKILL");
        self.log.push_str(&running.finished_output());
    }

    /// Stops the daemon and starts it again.
    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    /// The origin that users type.
    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port())
    }

    pub fn parsed_origin(&self) -> Origin {
        self.origin().parse().expect("an address and a port")
    }

    pub fn port(&self) -> u16 {
        *self.ports.all().first().expect("four ports were reserved")
    }

    /// The registered redirect ports.
    pub fn redirect_ports(&self) -> Vec<u16> {
        self.configuration.redirect_ports.clone()
    }

    /// The issuer in the configuration of the provider with this name.
    #[track_caller]
    pub fn issuer(&self, provider: &str) -> &str {
        let named = self.configuration.providers.iter().find(|entry| entry.name == provider);
        &named.unwrap_or_else(|| panic!("the daemon has no provider `{provider}`")).issuer
    }

    /// The fingerprint that the daemon printed at its last start.
    pub fn pin(&self) -> Pin {
        self.pin.expect("the daemon was started")
    }

    pub fn fingerprint(&self) -> String {
        self.pin().to_string()
    }

    /// A client of the daemon's API.
    pub fn api(&self) -> Api {
        Api::pinned(&self.parsed_origin(), self.pin())
    }

    /// The output of all runs so far, for display in a failing test.
    ///
    /// The daemon answers a request before it logs all events of it, so tests that check the log use
    /// `wait_for_log` or `complete_log`.
    pub fn log(&self) -> LogSnapshot {
        LogSnapshot(self.output())
    }

    /// Waits until the log contains `text` and returns the log. Fails the test after a timeout.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> String {
        self.wait_for_log_with(text, |log| log.contains(text))
    }

    /// Waits until the log `is_complete` and returns it. After a timeout, fails the test and names `what` is
    /// missing.
    #[track_caller]
    pub fn wait_for_log_with(&self, what: &str, is_complete: impl Fn(&str) -> bool) -> String {
        crate::wait::until(READY, || Some(self.output()).filter(|log| is_complete(log)))
            .unwrap_or_else(|| panic!("the log never has {what:?}\n{}", self.log()))
    }

    /// Returns every line logged until now, for tests of what must not be in the log.
    ///
    /// Reloads a running daemon and waits for the log line about it, which comes after all others.
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

    /// The process ID.
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

    /// Lists the files in its directory, with modes.
    pub fn files(&self) -> String {
        files_with_modes(self.directory.path())
    }

    fn write_configuration(&self) {
        std::fs::write(self.configuration_file(), self.configuration.to_yaml()).expect("the configuration");
    }
}

/// Finds `sha256:` and 64 digits anywhere in `text`.
fn find_pin(text: &str) -> Option<Pin> {
    text.match_indices("sha256:")
        .find_map(|(start, name)| text.get(start..start + name.len() + 64).and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_pin_finds_fingerprint_anywhere_in_text() {
        let pin = Pin::of_public_key(b"key");
        let said = format!("sha256: of\n  infra login https://h --fingerprint {pin}\nready");
        assert_eq!(find_pin(&said), Some(pin));
        assert_eq!(find_pin("sha256:abc"), None);
    }
}
