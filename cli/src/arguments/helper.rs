//! Command-line arguments of `infra helper`.

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;
use infra_shared::origin::Origin;

use super::help;
use crate::completion;

#[derive(Debug, Subcommand)]
pub enum HelperCommand {
    /// Answer git: a credential helper for git servers
    ///
    /// git runs it and adds the operation. From git 2.46 on, git sends the token as `Authorization: Bearer`, unless the
    /// server asks only for other schemes. Otherwise git sends it as a password. If there is no token, git ends without a
    /// prompt.
    #[command(after_long_help = help::shown(help::HELPER_GIT))]
    Git(GitHelper),

    /// Answer Docker, Podman and Skopeo: a credential helper for registries
    ///
    /// The tools run a program named `docker-credential-NAME`: create one that runs this command, and name it in
    /// `credHelpers`. They send the token as a password. The helper stores nothing, so `docker login` fails: run `infra
    /// login`.
    #[command(after_long_help = help::shown(help::HELPER_DOCKER))]
    Docker(DockerHelper),

    /// Answer Bazel and other build tools: a credential helper for caches and downloads
    ///
    /// Bazel runs a program without arguments of its own: create one that runs this command, and name it with
    /// `--credential_helper`. Bazel sends the token as `Authorization: Bearer`.
    #[command(after_long_help = help::shown(help::HELPER_BAZEL))]
    Bazel(BazelHelper),
}

/// The service whose token a helper gives away, and where.
#[derive(Debug, Args)]
pub struct Binding {
    /// The service's audience, or its name
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(completion::audiences))]
    pub audience: String,

    /// A host that gets the token, over https: `host` or `host:port`. Repeat it for more
    #[arg(long = "host", value_name = "HOST", required = true)]
    pub hosts: Vec<Origin>,
}

#[derive(Debug, Args)]
pub struct GitHelper {
    #[command(flatten)]
    pub binding: Binding,

    /// The user name that goes with the token as a password
    #[arg(long, value_name = "NAME", default_value = "infra", value_parser = user_name)]
    pub username: String,

    /// What git asks for: `get`. Others do nothing
    pub operation: String,
}

#[derive(Debug, Args)]
pub struct DockerHelper {
    #[command(flatten)]
    pub binding: Binding,

    /// The user name that goes with the token as a password
    #[arg(long, value_name = "NAME", default_value = "infra", value_parser = user_name)]
    pub username: String,

    /// What the tool asks for
    #[arg(value_enum)]
    pub operation: DockerOperation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DockerOperation {
    /// Print the token for the server on standard input
    Get,
    /// Fail: there is nothing to store
    Store,
    /// Do nothing: nothing is stored
    Erase,
    /// Print the hosts
    List,
}

#[derive(Debug, Args)]
pub struct BazelHelper {
    #[command(flatten)]
    pub binding: Binding,

    /// What the tool asks for
    #[arg(value_enum)]
    pub operation: BazelOperation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BazelOperation {
    /// Print the headers for the URI on standard input
    Get,
}

/// A user name for Basic authentication (RFC 7617 §2), which must fit in a line. Docker gives names in angle brackets a
/// meaning.
fn user_name(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b":<>".contains(&byte);
    let is_good = (1..=255).contains(&text.len()) && text.bytes().all(is_plain);
    is_good.then(|| text.to_owned()).ok_or_else(|| "a user name has no spaces and no `:<>`".to_owned())
}
