//! `kubectl`, for running commands as a user, and for reading files as an API server does (both use
//! client-go).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

use infra_harness::peers;
use infra_harness::program::{Ran, Running, User};

/// Timeout for a busy machine; usually `kubectl` answers within a second.
const LIMIT: Duration = Duration::from_mins(1);
const PEER: &str = "kubernetes-tools";
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A server, its CA and the client's credential.
pub(super) struct Webhook {
    pub(super) server: Url,
    pub(super) authority: PathBuf,
    pub(super) token: String,
}

/// The folder of the installed programs.
#[derive(Debug, Clone)]
pub struct Kubectl {
    folder: PathBuf,
}

impl Kubectl {
    /// Finds `kubectl`. Returns `None` and reports a skip if it is not installed.
    pub fn find() -> Option<Self> {
        peers::find(PEER, "kubectl").map(|folder| Self { folder })
    }

    /// A `PATH` that includes it.
    pub fn path(&self) -> String {
        format!("{}:{PATH}", self.folder.display())
    }

    /// Starts it as `user`, with these extra variables.
    pub fn start(&self, user: &User, words: &[&str], variables: &[(&str, &OsStr)]) -> Running {
        self.start_tool("kubectl", user, words, variables)
    }

    /// Runs it as `user`.
    pub fn run(&self, user: &User, words: &[&str]) -> Ran {
        self.start(user, words, &[]).wait()
    }

    /// Runs `helm`, which is installed in the same folder.
    pub fn run_helm(&self, user: &User, words: &[&str]) -> Ran {
        self.start_tool("helm", user, words, &[]).wait()
    }

    fn start_tool(&self, tool: &str, user: &User, words: &[&str], variables: &[(&str, &OsStr)]) -> Running {
        let mut command = self.command(tool, user.home());
        command.args(words).env("INFRA_HOME", user.infra_home()).envs(variables.iter().copied());
        Running::start(command, format!("{tool} {}", words.join(" ")), None, LIMIT)
    }

    /// Requests a path of the server in a kubeconfig, with client-go's reading of the file.
    pub fn get(&self, kubeconfig: &Path, path: &str) -> Ran {
        let server = self.read_kubeconfig(kubeconfig).server.origin().ascii_serialization();
        self.run_with(kubeconfig, &["--server", &server, "get", "--raw", path], String::new())
    }

    /// Returns client-go's reading of a kubeconfig.
    pub(super) fn read_kubeconfig(&self, kubeconfig: &Path) -> Webhook {
        let words = ["config", "view", "--raw", "--minify", "--output", "json"];
        let view = self.run_with(kubeconfig, &words, String::new()).expect(0).json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("incomplete: {view}")).to_owned();
        let (cluster, user) = (&view["clusters"][0]["cluster"], &view["users"][0]["user"]);
        Webhook {
            server: text(&cluster["server"]).parse().expect("a URL"),
            authority: PathBuf::from(text(&cluster["certificate-authority"])),
            token: text(&user["token"]),
        }
    }

    /// Parses a YAML manifest.
    pub(super) fn read_manifest(&self, manifest: &str) -> Value {
        let nowhere = Path::new("/dev/null");
        let words = ["label", "--local", "--output", "json", "--filename", "-", "is=read"];
        self.run_with(nowhere, &words, manifest.to_owned()).expect(0).json()
    }

    fn run_with(&self, kubeconfig: &Path, words: &[&str], input: String) -> Ran {
        let home = TempDir::with_prefix("infra-kubectl-").expect("a temporary directory");
        let mut command = self.command("kubectl", home.path());
        command.arg("--kubeconfig").arg(kubeconfig).args(words).stdin(std::process::Stdio::piped());
        let name = format!("kubectl {}", words.join(" "));
        Running::start(command, name, Some(input.into_bytes()), LIMIT).wait()
    }

    fn command(&self, tool: &str, home: &Path) -> Command {
        let mut command = Command::new(self.folder.join(tool));
        command
            .env_clear()
            .env("PATH", PATH)
            .env("HOME", home)
            .env("LANG", "C.UTF-8")
            .current_dir(home)
            .stdin(std::process::Stdio::null());
        command
    }
}
