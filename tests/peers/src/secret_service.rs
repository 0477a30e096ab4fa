//! A desktop keyring: GNOME Keyring on its own D-Bus session, in a temporary directory.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use memchr::memmem;
use rustix::process::Signal;
use tempfile::TempDir;

use infra_harness::peers;
use infra_harness::program::{Call, Running};
use infra_harness::wait;

const READY: Duration = Duration::from_mins(1);
const DESTINATION: &str = "--dest=org.freedesktop.secrets";
const SERVICE: &str = "/org/freedesktop/secrets";
const LOGIN: &str = "/org/freedesktop/secrets/collection/login";

/// A session bus with an optional keyring. Both stop when dropped.
pub struct SecretService {
    keyring: Option<Running>,
    _bus: Running,
    directory: TempDir,
}

/// A monitor of all bus messages.
pub struct BusMonitor<'a> {
    listener: Child,
    recorded: PathBuf,
    service: &'a SecretService,
}

impl SecretService {
    /// Starts an unlocked keyring. Returns `None` and reports a skip if a required program is not installed.
    pub fn unlocked() -> Option<Self> {
        let mut service = Self::without_keyring()?;
        service.start_keyring(&["--unlock"]);
        service.wait_for_default(LOGIN);
        Some(service)
    }

    /// Starts a keyring that was never unlocked, so it has no collection.
    pub fn without_collection() -> Option<Self> {
        let mut service = Self::without_keyring()?;
        service.start_keyring(&[]);
        service.wait_for_default("/");
        Some(service)
    }

