//! canaille, an OpenID provider in Python, over HTTPS with an SQLite database. The benchmark compares the
//! daemon with it.

use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::random;
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;

use infra_harness::authority::Authority;
use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

/// The client with access to introspection.
pub const CLIENT: &str = "service";
pub const CLIENT_SECRET: &str = "secret-of-the-service-of-the-tests";

const READY: Duration = Duration::from_mins(1);

/// A running server, stopped when dropped.
pub struct Canaille {
    authority: Authority,
    ports: Ports,
    token: String,
    running: Running,
}

impl Canaille {
    /// Starts canaille with a user and a token of that user. Returns `None` and reports a skip if it is not
    /// installed.
    pub fn start() -> Option<Self> {
        let program = peers::find("canaille", "bin/canaille")?.join("bin/canaille");
        let (authority, ports) = (Authority::new(), Ports::reserve(1));
        let (leaf, folder) = (authority.issue(), authority.directory().to_owned());
        let address = format!("127.0.0.1:{}", ports.all().first()?);
        let file = |name: &str| folder.join(name);
        let configuration = format!(
            "SECRET_KEY = \"{}\"\nSERVER_NAME = \"{address}\"\nPREFERRED_URL_SCHEME = \"https\"\n[CANAILLE]\nDATABASE = \
             \"sql\"\n[CANAILLE_SQL]\nDATABASE_URI = \"sqlite:///{}\"\n[CANAILLE_OIDC]\n",
            random::alphanumeric(32),
            file("canaille.sqlite").display()
        );
        std::fs::write(file("canaille.toml"), configuration).expect("its configuration");
        std::fs::write(file("server.pem"), &leaf.chain_pem).expect("its certificate");
        std::fs::write(file("server.key"), &leaf.key_pem).expect("its key");
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&program);
            command
                .args(arguments)
                .env("CONFIG", file("canaille.toml"))
                .current_dir(&folder)
                .stdin(Stdio::null());
            Running::start(command, format!("canaille {}", arguments.join(" ")), None, READY)
        };
        let token = random::alphanumeric(32);
        let now = SystemClock.now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        for arguments in [
            &["install"][..],
            &[
                "create",
                "client",
                "--client-id",
                CLIENT,
                "--client-secret",
                CLIENT_SECRET,
                "--client-name",
                CLIENT,
            ],
            &["set", "client", CLIENT, "--token-endpoint-auth-method", "client_secret_basic"],
            &[
                "create",
                "user",
                "--user-name",
                "alice",
                "--family-name",
                "Alice",
                "--formatted-name",
                "Alice",
            ],
            &[
                "create",
                "token",
                "--token-id",
                "token",
                "--access-token",
                &token,
                "--client",
                CLIENT,
                "--subject",
                "alice",
                "--type",
                "access_token",
                "--lifetime",
                "36000",
                "--issue-date",
                &now,
                "--audience",
                CLIENT,
                // Without a scope, introspection fails.
                "--scope",
                "openid",
            ],
        ] {
            command(arguments).wait().expect(0);
        }
        let mut running =
            command(&["run", "--bind", &address, "--certfile", "server.pem", "--keyfile", "server.key"]);
        let listens = wait::until(READY, || {
            assert!(running.is_running(), "canaille ended at once\n{}", running.output());
            std::net::TcpStream::connect(&address).ok()
        });
        listens.expect("canaille listens");
        Some(Self { authority, ports, token, running })
    }

    pub fn port(&self) -> u16 {
        *self.ports.all().first().expect("a port was reserved")
    }

    pub fn authority_certificate(&self) -> CertificateDer<'static> {
        self.authority.certificate()
    }

    /// A live token that [`CLIENT`] may introspect.
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Canaille {
    /// SIGTERM, because canaille's server is a child process that survives a SIGKILL of its parent.
    fn drop(&mut self) {
        if self.running.is_running() {
            self.running.signal(Signal::TERM);
            let _ = self.running.wait_for_end(READY);
        }
    }
}
