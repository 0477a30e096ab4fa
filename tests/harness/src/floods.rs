//! What floods of a daemon need: connections from many addresses of loopback, honest users who go on meanwhile, and figures.

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use infra_shared::http::{Trust, client_config};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::daemon::Daemon;
use crate::login;
use crate::provider::Provider;

/// Longer than anything takes that is not to be waited for.
pub const BOUND: Duration = Duration::from_mins(1);

#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub connector: TlsConnector,
}

impl Target {
    pub fn of(daemon: &Daemon, protocol: &str) -> Self {
        let trust = Trust::Pinned { pin: daemon.pin(), authorities: None };
        let mut config = client_config(&trust, false).expect("a configuration");
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        // Each handshake is a whole one.
        config.resumption = Resumption::disabled();
        Self {
            address: (Ipv4Addr::LOCALHOST, daemon.port()).into(),
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    pub async fn connect(&self, from: Ipv4Addr) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_reuseaddr(true).ok()?;
        socket.bind((from, 0).into()).ok()?;
        tokio::time::timeout(BOUND, socket.connect(self.address)).await.ok()?.ok()
    }

    pub async fn shake_hands(&self, from: Ipv4Addr) -> Option<TlsStream<TcpStream>> {
        let stream = self.connect(from).await?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        tokio::time::timeout(BOUND, self.connector.connect(name, stream)).await.ok()?.ok()
    }
}

/// The number-th address of a network of loopback of its own.
pub fn address(group: u8, number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("fewer addresses");
    Ipv4Addr::from_bits(Ipv4Addr::new(127, group, 0, 1).to_bits() + number)
}

/// Resident memory of a process in MiB.
pub fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_ascii_whitespace().nth(1).expect("a size").parse::<u64>().expect("a number") / 1024
}

/// Seconds of the processor that a process has used.
pub fn processor(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().collect();
    fields.iter().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum::<u64>() / 100
}

pub fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").metadata().expect("a file").len()).sum()
}

/// What honest users saw.
#[derive(Default)]
pub struct Seen {
    pub validations: Vec<Duration>,
    pub failed_validations: usize,
    pub logins: usize,
    pub failed_logins: usize,
}

impl Seen {
    /// The time that 99 of 100 validations took no longer than.
    pub fn p99(&mut self) -> Duration {
        self.validations.sort_unstable();
        self.validations.get(self.validations.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
    }
}

/// Validates a token and signs in until `stop`, each at least once.
pub fn be_honest(daemon: &Daemon, provider: &Provider, token: &str, stop: &AtomicBool) -> Seen {
    std::thread::scope(|scope| {
        let validating = scope.spawn(|| {
            let (api, mut seen) = (daemon.api(), Seen::default());
            loop {
                let begun = Instant::now();
                let request = api.request("GET", "/v1/session").bearer_auth(token);
                match crate::api::Answered::try_of(request) {
                    Ok(answered) if answered.status == 200 => seen.validations.push(begun.elapsed()),
                    _ => seen.failed_validations += 1,
                }
                if stop.load(Ordering::Relaxed) {
                    return seen;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let signing_in = scope.spawn(|| {
            let (mut logins, mut failed) = (0, 0);
            loop {
                let outcome = catch_unwind(AssertUnwindSafe(|| login::over_http(daemon, provider)));
                logins += 1;
                failed += usize::from(outcome.is_err());
                if stop.load(Ordering::Relaxed) {
                    return (logins, failed);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut seen = validating.join().expect("it ends");
        (seen.logins, seen.failed_logins) = signing_in.join().expect("it ends");
        seen
    })
}

pub fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
