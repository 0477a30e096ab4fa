//! `infrad dev`: runs a daemon and a development identity provider on loopback, in a temporary directory.

use std::env;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use infra_shared::clock::SystemClock;
use infra_shared::random;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::serve::{Signals, log_start_failure, until_stopped};
use super::{Context, failure_of, user_instructions};
use crate::arguments::DEFAULT_CONFIG;
use crate::assembly::{Daemon, StartOverrides};
use crate::config::Config;
use crate::dev::{DevelopmentProvider, run_command};
use crate::failure::Failure;
use crate::logging::{self, LogLevel};
use crate::platform::{HandedSockets, temporary_directory};

const CLIENT_ID: &str = "infra-development";
const REDIRECT_PORTS: usize = 3;

/// Runs `command` and returns its status. Without a command, runs until SIGINT, SIGTERM or the end of the
/// terminal.
pub(super) async fn run(context: &Context, command: &[OsString]) -> Result<ExitCode, Failure> {
    let directory = temporary_directory("infrad-dev-").map_err(failed("create a temporary directory"))?;
    let client_secret = SecretString::from(random::alphanumeric(32));
    let credential = SecretString::from(random::alphanumeric(32));
    let redirect_uris = free_redirect_uris().map_err(failed("find free ports on loopback"))?;
    let provider = DevelopmentProvider::start(CLIENT_ID, &client_secret, &redirect_uris)
        .map_err(failed("start the development identity provider"))?;
    let mut config =
        configuration(directory.path(), &provider, [&client_secret, &credential], &redirect_uris)?;

    if !command.is_empty() {
        // Keep the log out of the command's output.
        config.log.level = LogLevel::Warn;
    }
    logging::start(config.log, context.verbosity, context.terminal)
        .map_err(|error| log_start_failure(&error))?;
    if context.config_path != Path::new(DEFAULT_CONFIG) {
        context.terminal.warn(&format!(
            "`infrad dev` has a configuration of its own and ignores {}",
            context.config_path.display()
        ));
    }
    context.terminal.warn(
        "FOR DEVELOPMENT ONLY: the identity provider of this daemon accepts anyone who claims to be alice or bob",
    );
    let (path, handed, clock) = (PathBuf::new(), HandedSockets::default(), Arc::new(SystemClock));
    let daemon = Daemon::assemble(
        config,
        path,
        handed,
        StartOverrides { new_store: true, ..StartOverrides::default() },
        clock,
    )
    .await
    .map_err(|error| failure_of("the daemon cannot start", &error))?;
    let environment = environment(directory.path(), &daemon, &credential)?;
    if command.is_empty() {
        // Without the line for users: it would store this daemon in the user's own home.
        let introduction = user_instructions::identity(daemon.public_urls(), daemon.pin());
        let signals = Signals::listen_in_terminal().map_err(failed("listen for signals"))?;
        let text = format!("{introduction}\n{}\n", instructions(&environment));
        context.terminal.data(text).map_err(|error| Failure::output(&error))?;
        return Ok(until_stopped(daemon, None, signals).await.into());
    }

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(daemon.run(async move {
        // A dropped sender means the same.
        let _ = stopped.await;
    }));
    let status = run_command(command, &environment).await.map_err(|error| {
        let program = command.first().map(|program| program.display().to_string()).unwrap_or_default();
        Failure::failed(format!("cannot run `{program}`")).because(&error)
    });
    drop(stop);
    // Only the command's status matters.
    let _ = running.await;
    Ok(ExitCode::from(status?))
}

