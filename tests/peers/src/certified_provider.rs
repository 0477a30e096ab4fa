//! The certified OpenID provider from npm, started from the folder in which `tests/peers` installs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use infra_shared::http;
use infra_shared::pin::Pin;
use rustls::pki_types::CertificateDer;

use infra_harness::authority::Authority;
use infra_harness::daemon::ProviderEntry;
use infra_harness::program::Running;
use infra_harness::{peers, wait};

/// The secret of its confidential clients.
pub const CLIENT_SECRET: &str = "infra-test-secret-0123456789abcdef";

/// Start timeout for a busy machine. On an idle one, the start takes a third of a second.
const READY: Duration = Duration::from_secs(45);
/// Attempts: once in thousands of starts, the provider neither became ready nor printed anything.
const STARTS: usize = 2;

/// The two shapes of Okta's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paths {
    /// A custom authorization server: `/oauth2/default/v1/authorize`.
    Custom,
    /// The organization's authorization server: `/oauth2/v1/authorize`.
    Organization,
}

/// A client that is a service; its secret is [`CLIENT_SECRET`].
pub const SERVICE: &str = "infra-service";

/// A running provider, stopped when dropped.
pub struct CertifiedProvider {
    issuer: String,
    authority: Authority,
    _running: Running,
}

impl CertifiedProvider {
    /// Starts it over HTTPS with its own CA and with sign-in pages. Returns `None` and reports a skip if it
    /// is not installed; in continuous integration (`CI=true`) that fails the test.
    #[expect(clippy::print_stderr, reason = "a start that failed must be seen")]
    pub fn start(paths: Paths) -> Option<Self> {
        let folder = peers::find("openid-provider", "node_modules")?;
        let server = folder.join("server.mjs");
        let authority = Authority::new();
        let leaf = authority.issue();
        let file = |name: &str| authority.directory().join(name);
        std::fs::write(file("server.pem"), &leaf.chain_pem).expect("the provider's certificate");
        std::fs::write(file("server.key"), &leaf.key_pem).expect("the provider's key");
        let mode = if paths == Paths::Custom { "custom" } else { "org" };
        let start = || {
            let mut command = Command::new(peers::node());
            command
                .arg(&server)
                .env("OP_PORT", "0")
                .env("OP_CERT", file("server.pem"))
                .env("OP_KEY", file("server.key"))
                .env("OP_READY", file("ready"))
                .env("OP_MODE", mode)
                .env("OP_LOGIN", "form")
                .env("OP_INACTIVE", file("inactive"))
                .current_dir(&folder)
                .stdin(Stdio::null());
            let mut running = Running::start(command, "node server.mjs".to_owned(), None, READY);
            let issuer = wait::until(READY, || {
                let ended = !running.is_running();
                let issuer = std::fs::read_to_string(file("ready")).ok();
                assert!(
                    issuer.is_some() || !ended,
                    "the certified provider ended at once\n{}",
                    running.output()
                );
                issuer
            });
            if issuer.is_none() {
                eprintln!("the certified provider did not become ready\n{}", running.output());
            }
            issuer.map(|issuer| (issuer, running))
        };
        let (issuer, running) = (0..STARTS).find_map(|_| start()).expect("it becomes ready");
        Some(Self { issuer: issuer.trim().to_owned(), authority, _running: running })
    }

    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    pub fn authority_file(&self) -> PathBuf {
        self.authority.file()
    }

    /// Returns the port, and the path of an endpoint such as `introspect`.
    pub fn endpoint(&self, name: &str) -> (u16, String) {
        let url = url::Url::parse(&format!("{}/v1/{name}", self.issuer)).expect("an endpoint's address");
        (url.port().expect("a port of loopback"), url.path().to_owned())
    }

    /// The CA certificate.
    pub fn authority_certificate(&self) -> CertificateDer<'static> {
        self.authority.certificate()
    }

    /// Gets a client credentials token (RFC 6749 §4.4) that [`SERVICE`] may introspect. Needs Okta's custom
    /// paths.
    pub fn service_token(&self) -> String {
        let trust = http::Trust::Authorities(vec![self.authority_certificate()]);
        let limits = http::Limits { connect: Duration::from_secs(3), total: Duration::from_secs(30) };
        let client = http::blocking_client(&trust, limits, true, http::Way::Direct).expect("a client");
        let request =
            client.post(format!("{}/v1/token", self.issuer)).basic_auth(SERVICE, Some(CLIENT_SECRET));
        let answer = request.form(&[("grant_type", "client_credentials")]).send().expect("an answer");
        let answer: serde_json::Value = answer.json().expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Rejects every later request on behalf of this user.
    pub fn deactivate(&self, user: &str) {
        std::fs::write(self.authority.directory().join("inactive"), user).expect("a file");
    }

    /// The CA pin for a browser that trusts this provider.
    pub fn authority_pin(&self) -> Pin {
        self.authority.pin()
    }

    /// The provider configuration of a daemon, for the client with `client_secret_basic` or
    /// `client_secret_post`.
    pub fn entry(&self, client_authentication: &str) -> ProviderEntry {
        let client = if client_authentication == "client_secret_post" { "infra-post" } else { "infra-basic" };
        ProviderEntry {
            name: "okta".to_owned(),
            kind: "okta".to_owned(),
            issuer: self.issuer.clone(),
            client_id: client.to_owned(),
            client_secret: CLIENT_SECRET.to_owned(),
            client_secret_reference: None,
            client_authentication: client_authentication.to_owned(),
            signing_algorithms: "[RS256]".to_owned(),
            allow: "everyone".to_owned(),
            authority_file: self.authority_file(),
        }
    }
}
