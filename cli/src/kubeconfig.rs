//! The entries of a cluster in the user's kubeconfig, which `kubectl config` reads and writes.

mod existing;
mod kubectl;

use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::failure::{Exit, Failure};
use existing::Existing;

pub use kubectl::{Kubectl, KubectlError};

/// The version of the protocol between client-go and its plugins.
pub const EXEC_API_VERSION: &str = "client.authentication.k8s.io/v1";
/// client-go requires it. The plugin never prompts.
const INTERACTIVE_MODE: &str = "Never";

/// A context, its cluster and its user.
#[derive(Debug)]
pub struct Entries {
    /// Of all three.
    pub name: String,
    /// The URL of the API server.
    pub server: String,
    /// The API server's CA certificates in PEM.
    pub authority: Option<Vec<u8>>,
    pub namespace: Option<String>,
    /// The plugin and its arguments.
    pub command: String,
    pub arguments: Vec<String>,
    /// A variable of the plugin, and its value; `None` removes it.
    pub variable: (&'static str, Option<String>),
    /// Makes the context the current one.
    pub is_current: bool,
    /// Replaces entries that `infra` did not make.
    pub is_forced: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("the kubeconfig has a {kind} `{name}` that `infra` did not make")]
    Foreign { kind: &'static str, name: String },
    #[error("cannot write the certification authority to a temporary file: {0}")]
    NoTemporaryFile(#[from] std::io::Error),
    #[error("kubectl did not store the certification authority of the cluster `{name}`")]
    NoAuthority { name: String },
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
}

/// Adds the entries to the kubeconfig.
///
/// The context follows what it refers to, and becomes current last: a failure leaves the current context intact.
pub fn add(kubectl: &Kubectl, entries: &Entries) -> Result<(), KubeconfigError> {
    let existing: Existing = kubectl.view()?;
    let foreign = existing.foreign(entries);
    if let Some(kind) = foreign.first().filter(|_| !entries.is_forced) {
        return Err(KubeconfigError::Foreign { kind, name: entries.name.clone() });
    }
    let is_foreign = |kind| foreign.contains(&kind);
    let config = |command, flags: &[String]| kubectl.config(command, flags, &entries.name);

    let user = entries.user();
    config("set-credentials", &user)?;
    if is_foreign(existing::USER) {
        // It may hold a token or a certificate, which client-go prefers to the plugin. Nothing is deleted before `kubectl` has
        // accepted what replaces it.
        config("delete-user", &[])?;
        config("set-credentials", &user)?;
    }
    // A pipe would be empty for a `kubectl` that reads it twice.
    let authority = entries.authority.as_deref().map(temporary_file).transpose()?;
    let cluster = entries.cluster(authority.as_ref().map(NamedTempFile::path));
    config("set-cluster", &cluster)?;
    if is_foreign(existing::CLUSTER) {
        config("delete-cluster", &[])?;
        config("set-cluster", &cluster)?;
    }
    if authority.is_some() && !kubectl.view::<Existing>()?.has_cluster(entries) {
        return Err(KubeconfigError::NoAuthority { name: entries.name.clone() });
    }
    config("set-context", &entries.context(is_foreign(existing::CONTEXT)))?;
    if entries.is_current {
        config("use-context", &[])?;
    }
    Ok(())
}

/// A file of mode 0600, deleted on drop.
fn temporary_file(contents: &[u8]) -> std::io::Result<NamedTempFile> {
    let mut file = NamedTempFile::new()?;
    file.write_all(contents)?;
    Ok(file)
}

impl Entries {
    fn user(&self) -> Vec<String> {
        let (variable, value) = &self.variable;
        let mut flags = vec![
            format!("--exec-api-version={EXEC_API_VERSION}"),
            format!("--exec-interactive-mode={INTERACTIVE_MODE}"),
            format!("--exec-command={}", self.command),
            match value {
                Some(value) => format!("--exec-env={variable}={value}"),
                None => format!("--exec-env={variable}-"),
            },
        ];
        flags.extend(self.arguments.iter().map(|argument| format!("--exec-arg={}", csv_field(argument))));
        flags
    }

    fn cluster(&self, authority: Option<&Path>) -> Vec<String> {
        let mut flags = vec![format!("--server={}", self.server)];
        if let Some(file) = authority {
            flags.push(format!("--certificate-authority={}", file.display()));
            flags.push("--embed-certs=true".to_owned());
        }
        flags
    }

    fn context(&self, is_replaced: bool) -> Vec<String> {
        let mut flags = vec![format!("--cluster={}", self.name), format!("--user={}", self.name)];
        if self.namespace.is_some() || is_replaced {
            flags.push(format!("--namespace={}", self.namespace.as_deref().unwrap_or_default()));
        }
        flags
    }

    /// A kubeconfig of these entries alone.
    pub fn to_yaml(&self) -> String {
        // A JSON text is a YAML scalar.
        let quoted = |text: &str| Value::from(text).to_string();
        let line = |key: &str, value: Option<&str>| {
            value.map(|value| format!("{key}: {}\n", quoted(value))).unwrap_or_default()
        };
        let authority = self.authority.as_ref().map(|pem| BASE64_STANDARD.encode(pem));
        let (variable, value) = &self.variable;
        let variable = value.as_ref().map(|value| {
            format!("        env: [{{name: {}, value: {}}}]\n", quoted(variable), quoted(value))
        });
        format!(
            "\
apiVersion: v1
kind: Config
clusters:
  - name: {name}
    cluster:
      server: {server}
{authority}users:
  - name: {name}
    user:
      exec:
        apiVersion: {EXEC_API_VERSION}
        interactiveMode: {INTERACTIVE_MODE}
        command: {command}
        args: {arguments}
{variable}contexts:
  - name: {name}
    context:
      cluster: {name}
      user: {name}
{namespace}{current}",
            name = quoted(&self.name),
            server = quoted(&self.server),
            authority = line("      certificate-authority-data", authority.as_deref()),
            command = quoted(&self.command),
            arguments = Value::from(self.arguments.as_slice()),
            variable = variable.unwrap_or_default(),
            namespace = line("      namespace", self.namespace.as_deref()),
            current = line("current-context", Some(self.name.as_str()).filter(|_| self.is_current)),
        )
    }
}

/// `kubectl` reads `--exec-arg` as a record of comma-separated values.
fn csv_field(text: &str) -> String {
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

impl From<KubeconfigError> for Failure {
    fn from(error: KubeconfigError) -> Self {
        let failure = Self::new(Exit::Failed, "cannot change the kubeconfig").because(&error);
        match error {
            KubeconfigError::Foreign { .. } => {
                failure.hint("choose another name with `--context`, or replace the entry with `--force`")
            }
            KubeconfigError::NoTemporaryFile(_) => {
                failure.hint("make room in the directory for temporary files")
            }
            KubeconfigError::NoAuthority { .. } => failure
                .hint("install the kubectl of kubernetes.io, and run this command again")
                .note("the current context is unchanged"),
            KubeconfigError::Kubectl(error) => {
                failure.hint(error.hint()).note("the current context is unchanged")
            }
        }
    }
}
