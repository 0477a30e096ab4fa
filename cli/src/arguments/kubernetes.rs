//! Command-line arguments of `infra kubernetes`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::ArgValueCompleter;

use super::help;
use crate::completion;

#[derive(Debug, Subcommand)]
pub enum KubernetesCommand {
    /// Add a cluster, its user and their context to the kubeconfig
    ///
    /// Runs `kubectl config`, which changes the file of `--kubeconfig`, else those of KUBECONFIG, else ~/.kube/config. Other
    /// entries stay, but `kubectl` drops comments from a file that it changes. Without `--force`, the command fails if
    /// another program made an entry of the same name. Without kubectl, it prints the entries as YAML and fails.
    #[command(after_long_help = help::shown(help::KUBERNETES_CONFIGURE))]
    Configure(Configure),

    /// Print a token for a cluster, in the format that `kubectl` expects
    ///
    /// The format is an ExecCredential of client.authentication.k8s.io/v1. The command never prompts and never opens a
    /// browser. Exit code 3 means that you need to sign in. The reported expiry is half a minute early, so that `kubectl`
    /// requests the next token in time.
    #[command(after_long_help = help::shown(help::KUBERNETES_TOKEN))]
    Token(KubernetesToken),
}

#[derive(Debug, Args)]
pub struct Configure {
    /// The cluster: the name or audience of its service in the daemon's configuration
    #[arg(value_parser = entry_name, add = ArgValueCompleter::new(completion::audiences))]
    pub cluster: String,

    /// The address of its API server
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub api_server: String,

    /// A PEM file with the certification authority of its API server, copied to the kubeconfig
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub certificate_authority: Option<PathBuf>,

    /// The kubeconfig to change
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub kubeconfig: Option<PathBuf>,

    /// Name of the context, its cluster and its user, by default the cluster's name
    #[arg(long, value_name = "NAME", value_parser = entry_name)]
    pub context: Option<String>,

    /// The namespace of the context
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Make the context the current one
    #[arg(long = "use")]
    pub r#use: bool,

    /// Replace entries of the same name that `infra` did not make
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct KubernetesToken {
    /// The cluster's service: its name or its audience
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub cluster: String,
}

/// A name that can be typed after `kubectl --context`.
fn entry_name(text: &str) -> Result<String, String> {
    let is_good = (1..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.starts_with('-');
    is_good.then(|| text.to_owned()).ok_or_else(|| "a name has no spaces, such as `prod`".to_owned())
}
