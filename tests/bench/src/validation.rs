//! Measures requests per second and latency, alternating between the daemon and another server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use infra_harness::program::built;
use infra_shared::http::Trust;
use infra_shared::pin::Pin;

use crate::load::{BenchRequest, Round, Target, Wire};
use crate::statistics::{milliseconds, percentile};

/// Run before measuring: the first use of a token is written to the store, and caches fill.
const WARM_UP: Duration = Duration::from_secs(2);

/// The bare hyper + rustls server, in a process of its own.
pub(crate) struct BareServer {
    child: Child,
    port: u16,
    pin: Pin,
}

impl BareServer {
    pub(crate) fn start(answer_length: usize) -> Self {
        let mut child = Command::new(built("bare-server"))
            .arg(answer_length.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bare server starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("its port and pin");
        let (port, pin) = line.trim().split_once(' ').expect("a port and a pin");
        Self { child, port: port.parse().expect("a port"), pin: pin.parse().expect("a pin") }
    }

    /// Targets this server with the same requests as the daemon.
    pub(crate) fn target(&self, requests: Arc<Vec<BenchRequest>>) -> Target {
        Target { port: self.port, trust: Trust::Pinned { pin: self.pin, authorities: None }, requests }
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Alternates between the daemon and another server, and prints a table row.
pub(crate) fn compare(
    what: &str,
    (daemon, other): (&Target, &Target),
    wire: Wire,
    (rounds, time): (usize, Duration),
) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let load = |target: &Target, time| runtime.block_on(target.load(wire, time));
    load(daemon, WARM_UP);
    load(other, WARM_UP);
    let (mut ours, mut theirs) = (Round::default(), Round::default());
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let (our_round, their_round) = (load(daemon, time), load(other, time));
        ratios.push(our_round.rate() / their_round.rate());
        ours.add(our_round);
        theirs.add(their_round);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
    let ratio = |ratio: f64| {
        if ratio < 3.0 { format!("{:.0} %", ratio * 100.0) } else { format!("{ratio:.0} ×") }
    };
    let (lowest, highest) = (ratios.first().copied(), ratios.last().copied());
    println!(
        "| {what} | {:.0} | {} ({} to {}) | {} | {} | {} | {} |",
        ours.rate(),
        ratio(median),
        ratio(lowest.unwrap_or_default()),
        ratio(highest.unwrap_or_default()),
        milliseconds(percentile(&mut ours.latencies, 0.5)),
        milliseconds(percentile(&mut ours.latencies, 0.99)),
        milliseconds(percentile(&mut theirs.latencies, 0.5)),
        milliseconds(percentile(&mut theirs.latencies, 0.99)),
    );
}

/// Prints the table header for [`compare`].
pub(crate) fn print_head(what: &str, other: &str) {
    println!(
        "| {what} | requests/s | of {other} (lowest to highest round) | p50 | p99 | its p50 | its p99 |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
}
