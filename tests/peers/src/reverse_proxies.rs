//! The real reverse proxies of `docs/proxies.md`, run with the configurations from that page.

mod client;
mod documentation;
mod echo;
mod http2;
pub mod spellings;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

pub use client::{Answer, Connection};
pub use documentation::File;
pub use echo::{EchoService, Received};
pub use http2::{Outcome, Stream};

use infra_harness::authority::Authority;
use infra_harness::peers;
use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::wait;

/// The host name of the service behind each proxy.
pub const HOST: &str = "echo.example.com";
/// The host name of the daemon for the proxies.
pub const DAEMON: &str = "infra.example.com";

/// Start timeout; every proxy was ready within a second.
const READY: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    Traefik,
    Envoy,
}

/// A running proxy in front of a service, stopped when dropped.
pub struct ReverseProxy {
    kind: Kind,
    ports: Ports,
    authority: Authority,
    running: Running,
    _directory: TempDir,
}

/// The authorization server of a proxy: the daemon, or a fake of it.
#[derive(Debug, Clone, Copy)]
pub struct AuthServer<'a> {
    pub port: u16,
    /// The CA certificate that the proxy trusts.
    pub authority: &'a Path,
}

impl Kind {
    pub fn all() -> [Self; 4] {
        [Self::Nginx, Self::Caddy, Self::Traefik, Self::Envoy]
    }

    /// The heading of its configuration on the page.
    fn heading(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Traefik => "Traefik",
            Self::Envoy => "Envoy",
        }
    }

    /// The command line, with the configuration in `directory`. Returns `None` and reports a skip if the
    /// proxy is not installed.
    fn command(self, directory: &Path) -> Option<Command> {
        let installed = |name: &str| Some(peers::find(name, &format!("bin/{name}"))?.join("bin").join(name));
        let mut command = match self {
            Self::Nginx => Command::new(peers::find_file("/usr/sbin/nginx")?),
            Self::Caddy => Command::new(installed("caddy")?),
            Self::Traefik => Command::new(installed("traefik")?),
            Self::Envoy => Command::new(installed("envoy")?),
        };
        let file = |name: &str| directory.join(name);
        match self {
            Self::Nginx => {
                command.arg("-p").arg(directory).args(["-e", "stderr", "-c"]).arg(file("nginx.conf"))
            }
            Self::Caddy => command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file("Caddyfile")),
            Self::Traefik => command.arg("--configFile").arg(file("traefik.yaml")),
            Self::Envoy => command
                .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "warning", "-c"])
                .arg(file("envoy.yaml")),
        };
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", directory)
            .current_dir(directory)
            .stdin(Stdio::null());
        Some(command)
    }
}

impl ReverseProxy {
    /// Starts the proxy as in `docs/proxies.md`. Returns `None` and reports a skip if it is not installed.
    pub fn start(kind: Kind, auth_server: AuthServer<'_>, service: &EchoService) -> Option<Self> {
        Self::start_with(kind, auth_server, service, |_| {})
    }

    /// Like [`Self::start`], with a change to the configuration text.
    pub fn start_with(
        kind: Kind,
        auth_server: AuthServer<'_>,
        service: &EchoService,
        change: impl Fn(&mut File),
    ) -> Option<Self> {
        let directory = TempDir::with_prefix("infra-reverse-proxy-").expect("a temporary directory");
        let command = kind.command(directory.path())?;
        let (ports, authority) = (Ports::reserve(1), Authority::new());
        let leaf = authority.issue_like_public_ca(&[HOST]);
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text);
        write("echo.pem", &leaf.chain_pem).expect("the certificate of the proxy");
        write("echo.key", &leaf.key_pem).expect("its key");
        let place = documentation::Place {
            directory: directory.path(),
            port: ports.all()[0],
            auth_server,
            service: service.port(),
        };
        for mut file in documentation::files(kind) {
            change(&mut file);
            let (name, text) = place.fill(kind, &file);
            write(&name, &text).expect("its configuration");
        }
        let running = Running::start(command, kind.heading().to_owned(), None, READY);
        let mut proxy = Self { kind, ports, authority, running, _directory: directory };
        proxy.wait_until_ready();
        Some(proxy)
    }

    /// Opens a TLS connection with HTTP/1.1 for arbitrary bytes.
    pub fn connect(&self) -> Connection {
        self.try_connect().unwrap_or_else(|error| panic!("{:?}: {error}\n{}", self.kind, self.output()))
    }

    /// Opens a TLS connection with HTTP/2 and one stream.
    pub fn connect_http2(&self) -> Stream {
        let connection = client::dial(self.ports.all()[0], self.authority.certificate(), &[b"h2"]);
        Stream::over(connection.unwrap_or_else(|error| panic!("{:?}: {error}\n{}", self.kind, self.output())))
    }

    /// All output so far.
    pub fn output(&self) -> String {
        self.running.output()
    }

    fn try_connect(&self) -> std::io::Result<Connection> {
        let stream = client::dial(self.ports.all()[0], self.authority.certificate(), &[b"http/1.1"])?;
        Ok(Connection::over(stream))
    }

    /// Traefik responds with 404 until it has read its routes.
    fn wait_until_ready(&mut self) {
        let ready = wait::until(READY, || {
            assert!(self.running.is_running(), "{:?} ended at once\n{}", self.kind, self.running.output());
            let mut connection = self.try_connect().ok()?;
            let answer = connection.ask(format!("GET /ready HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes())?;
            (answer.status != 404).then_some(())
        });
        assert!(ready.is_some(), "{:?} never became ready\n{}", self.kind, self.running.output());
    }
}
