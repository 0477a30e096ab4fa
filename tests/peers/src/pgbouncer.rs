//! PgBouncer in transaction mode, from the machine's package: between daemons and a server, with TLS and SCRAM on both sides.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};
use tempfile::TempDir;

use crate::postgresql::{PASSWORD, PostgreSQL, USER, owner};

const LIMIT: Duration = Duration::from_secs(30);

/// A running pooler, stopped when dropped.
pub struct PgBouncer {
    ports: Ports,
    running: Running,
    _directory: TempDir,
}

impl PgBouncer {
    /// Starts a pooler that shares `connections` of the database among all clients. Its certificate is of the server's CA.
    /// Returns `None` and reports a skip if it is not installed.
    pub fn start(server: &PostgreSQL, database: &str, connections: u16) -> Option<Self> {
        let program = peers::find_file("/usr/sbin/pgbouncer")?;
        let directory = TempDir::with_prefix("infra-pgbouncer-").expect("a temporary directory");
        let (ports, own) = (Ports::reserve(1), directory.path());
        let leaf = server.authority().issue();
        let configuration = format!(
            "[databases]\n\
             {database} = host=localhost port={} dbname={database}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {own}/users\n\
             pool_mode = transaction\n\
             default_pool_size = {connections}\n\
             max_client_conn = 500\n\
             server_login_retry = 1\n\
             query_wait_timeout = 2\n\
             client_tls_sslmode = require\n\
             client_tls_cert_file = {own}/pooler.pem\n\
             client_tls_key_file = {own}/pooler.key\n\
             server_tls_sslmode = verify-full\n\
             server_tls_ca_file = {own}/ca.pem\n",
            server.port(),
            ports.all()[0],
            own = own.display(),
        );
        let authority = fs::read_to_string(server.authority_file()).expect("the CA's file");
        let give = |path: &Path| chown(path, owner(), owner()).expect("root may give files away");
        for (name, contents) in [
            ("pgbouncer.ini", configuration),
            ("users", format!("\"{USER}\" \"{PASSWORD}\"\n")),
            ("pooler.pem", leaf.chain_pem),
            ("pooler.key", leaf.key_pem),
            ("ca.pem", authority),
        ] {
            let path = own.join(name);
            fs::write(&path, contents).expect("our own directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
            give(&path);
        }
        give(own);
        let mut command = Command::new(program);
        command.arg(own.join("pgbouncer.ini")).env_clear().current_dir(own).stdin(Stdio::null());
        if let Some(owner) = owner() {
            command.uid(owner).gid(owner);
        }
        let running = Running::start(command, "pgbouncer".to_owned(), None, LIMIT);
        let mut pooler = Self { ports, running, _directory: directory };
        pooler.wait_until_ready();
        Some(pooler)
    }

    pub fn port(&self) -> u16 {
        self.ports.all()[0]
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.running.output()
    }

    fn wait_until_ready(&mut self) {
        let address = ("127.0.0.1", self.port());
        let ready = wait::until(LIMIT, || {
            assert!(self.running.is_running(), "PgBouncer ended at once\n{}", self.running.output());
            std::net::TcpStream::connect(address).ok()
        });
        assert!(ready.is_some(), "PgBouncer never listens\n{}", self.running.output());
    }
}
