//! A daemon with a public name and a certificate issued by Pebble.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::pebble::{Options, Pebble};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::handshake::{self, Presented};
use infra_harness::load::Target;
use infra_harness::provider::Provider;
use infra_harness::view::View;
use infra_harness::wait;

/// The host name that users type.
pub const NAME: &str = "infra.example.test";

/// Time limit of an order on a busy machine. The daemon looks at least once a minute if the name resolves to it.
const ISSUED: Duration = Duration::from_mins(3);

/// The daemon, its provider, its CA, and a view of the machine in which its name resolves.
pub struct PublicDaemon {
    pub daemon: Daemon,
    pub provider: Provider,
    pub pebble: Pebble,
    pub view: Arc<View>,
}

impl PublicDaemon {
    /// Starts a daemon that is reachable by name and has its certificate. Returns `None` and reports a skip
    /// if this machine does not support that.
    pub fn start(options: Options) -> Option<Self> {
        let mut public = Self::prepare(options, "")?;
        public.set_address("127.0.0.1");
        public.daemon.start_again();
        public.wait_for_certificate();
        Some(public)
    }

    /// Prepares a daemon that does not run yet, with an unresolvable name. Appends `more` to `tls.acme`
    /// (`selfCheck: false`).
    pub fn prepare(options: Options, more: &str) -> Option<Self> {
        let (view, provider) = (Arc::new(View::new()?), Provider::start());
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
        let pebble = Pebble::start(daemon.port(), options)?;
        let acme = settings(&pebble.directory_url(), &pebble.authority_file(), daemon.port(), more);
        let url = format!("https://{NAME}:{}", daemon.port());
        daemon.change(|configuration| {
            configuration.public_urls.insert(0, url);
            configuration.more = acme;
        });
        daemon.set_view(&view);
        Some(Self { daemon, provider, pebble, view })
    }

    /// Sets the address of the name, for the CA and for the daemon.
    pub fn set_address(&self, address: &str) {
        self.pebble.names().set(NAME, address);
        self.view.resolve(&[(NAME, address)]);
    }

    /// The address for users.
    pub fn server(&self) -> String {
        format!("{NAME}:{}", self.daemon.port())
    }

    /// Returns what the daemon presents for a name. Fails the test if the handshake fails.
    #[track_caller]
    pub fn presented_for(&self, name: &str) -> Presented {
        let shown = handshake::tls_handshake(self.daemon.port(), name, &["http/1.1"]);
        shown.unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.daemon.log()))
    }

    /// Waits until the daemon serves a certificate of Pebble's.
    #[track_caller]
    pub fn wait_for_certificate(&self) -> Presented {
        let root = self.pebble.root();
        let issued = wait::until(ISSUED, || {
            let shown = handshake::tls_handshake(self.daemon.port(), NAME, &["http/1.1"]).ok()?;
            shown.verify(&root, NAME).is_ok().then_some(shown)
        });
        issued.unwrap_or_else(|| {
            panic!("no certificate was issued\n{}\n{}", self.daemon.log(), self.pebble.log())
        })
    }

    /// The target of a load.
    pub fn target(&self) -> Target {
        Target { port: self.daemon.port(), name: NAME.to_owned(), roots: self.pebble.root() }
    }

    /// Makes the daemon run pending retries now.
    pub fn retry_now(&self) {
        retry_now(&self.daemon);
    }

    /// Returns the ACME certificates from `infrad status`.
    #[track_caller]
    pub fn status(&self) -> Value {
        status(&self.daemon, "acme")
    }
}

/// Makes a daemon reload its files and run pending retries now.
pub fn retry_now(daemon: &Daemon) {
    let process = i32::try_from(daemon.process()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(process.expect("a process"), Signal::HUP).expect("it runs");
}

/// Returns the certificates of a source from `infrad status`.
#[track_caller]
pub fn status(daemon: &Daemon, source: &str) -> Value {
    let ran = daemon.infrad(["status", "--json"]).wait().expect(0);
    let certificates = ran.json()["certificates"].as_array().cloned().unwrap_or_default();
    let found = certificates.into_iter().find(|certificate| certificate["source"] == source);
    found.unwrap_or_else(|| panic!("nothing is told of {source}\n{ran}"))
}

/// The `tls` section of a configuration with a certificate for [`NAME`] from this directory.
pub fn settings(directory: &str, authority: &Path, validation_port: u16, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "tls: {{acme: {{domains: [{NAME}], directory: \"{directory}\", contact: [\"mailto:ops@example.com\"], caFile: \
         {}, validationPort: {validation_port}{more}}}}}\n",
        authority.display()
    )
}
