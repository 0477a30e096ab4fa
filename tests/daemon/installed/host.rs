//! A host with the unit, in a mount namespace: the unit's files, its user, and substitutes for what systemd does with
//! them. `tests/packages/booted.rs` has the real one.

#![expect(clippy::panic, reason = "a test panics whenever it has to fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::documents::{Page, repository};
use infra_harness::namespace::Namespace;
use infra_harness::ports::Ports;
use infra_harness::program::{Ran, Running, built};
use infra_harness::{SYSTEMD_RUN, skip};
use rustix::process::Signal;
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_mins(1);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Overlays, so that nothing of this machine changes. `$1` is an empty directory, `$2` the program, `$3` the files.
const MOUNT: &str = r#"umask 022; mount -t tmpfs tmpfs "$1" && mount -t tmpfs tmpfs /run && for it in etc var usr root; do
    mkdir -p "$1/$it/upper" "$1/$it/work" &&
        mount -t overlay overlay -o "lowerdir=/$it,upperdir=$1/$it/upper,workdir=$1/$it/work" "/$it" || exit 1
done && touch /usr/bin/infrad && mount --bind "$2" /usr/bin/infrad && cp -r "$3/." / && rm -rf /var/lib/infrad /var/lib/infrad-rollback-guard /var/log/infrad"#;

