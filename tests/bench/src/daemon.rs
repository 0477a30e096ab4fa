//! Measures a daemon with many sessions: start time, memory and program sizes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use infra_harness::api::Api;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::program::built;
use infra_harness::provider::Provider;
use infra_harness::services::credential_in;
use infra_peers::postgresql::{PostgreSQL, USER};
use infra_shared::http::Trust;
use infra_shared::token_text::SessionToken;

use crate::load::{BenchRequest, Target};
use crate::population;
use crate::statistics::{milliseconds, percentile};

const STARTS: usize = 5;
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// A daemon with a populated store.
pub(crate) struct Populated {
    daemon: Daemon,
    /// Where the store is, unless in a file.
    _server: Option<PostgreSQL>,
    tokens: Vec<SessionToken>,
}

/// Measurements of its starts.
pub(crate) struct Start {
    ready: Duration,
    /// After the start and after the load.
    pub(crate) resident: Option<(Resident, Resident)>,
}

/// Resident memory in kilobytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Resident {
    all: u64,
    /// Without the pages of files, which are those of the program and of libraries.
    own: u64,
}

impl Populated {
    pub(crate) fn new(provider: &Provider, count: usize) -> Self {
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(provider)], |_| {});
        let credential = credential_in(daemon.directory());
        let server = is_on_postgresql().then(|| PostgreSQL::start().expect("an installed PostgreSQL"));
        let database = server.as_ref().map(database).unwrap_or_default();
        daemon.change(|configuration| {
            // Raise the limits, so that the load measures responses and not connection setup.
            configuration.more = format!(
                "{database}limits: {{maxRequestsPerConnection: 1000000, maxConnectionsPerAddress: 4096, maxConcurrentStreams: 100, maxMemoryBytes: 1073741824}}\n\
                 services:\n\
                 - {{name: wiki, credentials: ['{credential}'], allow: everyone, acceptSessionToken: true}}\n\
                 - {{name: prod, kind: kubernetes, credentials: ['{credential}'], allow: everyone}}\n"
            );
        });
        if server.is_some() {
            daemon.infrad(["database", "create"]).wait().expect(0);
        }
        // The first start creates the data directory, keys and certificate.
        daemon.start_again();
        daemon.stop();
        let tokens = population::fill(&daemon, provider, count);
        Self { daemon, _server: server, tokens }
    }

    /// Measures the time from process start to the first successful `GET /readyz`; median of several starts.
    pub(crate) fn measure_start(&self) -> Start {
        let api = Api::pinned(&self.daemon.parsed_origin(), self.daemon.pin());
        let mut times: Vec<Duration> = (0..STARTS)
            .map(|_| {
                let start = Instant::now();
                let _running = self.daemon.infrad(["serve"]);
                while infra_harness::api::Answered::try_of(api.request("GET", "/readyz"))
                    .map_or(true, |answered| answered.status != 204)
                {
                    assert!(start.elapsed() < START_TIMEOUT, "the daemon does not start");
                    std::thread::sleep(Duration::from_millis(1));
                }
                start.elapsed()
            })
            .collect();
        Start { ready: percentile(&mut times, 0.5), resident: None }
    }

    /// Starts the daemon and returns its resident memory.
    pub(crate) fn start(&mut self) -> Resident {
        self.daemon.start_again();
        self.resident()
    }

    pub(crate) fn resident(&self) -> Resident {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemon.process()))
            .expect("the status of a running process");
        let kilobytes = |name| {
            let value = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .expect("a line of proc_pid_status(5)");
            value.split_whitespace().next().and_then(|number| number.parse().ok()).expect("kilobytes")
        };
        Resident { all: kilobytes("VmRSS:"), own: kilobytes("RssAnon:") }
    }

    pub(crate) fn target(&self, requests: Arc<Vec<BenchRequest>>) -> Target {
        let trust = Trust::Pinned { pin: self.daemon.pin(), authorities: None };
        Target { port: self.daemon.port(), trust, process: Some(self.daemon.process()), requests }
    }

    pub(crate) fn tokens(&self) -> &[SessionToken] {
        &self.tokens
    }

    pub(crate) fn daemon(&self) -> &Daemon {
        &self.daemon
    }
}

/// Whether `INFRA_BENCH_STORE` asks for a PostgreSQL server of its own.
fn is_on_postgresql() -> bool {
    let store = std::env::var("INFRA_BENCH_STORE").unwrap_or_else(|_| "file".to_owned());
    assert!(
        ["file", "postgresql"].contains(&store.as_str()),
        "INFRA_BENCH_STORE is `file` or `postgresql`, not `{store}`"
    );
    store == "postgresql"
}

/// Creates a database, and the part of a configuration that names it.
fn database(server: &PostgreSQL) -> String {
    server.create_database("infra");
    format!(
        "database: {{kind: postgresql, hosts: ['localhost:{}'], name: infra, user: {USER}, password: 'file:{}', caFile: {}}}\n",
        server.port(),
        server.password_file().display(),
        server.authority_file().display(),
    )
}

pub(crate) fn print_sizes() {
    println!("| program | size |\n|---|---:|");
    for name in ["infra", "infrad"] {
        let bytes = built(name).metadata().expect("the program that was built").len();
        println!("| `{name}` | {}.{} MB |", bytes / 1_000_000, bytes / 100_000 % 10);
    }
}

pub(crate) fn print_starts(starts: &[(usize, Start)]) {
    println!(
        "| sessions stored | ready after | resident when idle (without files) | after the load |\n|---:|---:|---:|---:|"
    );
    let mebibytes = |kilobytes: u64| format!("{}.{} MiB", kilobytes / 1024, kilobytes * 10 / 1024 % 10);
    let memory = |Resident { all, own }| format!("{} ({})", mebibytes(all), mebibytes(own));
    for (size, start) in starts {
        let (idle, loaded) = start.resident.unwrap_or_default();
        println!("| {size} | {} | {} | {} |", milliseconds(start.ready), memory(idle), memory(loaded));
    }
}
