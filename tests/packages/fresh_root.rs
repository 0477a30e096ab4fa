//! A copy of a Debian without anything else, in namespaces of its own: its ports, mounts and processes are seen by nobody, and
//! gone with the test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::program::{Ran, Running};
use infra_harness::{peers, skip};
use tempfile::TempDir;

use super::debian::workspace;

const INSIDE: &str = "INFRA_TEST_FRESH_ROOT";
/// The whole test, and one command of it.
const LIMIT: Duration = Duration::from_mins(5);
const COMMAND_LIMIT: Duration = Duration::from_mins(2);

/// Where a test runs.
pub(crate) enum Isolation {
    /// In the namespaces, with a root for its own.
    Inside(FreshRoot),
    /// Outside: it was run inside, and succeeded, or it cannot be here, which was said loudly.
    Outside,
}

impl Isolation {
    /// Runs this program's test `name` again inside.
    pub(crate) fn enter(name: &str) -> Self {
        #[expect(clippy::disallowed_methods, reason = "how the outer run tells the inner one")]
        let folder = std::env::var_os(INSIDE);
        if let Some(folder) = folder {
            return Self::Inside(FreshRoot::open(folder.into()));
        }
        let Some(base) = find_base() else { return Self::Outside };
        // Held out here: what is mounted over it inside is never seen when it is removed.
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

/// The cached root, where all is there that the test needs.
fn find_base() -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        skip::told("packages are tried by root alone, who can install them");
        return None;
    }
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let Some(codename) = codename.filter(|_| release.lines().any(|line| line == "ID=debian")) else {
        skip::told("packages are tried on Debian alone");
        return None;
    };
    let base = peers::find(&format!("debian-{codename}"), ".packages")?;
    peers::find("packaging", "bin/cargo-deb")?;
    peers::find("openid-provider", "node_modules")?;
    peers::find_program("strace")?;
    let may = Command::new("unshare").args(["--mount", "--net", "--pid", "--fork", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        skip::told("this machine lets nobody have namespaces (`unshare`)");
        return None;
    }
    Some(base)
}

/// The root, as `/` of the commands that are run in it.
pub(crate) struct FreshRoot {
    folder: PathBuf,
}

impl FreshRoot {
    fn open(folder: PathBuf) -> Self {
        let root = Self { folder };
        let mounted = Command::new("mount").args(["-t", "proc", "proc"]).arg(root.path("proc")).status();
        assert!(mounted.is_ok_and(|status| status.success()), "/proc cannot be mounted");
        // Whoever installs by hand says yes.
        root.write("etc/apt/apt.conf.d/90yes", "APT::Get::Assume-Yes \"true\";\n");
        root
    }

    /// A path in it, without the leading `/`.
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

    /// This name leads to this address.
    pub(crate) fn resolve(&self, name: &str, address: &str) {
        self.write("etc/hosts", &format!("127.0.0.1 localhost\n{address} {name}\n"));
    }

    /// The system trusts this authority as well.
    pub(crate) fn trust(&self, pem: &str) {
        self.write("usr/local/share/ca-certificates/provider.crt", pem);
        self.run("update-ca-certificates").expect(0);
    }

    /// Packs the programs as they are built, under this version, into the home of root, where the page has them.
    pub(crate) fn make_package(&self, version: &str) {
        self.pack(&["--debug", version]);
    }

    fn pack(&self, options: &[&str]) {
        let mut command = Command::new(workspace().join("deploy/packages"));
        command.args(options).arg(self.path("root")).stdin(Stdio::null());
        if let Some(programs) = std::env::current_exe().ok().as_deref().and_then(built_in) {
            command.env("CARGO_TARGET_DIR", programs);
        }
        let ran = Running::start(command, "deploy/packages".to_owned(), None, COMMAND_LIMIT).wait();
        assert_eq!(ran.code, Some(0), "{ran}");
    }

    /// The same as a tarball.
    pub(crate) fn make_tarball(&self) {
        self.pack(&["--debug-tarball"]);
    }

    /// A command that runs these words in it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(self.folder.join("root"))
            .args(words)
            .env_clear()
            // systemd does not run: its tools then do what they can with files alone.
            .env("SYSTEMD_OFFLINE", "1")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("HOME", "/root")
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Runs shell commands in it, in the home of root.
    pub(crate) fn run(&self, script: &str) -> Ran {
        let script = format!("cd /root\n{script}");
        let command = self.command(&["sh", "-e", "-c", &script]);
        Running::start(command, script, None, COMMAND_LIMIT).wait()
    }

    /// Runs blocks of commands, each of which has to succeed.
    pub(crate) fn run_blocks(&self, blocks: Vec<String>) {
        for block in blocks {
            self.run(&block).expect(0);
        }
    }

    /// Every file and folder but those that installing anything leaves: what apt, dpkg and user management note for themselves.
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

/// The target directory of a test in `debug/deps`.
fn built_in(test: &Path) -> Option<PathBuf> {
    test.ancestors().nth(3).map(Path::to_owned)
}
