//! A mount namespace: only programs that run inside it see its mounts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

const MOUNTED: Duration = Duration::from_mins(1);

/// A namespace that exists until the value is dropped or its process exits.
pub struct Namespace {
    keeper: Child,
    with_user: bool,
}

impl Namespace {
    /// Runs `script`, which mounts file systems, with `arguments` as `$1` and so on. `None` if this machine
    /// does not allow that.
    pub fn new(script: &str, arguments: &[&Path]) -> Option<Self> {
        // Users other than root become root in their own user namespace.
        let with_user = !rustix::process::geteuid().is_root();
        let user: &[&str] = if with_user { &["--user", "--map-root-user"] } else { &[] };
        let mut keeper = Command::new("unshare")
            .args(user)
            // `cat` exits with the process at the other end of its pipe.
            .args(["--mount", "sh", "-c", &format!("{script} && echo mounted && exec cat"), "sh"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut output = BufReader::new(keeper.stdout.take().expect("standard output was piped"));
        let namespace = Self { keeper, with_user };
        let (tell, is_told) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = output.read_line(&mut line);
            let _ = tell.send(line);
        });
        let line = is_told.recv_timeout(MOUNTED).unwrap_or_default();
        (line == "mounted\n").then_some(namespace)
    }

    /// The process that keeps the namespace.
    pub fn process(&self) -> u32 {
        self.keeper.id()
    }

    /// A command that runs `program` inside; it replaces the command's process.
    pub fn enter(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        if self.with_user {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.args(["--mount", "--target"]).arg(self.process().to_string()).arg("--").arg(program.as_ref());
        command
    }
}

impl AsRef<Self> for Namespace {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