/// Starts the unit with its settings and those of its drop-ins.
const PLAY_UNIT: &str = r#"#!/bin/sh -eu
set --
for file in /usr/lib/systemd/system/infrad.service /etc/systemd/system/infrad.service.d/*.conf; do
    [ -e "$file" ] || continue
    while IFS= read -r line; do
        case $line in
        User=* | StateDirectory=* | LogsDirectory=* | LoadCredential=*) set -- "$@" "--property=$line" ;;
        esac
    done <"$file"
done
PLAY_UNIT=infrad.service exec systemd-run "$@" -- /usr/bin/infrad serve
"#;

/// The other host of `ssh HOST COMMAND`: what it would read is kept.
const SSH: &str = "#!/bin/sh\nexec cat >\"$MOVED\"\n";

pub(super) struct Host {
    namespace: Namespace,
    folder: TempDir,
    daemon: Option<Running>,
    ports: Option<Ports>,
}

impl Host {
    /// A configured host whose daemon never ran. `None` if this machine does not allow it.
    pub(super) fn new() -> Option<Self> {
        Self::on(Ports::reserve(1))
    }

    /// Another host, for what runs on this one, which has to be stopped first.
    pub(super) fn another(&mut self) -> Option<Self> {
        Self::on(self.ports.take().expect("only one other host"))
    }

    fn on(ports: Ports) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip::report("only root can play a host with a unit of another user");
            return None;
        }
        let folder = TempDir::with_prefix("infra-host-").expect("a temporary directory");
        let port = *ports.all().first().expect("a port was reserved");
        write_files(&folder.path().join("files"), port);
        let mounts = folder.path().join("mounts");
        std::fs::create_dir(&mounts).expect("a directory");
        let arguments = [mounts.as_path(), &built("infrad"), &folder.path().join("files")];
        let Some(namespace) = Namespace::new(MOUNT, &arguments) else {
            skip::report("this machine allows no overlays in a mount namespace");
            return None;
        };
        let host = Self { namespace, folder, daemon: None, ports: Some(ports) };
        host.run(
            "umask 022; chmod 0755 /etc/infra; echo 'infrad:x:990:990::/nonexistent:/usr/sbin/nologin' >>/etc/passwd; echo 'infrad:x:990:' >>/etc/group
             mkdir -p /var/backups && install -d -o infrad -g infrad -m 0700 /var/backups/infrad
             chown infrad:infrad /etc/infra/okta-client-secret; chmod 0400 /etc/infra/*key /etc/infra/*secret
             head -c 32 /dev/urandom >/etc/infra/root.key",
        )
        .expect(0);
        Some(host)
    }

    /// Where `ssh` leaves what another host would receive.
    pub(super) fn moved(&self) -> PathBuf {
        self.folder.path().join("moved")
    }

    pub(super) fn run(&self, script: &str) -> Ran {
        self.run_with(script, "")
    }

    /// Runs a script as root, with `input` on standard input.
    pub(super) fn run_with(&self, script: &str, input: &str) -> Ran {
        // `nsenter` keeps the directory of this process, which lies below the overlays.
        let script = &format!("cd /root\n{script}");
        let command = self.command(&["sh", "-euc", script]);
        Running::start(command, script.to_owned(), Some(input.into()), LIMIT).wait()
    }

    fn command(&self, words: &[&str]) -> Command {
        let inside = self.namespace.enter("env");
        let mut command = Command::new(inside.get_program());
        let moved = format!("MOVED={}", self.moved().display());
        command
            .args(inside.get_args())
            .args(["-i", &format!("PATH={PATH}"), "HOME=/root", &moved])
            .args(words);
        command.stdin(Stdio::piped());
        command
    }

    pub(super) fn start(&mut self) {
        let mut daemon = Running::start(self.command(&["play-unit"]), "the unit".to_owned(), None, LIMIT);
        daemon.wait_for("that it serves", |stdout, _| stdout.contains("users sign in with").then_some(()));
        self.daemon = Some(daemon);
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(Running::is_running)
    }

    pub(super) fn stop(&mut self) {
        let Some(mut daemon) = self.daemon.take() else { return };
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.wait_for_end(LIMIT), Some(Some(0)), "{}", daemon.output());
        // As systemd does.
        self.run("rm -rf /run/credentials/infrad.service").expect(0);
    }

    pub(super) fn fingerprint(&self) -> String {
        let printed = self.run("infrad as-service fingerprint").expect(0).stdout;
        let words = printed.split_whitespace().find(|word| word.starts_with("sha256:"));
        words.expect("a fingerprint").to_owned()
    }

    /// Types the commands below a heading of a page, each with `input`. Those of `systemctl` are played.
    pub(super) fn follow(&mut self, page: &str, heading: &str, input: &str) {
        let blocks = Page::read(page).blocks().into_iter().filter(|block| block.heading == heading);
        let blocks: Vec<String> =
            blocks.filter(|block| block.language != "yaml").map(|block| block.typed()).collect();
        assert!(!blocks.is_empty(), "{page}: {heading}");
        for block in &blocks {
            self.type_in(block, input);
        }
    }

    /// Types the commands of one block.
    pub(super) fn type_in(&mut self, block: &str, input: &str) {
        let mut pending = String::new();
        for line in block.lines() {
            let line = line.trim().trim_end_matches("&&").trim_end();
            if let Some(words) = line.strip_prefix("systemctl ") {
                self.run_with(&std::mem::take(&mut pending), input).expect(0);
                self.control(words);
            // The tests that need a provider are elsewhere.
            } else if !line.ends_with("check --live") {
                pending.extend([line, "\n"]);
            }
        }
        self.run_with(&pending, input).expect(0);
    }

    fn control(&mut self, words: &str) {
        match words.split(' ').next() {
            Some("daemon-reload") => {}
            Some("stop" | "disable") => self.stop(),
            Some("start" | "restart" | "enable") => {
                self.stop();
                self.start();
            }
            other => panic!("`systemctl {other:?}` is not played here"),
        }
    }
}

/// Writes the files that the package and the operator put on the host.
fn write_files(root: &Path, port: u16) {
    use std::os::unix::fs::PermissionsExt;

    let packaged =
        |name: &str| std::fs::read_to_string(repository().join("deploy/systemd").join(name)).expect("a unit");
    let address = format!("127.0.0.1:{port}");
    let socket = packaged("infrad.socket").replace("ListenStream=443", &format!("ListenStream={address}"));
    assert!(socket.contains(&address), "another socket: {socket}");
    let configuration = format!(
        "version: 1\nlisten: {address}\npublicURLs: [https://{address}]\ndataDir: /var/lib/infrad\n\
         rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard\n\
         audit: {{file: /var/log/infrad/audit.jsonl}}\n\
         providers:\n  - {{name: okta, kind: okta, issuer: https://example.okta.com, clientID: a, clientSecret: \
         \"file:/etc/infra/okta-client-secret\"}}\n"
    );
    for (path, text, mode) in [
        ("usr/lib/systemd/system/infrad.service", packaged("infrad.service").as_str(), 0o644),
        ("usr/lib/systemd/system/infrad.socket", &socket, 0o644),
        ("usr/local/bin/systemd-run", SYSTEMD_RUN, 0o755),
        ("usr/local/bin/play-unit", PLAY_UNIT, 0o755),
        ("usr/local/bin/ssh", SSH, 0o755),
        ("etc/infra/infrad.yaml", &configuration, 0o644),
        ("etc/infra/okta-client-secret", "a-client-secret-of-some-length\n", 0o400),
        ("etc/infra/root.key", "", 0o400),
    ] {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("a mode");
    }
}