    /// Starts a bus without a keyring.
    pub fn without_keyring() -> Option<Self> {
        for program in ["dbus-daemon", "dbus-send", "dbus-monitor", "gnome-keyring-daemon", "secret-tool"] {
            peers::find_program(program)?;
        }
        let directory = TempDir::with_prefix("infra-keyring-").expect("a temporary directory");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("our own");
        let configuration = directory.path().join("bus.conf");
        // No service activation, and everyone may monitor the bus, as on a real session bus.
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\" eavesdrop=\"true\"/>\
             <allow eavesdrop=\"true\"/><allow own=\"*\"/></policy></busconfig>",
            directory.path().join("bus").display()
        );
        std::fs::write(&configuration, text).expect("a configuration");
        let mut command = Command::new("dbus-daemon");
        command.args(["--nofork", "--print-address"]).arg("--config-file").arg(configuration);
        let mut bus = Running::start(command, "dbus-daemon".to_owned(), None, READY);
        bus.wait_for("its address", |said, _| said.contains("unix:path=").then_some(()));
        Some(Self { keyring: None, _bus: bus, directory })
    }

    /// The value for `DBUS_SESSION_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.directory.path().join("bus").display())
    }

    /// Runs a call of `infra` in this desktop session.
    pub fn in_session<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.env("DBUS_SESSION_BUS_ADDRESS", self.address())
    }

    /// Locks the keyring, as a screen saver does.
    #[track_caller]
    pub fn lock(&self) {
        let paths = format!("array:objpath:{LOGIN}");
        self.send(&[SERVICE, "org.freedesktop.Secret.Service.Lock", &paths]).expect("it can be locked");
    }

    /// The stored secret for the server at `origin`.
    pub fn entry(&self, origin: &str) -> Option<String> {
        let output =
            self.tool("secret-tool").args(["lookup", "service", "infra", "username", origin]).output();
        let output = output.expect("secret-tool runs");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("a text"))
    }

    /// Adds another entry for the server at `origin`.
    #[track_caller]
    pub fn add(&self, origin: &str, secret: &str) {
        let mut command = self.tool("secret-tool");
        command.args([
            "store",
            "--label=of somebody else",
            "service",
            "infra",
            "username",
            origin,
            "of",
            "another",
        ]);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("secret-tool runs");
        child.stdin.take().expect("a pipe").write_all(secret.as_bytes()).expect("it reads");
        assert!(child.wait().expect("our own child").success(), "secret-tool could not store");
    }

    /// Removes all entries for the server at `origin`.
    #[track_caller]
    pub fn remove(&self, origin: &str) {
        let mut command = self.tool("secret-tool");
        let status = command.args(["clear", "service", "infra", "username", origin]).status();
        assert!(status.is_ok_and(|status| status.success()), "secret-tool could not clear");
    }

    /// Suspends the keyring: it stays on the bus without responding.
    #[track_caller]
    pub fn suspend(&self) {
        self.keyring.as_ref().expect("a keyring").signal(Signal::STOP);
    }

    /// Kills the keyring.
    #[track_caller]
    pub fn kill(&mut self) {
        let mut keyring = self.keyring.take().expect("a keyring");
        keyring.signal(Signal::KILL);
        keyring.wait_for_end(READY).expect("nothing survives SIGKILL");
    }

    /// Starts monitoring the bus.
    pub fn monitor(&self) -> BusMonitor<'_> {
        let recorded = self.directory.path().join("heard");
        let file = File::create(&recorded).expect("a file");
        let mut command = self.tool("dbus-monitor");
        let listener = command.arg("--binary").stdout(file).spawn().expect("dbus-monitor runs");
        let monitor = BusMonitor { listener, recorded, service: self };
        monitor.catch_up();
        monitor
    }

    fn start_keyring(&mut self, options: &[&str]) {
        let mut command = self.tool("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]).args(options).stdin(Stdio::piped());
        let running =
            Running::start(command, "gnome-keyring-daemon".to_owned(), Some(b"password".to_vec()), READY);
        self.keyring = Some(running);
    }

    fn wait_for_default(&self, path: &str) {
        let expected = format!("\"{path}\"");
        let read = || self.send(&[SERVICE, "org.freedesktop.Secret.Service.ReadAlias", "string:default"]);
        let ready = wait::until(READY, || read().filter(|answer| answer.contains(&expected)));
        assert!(ready.is_some(), "the keyring never had {path} as its default");
    }

    /// Calls a method of the keyring and returns the reply.
    fn send(&self, words: &[&str]) -> Option<String> {
        let output =
            self.tool("dbus-send").args(["--session", "--print-reply", DESTINATION]).args(words).output();
        let output = output.expect("dbus-send runs");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn tool(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.directory.path())
            .env("XDG_RUNTIME_DIR", self.directory.path())
            .env("DBUS_SESSION_BUS_ADDRESS", self.address())
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl BusMonitor<'_> {
    /// All messages so far, byte for byte.
    pub fn messages(&self) -> Vec<u8> {
        self.catch_up();
        std::fs::read(&self.recorded).expect("our own file")
    }

    /// Waits for a message with this text.
    pub fn wait_for(&self, text: &str) {
        let read = || std::fs::read(&self.recorded).unwrap_or_default();
        let recorded = wait::until(READY, || memmem::find(&read(), text.as_bytes()).map(drop));
        assert!(recorded.is_some(), "{text} was never said on the bus");
    }

    /// Sends a plaintext message, as a control.
    pub fn send_plaintext(&self, text: &str) {
        let mut command = self.service.tool("dbus-send");
        command.args(["--session", "/infra/test", "infra.test.Said"]).arg(format!("string:{text}"));
        assert!(command.status().is_ok_and(|status| status.success()), "dbus-send failed");
    }

    /// Sends a mark and waits for it: every message before it is then recorded, too.
    fn catch_up(&self) {
        let mark = format!("mark-{}", infra_shared::random::alphanumeric(20));
        let recorded = wait::until(READY, || {
            self.send_plaintext(&mark);
            let recorded = std::fs::read(&self.recorded).unwrap_or_default();
            memmem::find(&recorded, mark.as_bytes()).map(drop)
        });
        assert!(recorded.is_some(), "nothing is heard on the bus");
    }
}

impl Drop for BusMonitor<'_> {
    fn drop(&mut self) {
        let _ = self.listener.kill();
        let _ = self.listener.wait();
    }
}
