//! Runs `kubectl config`, within a total time.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use infra_shared::printable::printable;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::time::timeout_at;

/// For all commands together. One takes a tenth of a second.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long another program may hold the lock of the kubeconfig: `kubectl` itself does not wait for it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// A kubeconfig with the certificates of hundreds of clusters is smaller.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;
const MAX_REASON: usize = 400;

/// The installed `kubectl`, with the kubeconfig that it changes.
#[derive(Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: Option<PathBuf>,
    home: Option<PathBuf>,
    deadline: Instant,
}

#[derive(Debug, thiserror::Error)]
pub enum KubectlError {
    #[error("cannot run {program}: {source}")]
    NotRun { program: String, source: io::Error },
    #[error("`kubectl config {command}` failed: {reason}")]
    Failed { command: String, reason: String },
    #[error("`kubectl config {command}` did not finish within {} s", TIMEOUT.as_secs())]
    TimedOut { command: String },
    #[error("`kubectl config view` printed no kubeconfig")]
    Unreadable,
}

impl Kubectl {
    /// `kubeconfig` is the value of `--kubeconfig`; without it, `kubectl` reads KUBECONFIG or `.kube/config` in `home`.
    pub fn new(program: PathBuf, kubeconfig: Option<&Path>, home: Option<PathBuf>) -> Self {
        Self {
            program,
            kubeconfig: kubeconfig.map(ToOwned::to_owned),
            home,
            deadline: Instant::now() + TIMEOUT,
        }
    }

    /// The merged kubeconfig.
    pub(super) fn view<T: DeserializeOwned>(&self) -> Result<T, KubectlError> {
        let printed = self.run("view", &["--raw", "--output=json"])?;
        serde_json::from_slice(&printed).map_err(|_| KubectlError::Unreadable)
    }

    /// Runs a command for the entry `name`.
    pub(super) fn config(&self, command: &str, flags: &[String], name: &str) -> Result<(), KubectlError> {
        let arguments: Vec<&str> = flags.iter().map(String::as_str).chain(["--", name]).collect();
        self.run(command, &arguments).map(drop)
    }

    /// Runs a command, again while another program holds the lock, and returns what it prints.
    fn run(&self, command: &str, arguments: &[&str]) -> Result<Vec<u8>, KubectlError> {
        let begin = Instant::now();
        loop {
            match self.run_once(command, arguments) {
                Err(KubectlError::Failed { reason, .. })
                    if is_locked(&reason) && begin.elapsed() < LOCK_TIMEOUT =>
                {
                    thread::sleep(LOCK_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn run_once(&self, name: &str, arguments: &[&str]) -> Result<Vec<u8>, KubectlError> {
        let mut command = Command::new(&self.program);
        if let Some(file) = &self.kubeconfig {
            let mut flag = OsString::from("--kubeconfig=");
            flag.push(file);
            command.arg(flag);
        }
        command.args(["config", name]).args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        let not_run = |source| KubectlError::NotRun { program: self.program.display().to_string(), source };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(not_run)?;
        let finished = runtime.block_on(async { timeout_at(self.deadline.into(), finish(command)).await });
        let (status, stdout, stderr) = match finished {
            Err(_) => return Err(KubectlError::TimedOut { command: name.to_owned() }),
            Ok(finished) => finished.map_err(not_run)?,
        };
        if status.success() {
            return Ok(stdout);
        }
        let mut reason = String::from_utf8_lossy(&stderr).trim().replace('\n', "; ");
        if reason.is_empty() {
            reason = status.to_string();
        }
        let reason = printable(reason.strip_prefix("error: ").unwrap_or(&reason), MAX_REASON);
        Err(KubectlError::Failed { command: name.to_owned(), reason })
    }
}

impl KubectlError {
    /// What to do about it.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::Failed { reason, .. } if reason.contains("unknown flag") => "install kubectl 1.30 or newer",
            Self::Failed { reason, .. } if is_locked(reason) => {
                "make sure that no other `kubectl` is running, and remove that file"
            }
            Self::Failed { .. } => "correct what kubectl reports, and run this command again",
            Self::NotRun { .. } | Self::TimedOut { .. } | Self::Unreadable => {
                "run `kubectl config view`, which prints the kubeconfig if kubectl works"
            }
        }
    }
}

fn is_locked(reason: &str) -> bool {
    reason.ends_with(".lock: file exists")
}

/// The exit status of the command, its standard output and its standard error.
async fn finish(mut command: Command) -> io::Result<(ExitStatus, Vec<u8>, Vec<u8>)> {
    let mut child = command.spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr, status) = tokio::join!(read(stdout), read(stderr), child.wait());
    Ok((status?, stdout?, stderr?))
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_OUTPUT).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}
