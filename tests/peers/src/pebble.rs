//! Pebble, Let's Encrypt's ACME server for client tests, with its own name server.

mod names;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::http::{self, Limits, Trust};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use infra_harness::authority::Authority;
use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

pub use names::Names;

const READY: Duration = Duration::from_mins(1);

/// A running server, stopped when dropped.
pub struct Pebble {
    directory: TempDir,
    /// The ports of ACME and of the management API, and one without a listener.
    ports: Ports,
    authority: Authority,
    options: Options,
    program: PathBuf,
    client: Client,
    names: Names,
    running: Option<Running>,
    /// The output of earlier runs.
    log: String,
}

/// Options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    pub certificates_live: Duration,
    /// The percentage of valid nonces to reject.
    pub refused_nonces: u8,
    /// `None` opens accounts for everyone.
    pub external_account: Option<ExternalAccount>,
}

/// An operator's existing account with the CA (RFC 8555 §7.3.4).
#[derive(Debug, Clone)]
pub struct ExternalAccount {
    pub key_id: String,
    /// URL-safe Base64 without padding.
    pub hmac_key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    Directory,
    NewNonce,
    NewAccount,
    NewOrder,
    Challenge,
    Finalize,
}

impl Default for Options {
    fn default() -> Self {
        Self { certificates_live: Duration::from_hours(24 * 90), refused_nonces: 0, external_account: None }
    }
}

impl Pebble {
    /// Starts Pebble. It validates tls-alpn-01 at `validation_port` of the address from its own name server,
    /// which initially has no names.
    ///
    /// Returns `None` and reports a skip if it is not installed.
    pub fn start(validation_port: u16, options: Options) -> Option<Self> {
        let program = peers::find_program("pebble")?;
        let names = Names::start()?;
        let directory = TempDir::with_prefix("infra-pebble-").expect("a temporary directory");
        let (ports, authority) = (Ports::reserve(3), Authority::new());
        let leaf = authority.issue();
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("a file of Pebble's");
        };
        write("tls.crt", &leaf.chain_pem);
        write("tls.key", &leaf.key_pem);
        write("pebble.json", &configuration(&ports.all(), validation_port, &options).to_string());

        let limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(30) };
        let trust = Trust::Authorities(vec![authority.certificate()]);
        let client = http::blocking_client(&trust, limits, true, http::Way::Direct).expect("a client");
        let (running, log) = (None, String::new());
        let mut pebble = Self { directory, ports, authority, options, program, client, names, running, log };
        pebble.start_again();
        Some(pebble)
    }

    /// The name server, for setting names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    pub fn directory_url(&self) -> String {
        format!("https://localhost:{}/dir", self.ports.all()[0])
    }

    /// The CA of the directory's own certificate, for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// The root certificate of issued chains, as PEM. Changes with each start.
    pub fn root(&self) -> String {
        let url = format!("https://localhost:{}/roots/0", self.ports.all()[1]);
        let answer = self.client.get(url).send().and_then(reqwest::blocking::Response::error_for_status);
        answer.and_then(reqwest::blocking::Response::text).expect("Pebble tells its root")
    }

    /// The number of requests to an endpoint, in all runs.
    pub fn requests(&self, endpoint: Endpoint) -> usize {
        let line = format!("{} -> calling handler()", endpoint.line());
        self.log().lines().filter(|line_of_log| line_of_log.contains(&line)).count()
    }

    /// The number of all requests.
    pub fn all_requests(&self) -> usize {
        // The tests themselves request the root certificate.
        let is_request = |line: &&str| line.contains("-> calling handler()") && !line.contains("/roots/");
        self.log().lines().filter(is_request).count()
    }

    /// The output of all runs.
    pub fn log(&self) -> String {
        let now = self.running.as_ref().map(Running::output).unwrap_or_default();
        format!("{}{now}", self.log)
    }

    /// Kills Pebble like a crash, which loses accounts, orders and certificates.
    pub fn stop(&mut self) {
        self.log = self.log();
        self.running = None;
    }

    /// Restarts Pebble on the same ports, with another root.
    pub fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command
            .args(["-config", "pebble.json", "-dnsserver", &self.names.address()])
            .current_dir(self.directory.path())
            .env_clear()
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env("PEBBLE_WFE_NONCEREJECT", self.options.refused_nonces.to_string())
            .stdin(Stdio::null());
        let mut running = Running::start(command, "pebble".to_owned(), None, READY);
        let directory = self.directory_url();
        let ready = wait::until(READY, || {
            assert!(running.is_running(), "Pebble ended at once\n{}", running.output());
            self.client.get(&directory).send().is_ok_and(|answer| answer.status() == 200).then_some(())
        });
        assert!(ready.is_some(), "Pebble never became ready\n{}", running.output());
        self.running = Some(running);
    }
}

impl Endpoint {
    /// The endpoint's name in the log.
    fn line(self) -> &'static str {
        match self {
            Self::Directory => "GET /dir",
            Self::NewNonce => "HEAD /nonce-plz",
            Self::NewAccount => "POST /sign-me-up",
            Self::NewOrder => "POST /order-plz",
            Self::Challenge => "POST /chalZ/",
            Self::Finalize => "POST /finalize-order/",
        }
    }
}

fn configuration(ports: &[u16], validation_port: u16, options: &Options) -> Value {
    let account = options.external_account.as_ref();
    let keys = account.map_or_else(|| json!({}), |account| json!({ (&account.key_id): account.hmac_key }));
    json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{}", ports[0]),
        "managementListenAddress": format!("127.0.0.1:{}", ports[1]),
        "certificate": "tls.crt",
        "privateKey": "tls.key",
        "httpPort": ports[2],
        "tlsPort": validation_port,
        // As real CAs do: the certificate contains a revocation address.
        "ocspResponderURL": "http://ocsp.example.test",
        "externalAccountBindingRequired": account.is_some(),
        "externalAccountMACKeys": keys,
        "certificateValidityPeriod": options.certificates_live.as_secs(),
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_changes_root_and_keeps_request_log() {
        let ports = Ports::reserve(1);
        let Some(mut pebble) = Pebble::start(ports.all()[0], Options::default()) else { return };
        let root = pebble.root();
        assert!(http::authorities_from_pem(root.as_bytes()).is_ok(), "{root}");
        let before = pebble.requests(Endpoint::Directory);
        pebble.stop();
        assert!(pebble.client.get(pebble.directory_url()).send().is_err());
        pebble.start_again();
        assert_ne!(pebble.root(), root);
        assert!(pebble.requests(Endpoint::Directory) > before);
        assert_eq!(pebble.requests(Endpoint::NewOrder), 0);
    }
}
