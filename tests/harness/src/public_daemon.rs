//! A daemon with a public name, for which Pebble issues its certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, ProviderEntry};
use crate::handshake::{self, Shown};
use crate::load::Target;
use crate::pebble::{Options, Pebble};
use crate::provider::Provider;
use crate::view::View;
use crate::wait;

/// What users type, without the port.
pub const NAME: &str = "infra.example.test";

/// No order takes longer on a busy machine.
const ISSUED: Duration = Duration::from_mins(1);

/// The daemon, its provider, its authority, and the view of the machine in which its name leads to it.
pub struct PublicDaemon {
    pub daemon: Daemon,
    pub provider: Provider,
    pub pebble: Pebble,
    pub view: Arc<View>,
}

impl PublicDaemon {
    /// Runs, reachable under its name, and has its certificate. `None`, said loudly, where this machine cannot do that.
    pub fn start(options: Options) -> Option<Self> {
        let mut public = Self::prepare(options, "")?;
        public.lead_to("127.0.0.1");
        public.daemon.start_again();
        public.wait_for_certificate();
        Some(public)
    }

    /// Does not run yet, and its name leads nowhere. `more` is added to `tls.acme` (`selfCheck: false`).
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
        daemon.live_in(&view);
        Some(Self { daemon, provider, pebble, view })
    }

    /// The name has this address from now on, for the authority and for the daemon.
    pub fn lead_to(&self, address: &str) {
        self.pebble.names().set(NAME, address);
        self.view.resolve(&[(NAME, address)]);
    }

    /// The address that users are given.
    pub fn server(&self) -> String {
        format!("{NAME}:{}", self.daemon.port())
    }

    /// What is served for a name; no handshake fails the test.
    #[track_caller]
    pub fn shown_for(&self, name: &str) -> Shown {
        let shown = handshake::shake_hands(self.daemon.port(), name, &["http/1.1"]);
        shown.unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.daemon.log()))
    }

    /// Waits until a certificate of Pebble's is served.
    #[track_caller]
    pub fn wait_for_certificate(&self) -> Shown {
        let root = self.pebble.root();
        let issued = wait::until(ISSUED, || {
            let shown = handshake::shake_hands(self.daemon.port(), NAME, &["http/1.1"]).ok()?;
            shown.verify(&root, NAME).is_ok().then_some(shown)
        });
        issued.unwrap_or_else(|| {
            panic!("no certificate was issued\n{}\n{}", self.daemon.log(), self.pebble.log())
        })
    }

    /// Whom a load asks.
    pub fn target(&self) -> Target {
        Target { port: self.daemon.port(), name: NAME.to_owned(), roots: self.pebble.root() }
    }

    /// Has it try at once what it would try later.
    pub fn hurry(&self) {
        hurry(&self.daemon);
    }

    /// What `infrad status` tells of the certificates by ACME.
    #[track_caller]
    pub fn status(&self) -> Value {
        status(&self.daemon, "acme")
    }
}

/// Has a daemon read its files anew, and try at once what it would try later.
pub fn hurry(daemon: &Daemon) {
    let process = i32::try_from(daemon.process()).ok().and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(process.expect("a process"), Signal::HUP).expect("it runs");
}

/// What `infrad status` tells of the certificates of a source.
#[track_caller]
pub fn status(daemon: &Daemon, source: &str) -> Value {
    let told = daemon.infrad(["status", "--json"]).wait().expect(0);
    let certificates = told.json()["certificates"].as_array().cloned().unwrap_or_default();
    let found = certificates.into_iter().find(|certificate| certificate["source"] == source);
    found.unwrap_or_else(|| panic!("nothing is told of {source}\n{told}"))
}

/// `tls` of a configuration that has [`NAME`] certified at this directory.
pub fn settings(directory: &str, authority: &Path, validation_port: u16, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "tls: {{acme: {{domains: [{NAME}], directory: \"{directory}\", contact: [\"mailto:ops@example.com\"], caFile: \
         {}, validationPort: {validation_port}{more}}}}}\n",
        authority.display()
    )
}