/// A configuration with `provider`, whose issuer no file can express: it has no TLS.
fn configuration(
    directory: &Path,
    provider: &DevelopmentProvider,
    [client_secret, credential]: [&SecretString; 2],
    redirect_uris: &[String],
) -> Result<Config, Failure> {
    let directory = directory.to_str().ok_or_else(|| {
        Failure::failed("`infrad dev` cannot use its temporary directory")
            .because_text("its path is not UTF-8".to_owned())
            .hint("set `TMPDIR` to another directory")
    })?;
    let plaintext = |secret: &SecretString| format!("plaintext:{}", secret.expose_secret());
    let text = json!({
        "version": 1,
        "listen": "127.0.0.1:0",
        "dataDir": format!("{directory}/data"),
        "keys": [{"kind": "native", "config": {"path": format!("{directory}/keys/root.key")}}],
        "providers": [{
            "name": "dev",
            "kind": "oidc",
            "issuer": "https://dev.invalid",
            "clientID": CLIENT_ID,
            "clientSecret": plaintext(client_secret),
            "scopes": ["openid", "email", "profile", "groups"],
            "allow": "everyone",
        }],
        // For audience tokens: `infra token --audience demo`. The second one refuses bob.
        "services": [
            {"name": "demo", "credentials": [plaintext(credential)], "allow": "everyone"},
            {
                "name": "reports",
                "audience": "https://reports.example.com",
                "credentials": [plaintext(credential)],
                "allow": [{"provider": "dev", "groups": ["engineering"]}],
            },
        ],
    });
    let mut config: Config = text.to_string().parse().map_err(|error| {
        Failure::failed("`infrad dev` cannot use its temporary directory").because(&error)
    })?;
    for settings in &mut config.providers {
        provider.issuer().clone_into(&mut settings.issuer);
        settings.redirect_uris = redirect_uris.to_vec();
        settings.authorities = Some(Vec::new());
        settings.development = true;
    }
    Ok(config)
}

/// Environment for commands that use this daemon: its address, its fingerprint, the folder of `infra`, and what the
/// service `demo` needs.
fn environment(
    directory: &Path,
    daemon: &Daemon,
    credential: &SecretString,
) -> Result<Vec<(OsString, OsString)>, Failure> {
    // Others cannot read these files, because the directory has mode 0700.
    let (authority, credential_file) = (directory.join("ca.pem"), directory.join("demo-credential"));
    for (file, text) in
        [(&authority, daemon.authority_pem().as_str()), (&credential_file, credential.expose_secret())]
    {
        std::fs::write(file, text).map_err(failed("write to its temporary directory"))?;
    }
    let server = daemon.public_urls().first().map(ToString::to_string).unwrap_or_default();
    let mut environment: Vec<(OsString, OsString)> = vec![
        ("INFRA_HOME".into(), directory.join("infra").into()),
        ("INFRA_SERVER".into(), server.into()),
        ("INFRA_FINGERPRINT".into(), daemon.pin().to_string().into()),
        ("INFRA_DEV_CA_FILE".into(), authority.into()),
        ("INFRA_DEV_CREDENTIAL_FILE".into(), credential_file.into()),
    ];
    environment.push(("PATH".into(), path_with_own_folder()?));
    Ok(environment)
}

fn path_with_own_folder() -> Result<OsString, Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH is passed on with a folder more, not read as a setting"
    )]
    let path = env::var_os("PATH").unwrap_or_default();
    let own = env::current_exe().map_err(failed("find its own directory"))?;
    let folders = own.parent().map(Path::to_owned).into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).map_err(|error| Failure::failed("cannot extend PATH").because(&error))
}

fn instructions(environment: &[(OsString, OsString)]) -> String {
    let exports: Vec<String> = environment
        .iter()
        .map(|(name, value)| match env::split_paths(value).next().filter(|_| name == "PATH") {
            Some(own) => format!("  export PATH='{}':\"$PATH\"", own.display()),
            None => format!("  export {}='{}'", name.display(), value.display()),
        })
        .collect();
    format!(
        "\nrun this in another terminal:\n{}\n  infra login\n\nor run a single command with it: `infrad dev -- \
         COMMAND`\nstop it with Ctrl-C, which also removes its data",
        exports.join("\n")
    )
}

/// Redirect URIs on currently free ports.
fn free_redirect_uris() -> io::Result<Vec<String>> {
    // All ports stay bound until the last is chosen, so that they differ.
    let listeners = (0..REDIRECT_PORTS)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<Vec<_>>>()?;
    listeners
        .iter()
        .map(|listener| Ok(format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port())))
        .collect()
}

/// Converts an I/O error in a step of the start.
fn failed(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::failed(format!("`infrad dev` cannot {step}")).because(&error)
}
