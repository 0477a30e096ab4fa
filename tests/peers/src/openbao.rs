//! OpenBao, a real server with Vault's API, in its in-memory development mode over HTTPS.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::http::{self, Limits, Trust, Way};
use reqwest::blocking::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use infra_harness::ports::Ports;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

/// The root token.
pub const ROOT_TOKEN: &str = "root-token-of-the-tests";

const READY: Duration = Duration::from_mins(1);

/// A running server, stopped when dropped.
pub struct OpenBao {
    directory: TempDir,
    ports: Ports,
    client: Client,
    running: Option<Running>,
    program: PathBuf,
}

impl OpenBao {
    /// Starts OpenBao; `secret/` is a key-value engine of version 2. Returns `None` and reports a skip if it
    /// is not installed.
    pub fn start() -> Option<Self> {
        let program = peers::find("openbao", "bin/bao")?.join("bin/bao");
        let directory = TempDir::with_prefix("infra-openbao-").expect("a temporary directory");
        let ports = Ports::reserve(2);
        let mut running = run(&program, &directory, &ports);
        let authority = directory.path().join("vault-ca.pem");
        let pem = wait::until(READY, || {
            assert!(running.is_running(), "OpenBao ended at once\n{}", running.output());
            std::fs::read(&authority).ok().filter(|pem| pem.ends_with(b"-----END CERTIFICATE-----\n"))
        });
        let authorities = http::authorities_from_pem(&pem.expect("OpenBao makes its certificate"))
            .expect("the certificate of OpenBao");
        let limits = Limits { connect: Duration::from_secs(3), total: Duration::from_secs(30) };
        let client = http::blocking_client(&Trust::Authorities(authorities), limits, true, Way::Direct)
            .expect("a client");
        let server = Self { directory, ports, client, running: Some(running), program };
        server.wait_until_ready();
        Some(server)
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.ports.all()[0])
    }

    /// The CA certificate, for `caFile`.
    pub fn authority_file(&self) -> PathBuf {
        self.directory.path().join("vault-ca.pem")
    }

    /// Calls the API as root: `PUT` with a body, `GET` without. Fails the test on any error.
    #[track_caller]
    pub fn call(&self, path: &str, body: Option<Value>) -> Value {
        self.call_in("", path, body)
    }

    /// Like [`Self::call`], in a namespace. Waits for a new key-value engine, which answers 400 while it prepares its
    /// storage for versions.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers make it in place")]
    pub fn call_in(&self, namespace: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/v1/{path}", self.address());
        let answered = wait::until(READY, || {
            let request = match &body {
                Some(body) => self.client.put(&url).json(body),
                None => self.client.get(&url),
            };
            let request = request.header("x-vault-token", ROOT_TOKEN).header("x-vault-namespace", namespace);
            let answer = request.send().unwrap_or_else(|error| panic!("{path}: {error}"));
            let (status, text) = (answer.status(), answer.text().unwrap_or_default());
            (!text.contains("Upgrading from non-versioned to versioned data")).then_some((status, text))
        });
        let (status, text) = answered.unwrap_or_else(|| panic!("{path}: the engine is never ready"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Logs in with a signed token at `auth/jwt`. Returns `None` if OpenBao refuses the token.
    pub fn try_log_in(&self, role: &str, token: &str) -> Option<Value> {
        let url = format!("{}/v1/auth/jwt/login", self.address());
        let answer = self.client.put(url).json(&json!({ "role": role, "jwt": token })).send();
        let answer = answer.expect("OpenBao answers").error_for_status().ok()?;
        Some(answer.json().expect("JSON"))
    }

    /// Creates a token with a policy of these rules and this lifetime.
    pub fn token(&self, rules: &str, lifetime: &str) -> String {
        let name = format!("policy-{}", infra_shared::random::alphanumeric(8).to_lowercase());
        self.call(&format!("sys/policies/acl/{name}"), Some(json!({ "policy": rules })));
        let request = json!({ "policies": [name], "ttl": lifetime, "no_parent": true });
        let answer = self.call("auth/token/create", Some(request));
        answer["auth"]["client_token"].as_str().expect("a token").to_owned()
    }

    /// Seals the server, which then rejects every request.
    pub fn seal(&self) {
        self.call("sys/seal", Some(json!({})));
    }

    /// Kills the server like a crash, which loses its in-memory data.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Restarts the server on the same port, without data.
    pub fn start_again(&mut self) {
        self.running = Some(run(&self.program, &self.directory, &self.ports));
    }

    fn wait_until_ready(&self) {
        let health = format!("{}/v1/sys/health", self.address());
        let is_ready = || self.client.get(&health).send().is_ok_and(|answer| answer.status() == 200);
        let ready = wait::until(READY, || is_ready().then_some(()));
        assert!(ready.is_some(), "OpenBao never became ready");
    }
}

fn run(program: &std::path::Path, directory: &TempDir, ports: &Ports) -> Running {
    let mut command = Command::new(program);
    command
        .args(["server", "-dev", "-dev-no-store-token", "-dev-tls"])
        .arg(format!("-dev-root-token-id={ROOT_TOKEN}"))
        .arg(format!("-dev-listen-address=127.0.0.1:{}", ports.all()[0]))
        .arg(format!("-dev-tls-cert-dir={}", directory.path().display()))
        .env_clear()
        .env("HOME", directory.path())
        .stdin(Stdio::null());
    Running::start(command, "bao server".to_owned(), None, READY)
}
