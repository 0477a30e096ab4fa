//! A copy of a minimal Debian in its own namespaces: its ports, mounts and processes are invisible outside and
//! disappear with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::{Ran, Running};
use infra_harness::{peers, skip};
use tempfile::TempDir;

use super::debian::workspace;

const INSIDE: &str = "INFRA_TEST_FRESH_ROOT";
/// Limits for the whole test and for one command.
const LIMIT: Duration = Duration::from_mins(5);
const COMMAND_LIMIT: Duration = Duration::from_mins(2);

/// Packages are made one after the other, also for tests that run at the same time.
const PACKAGING_LIMIT: Duration = Duration::from_mins(10);

/// Where a test runs.
pub(crate) enum Isolation {
    /// In the namespaces, with its own root.
    Inside(FreshRoot),
    /// Outside: the inner run succeeded, or the test was skipped with a message.
    Outside,
}

impl Isolation {
    /// Runs the test `name` of this program again inside.
    pub(crate) fn enter(name: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the outer run passes the folder to the inner one")]
        let folder = std::env::var_os(INSIDE);
        if let Some(folder) = folder {
            return Self::Inside(FreshRoot::open(folder.into()));
        }
        let Some(base) = find_base() else { return Self::Outside };
        // Created outside the namespaces, so that its removal never sees the mounts inside.
        let folder = TempDir::with_prefix("infra-debian-").expect("a temporary directory");
        let copied = Command::new("cp").arg("-a").arg(base).arg(folder.path().join("root")).status();
        assert!(copied.is_ok_and(|status| status.success()), "the root cannot be copied");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"])
            .arg(std::env::current_exe().expect("a running program has a path"))
            .args(["--exact", name, "--nocapture", "--include-ignored"])
            .env(INSIDE, folder.path())
            .stdin(Stdio::null());
        let ran = Running::start(command, format!("{name}, inside"), None, LIMIT).wait();
        assert_eq!(ran.code, Some(0), "{ran}");
        assert!(ran.stdout.contains("1 passed"), "no test was run inside\n{ran}");
        Self::Outside
    }
}

/// Returns the cached root if everything that the test needs is available.
fn find_base() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        skip::report("only root can install packages");
        return None;
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(codename) = codename.filter(|_| release.lines().any(|line| line == "ID=debian")) else {
        skip::report("packages are tested only on Debian");
        return None;
    };
    let base = peers::find(&format!("debian-{codename}"), ".packages")?;
    peers::find("packaging", "bin/cargo-deb")?;
    peers::find("openid-provider", "node_modules")?;
    peers::find_program("strace")?;
    let may = Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        skip::report("this machine does not allow namespaces (`unshare`)");
        return None;
    }
    Some(base)
}

/// The root, which is `/` for the commands that run in it.
pub(crate) struct FreshRoot {
    folder: PathBuf,
}

impl FreshRoot {
    fn open(folder: PathBuf) -> Self {
        let root = Self { folder };
        let mounted = Command::new("mount").args(["-t", "proc", "proc"]).arg(root.path("proc")).status();
        assert!(mounted.is_ok_and(|status| status.success()), "/proc cannot be mounted");
        // Answer yes, as an operator would.
        root.write("etc/apt/apt.conf.d/90yes", "APT::Get::Assume-Yes \"true\";\n");
        root
    }

    /// Returns the outside path of `path`, which is given without the leading `/`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        std::fs::write(self.path(path), text).unwrap_or_else(|error| panic!("/{path}: {error}"));
    }

    pub(crate) fn write_program(&self, path: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.write(path, text);
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.path(path), executable).expect("a mode");
    }

    /// Makes `name` resolve to `address`.
    pub(crate) fn resolve(&self, name: &str, address: &str) {
        self.write("etc/hosts", &format!("127.0.0.1 localhost\n{address} {name}\n"));
    }

    /// Adds the authority to the system's trust store.
    pub(crate) fn trust(&self, pem: &str) {
        self.write("usr/local/share/ca-certificates/provider.crt", pem);
        self.run("update-ca-certificates").expect(0);
    }

    /// Builds packages of this version from the built programs, and puts them in root's home, where the page expects
    /// them.
    pub(crate) fn make_package(&self, version: &str) {
        self.pack(&["--debug", version]);
    }

    fn pack(&self, options: &[&str]) {
        let mut command = Command::new(workspace().join("deploy/packages"));
        command.args(options).arg(self.path("root")).stdin(Stdio::null());
        if let Some(programs) = std::env::current_exe().ok().as_deref().and_then(built_in) {
            command.env("CARGO_TARGET_DIR", programs);
        }
        let ran = Running::start(command, "deploy/packages".to_owned(), None, PACKAGING_LIMIT).wait();
        assert_eq!(ran.code, Some(0), "{ran}");
    }

    /// Like `make_package`, but makes a tarball.
    pub(crate) fn make_tarball(&self) {
        self.pack(&["--debug-tarball"]);
    }

    /// Returns a command that runs `words` in the root.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(self.folder.join("root"))
            .args(words)
            .env_clear()
            // systemd does not run, so its tools only change files.
            .env("SYSTEMD_OFFLINE", "1")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs shell commands in root's home.
    pub(crate) fn run(&self, script: &str) -> Ran {
        let script = format!("cd /root\n{script}");
        let command = self.command(&["sh", "-e", "-c", &script]);
        Running::start(command, script, None, COMMAND_LIMIT).wait()
    }

    /// Runs blocks of commands, each of which must succeed.
    pub(crate) fn run_blocks(&self, blocks: Vec<String>) {
        for block in blocks {
            self.run(&block).expect(0);
        }
    }

    /// Lists every file and folder, except the records of apt, dpkg and user management.
    pub(crate) fn files(&self) -> Vec<String> {
        const NOTES: [&str; 15] = [
            "/proc",
            "/root",
            "/home/alice",
            "/tmp",
            "/var/cache",
            "/var/lib/apt",
            "/var/lib/dpkg",
            "/var/log/apt",
            "/var/log/dpkg.log",
            "/etc/passwd-",
            "/etc/shadow-",
            "/etc/group-",
            "/etc/gshadow-",
            "/run",
            "/var/lib/systemd/deb-systemd-helper-enabled",
        ];
        let is_note = |file: &str| {
            NOTES.iter().any(|note| {
                file.strip_prefix(note).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
        };
        let ran = self.run("find / -xdev -path /proc -prune -o -print | LC_ALL=C sort").expect(0);
        ran.stdout.lines().filter(|file| !is_note(file)).map(ToOwned::to_owned).collect()
    }
}

/// Returns the target directory of a test in `debug/deps`.
fn built_in(test: &Path) -> Option<PathBuf> {
    test.ancestors().nth(3).map(Path::to_owned)
}
