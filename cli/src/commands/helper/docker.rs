//! `infra helper docker`: a credential helper for Docker, Podman and Skopeo.
//!
//! github.com/docker/docker-credential-helpers, `credentials/` and `client/`: the tool runs `docker-credential-NAME` with an
//! action, and writes to its standard input. The helper answers on standard output, and exits with 0. On failure it exits
//! with another code, and writes the message to standard output too. Standard error goes to the user.
//!
//! - `get`: the input is the server as it is configured, `host[:port]` or a URL. The answer is an object with `ServerURL`,
//!   `Username` and `Secret`. For an unknown server the message is `credentials not found in native keychain`, and for an
//!   empty input `no credentials server URL`. The tool compares both messages: after the first one it goes on without
//!   credentials.
//! - `list`: the answer is an object from server to user name.
//! - `store` (the input is an object as above) fails, because a password would have no use.
//! - `erase` does nothing, because nothing is stored. Skopeo 1.9 crashes if it fails.
//!
//! The secret becomes the password of Basic authentication, at the registry or at the token service that it names. A user
//! name in angle brackets would have another meaning; the arguments allow none.

use std::collections::BTreeMap;

use infra_shared::origin::Origin;
use serde::Serialize;

use super::request::{self, Asked, malformed};
use crate::arguments::{DockerHelper, DockerOperation};
use crate::commands::Context;
use crate::failure::{Exit, Failure};

const NOT_FOUND: &str = "credentials not found in native keychain\n";
const NO_SERVER: &str = "no credentials server URL\n";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials<'a> {
    #[serde(rename = "ServerURL")]
    server_url: &'a str,
    username: &'a str,
    secret: &'a str,
}

pub(super) fn run(context: &Context, arguments: &DockerHelper) -> Result<Exit, Failure> {
    let done = match arguments.operation {
        DockerOperation::Get => get(context, arguments),
        DockerOperation::List => list(context, arguments),
        DockerOperation::Store => Err(Failure::failed("`infra` stores no password for a registry")
            .hint("`infra login` instead of a login with this tool; then pull or push")),
        DockerOperation::Erase => {
            context.terminal.warn("nothing is stored for this registry; `infra logout` signs you out");
            Ok(Exit::Done)
        }
    };
    if let Err(failure) = &done {
        context.terminal.data(&format!("{}\n", failure.line()))?;
    }
    done
}

fn get(context: &Context, arguments: &DockerHelper) -> Result<Exit, Failure> {
    let input = request::read()?;
    let server = std::str::from_utf8(&input).map_err(|_| malformed("it is not UTF-8"))?.trim_ascii();
    if server.is_empty() {
        context.terminal.data(NO_SERVER)?;
        return Ok(Exit::Failed);
    }
    if bound(&arguments.binding.hosts, server)?.is_none() {
        context.terminal.data(NOT_FOUND)?;
        return Ok(Exit::Failed);
    }
    let valid = super::token(context, &arguments.binding)?;
    context.terminal.json(&Credentials {
        server_url: server,
        username: &arguments.username,
        secret: valid.token.expose(),
    })?;
    Ok(Exit::Done)
}

/// Returns the bound host of `server`. Without a scheme, the tool uses https.
fn bound<'a>(hosts: &'a [Origin], server: &str) -> Result<Option<&'a Origin>, Failure> {
    let Asked { scheme, authority } = request::split(server)?;
    match request::bound(hosts, authority)? {
        Some(host) if scheme.is_some_and(|scheme| !scheme.eq_ignore_ascii_case("https")) => {
            Err(request::unencrypted(host))
        }
        host => Ok(host),
    }
}

fn list(context: &Context, arguments: &DockerHelper) -> Result<Exit, Failure> {
    let servers = arguments.binding.hosts.iter().map(request::name);
    let listed: BTreeMap<String, &str> =
        servers.map(|server| (server, arguments.username.as_str())).collect();
    context.terminal.json(&listed)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_bound_with_or_without_https() {
        let hosts = ["registry.test:5000", "registry.test"].map(|host| host.parse().expect("a host"));
        let found = |server: &str| bound(&hosts, server).ok().map(|host| host.map(request::name));
        for server in [
            "registry.test",
            "https://registry.test",
            "https://registry.test/v2/",
            "HTTPS://REGISTRY.test/x?y",
        ] {
            assert_eq!(found(server), Some(Some("registry.test".to_owned())), "{server}");
        }
        assert_eq!(found("registry.test:5000"), Some(Some("registry.test:5000".to_owned())));
        for server in [
            "evil.test",
            "evil.test/registry.test",
            "https://evil.test#registry.test",
            "registry.test:5001",
            "/registry.test",
        ] {
            assert_eq!(found(server), Some(None), "{server}");
        }
        for server in [
            "http://registry.test",
            "tcp://registry.test",
            "https://a@registry.test",
            "https://registry.test@evil.test",
            "https://evil.test\\@registry.test",
            "registry.test.",
            "registry.test evil.test",
            "registry.test\nevil.test",
            "registry.test\0",
        ] {
            assert_eq!(found(server), None, "{server:?}");
        }
    }
}
