//! Measures requests per second and latency, alternating between the daemon and another server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use infra_harness::program::built;
use infra_shared::http::Trust;
use infra_shared::pin::Pin;

use crate::load::{BenchRequest, Clients, Slice, Target, Wire};
use crate::statistics::{Median, milliseconds, percentile};

const WARM_UP: Duration = Duration::from_millis(1500);
/// Short enough that the machine does the same during both slices of a pair.
const SLICE: Duration = Duration::from_millis(300);
const PAIRS: usize = 32;

/// The bare hyper + rustls server, in a process of its own.
pub(crate) struct BareServer {
    child: Child,
    port: u16,
    pin: Pin,
}

impl BareServer {
    /// Starts a server whose responses are as long as those of `beside`.
    pub(crate) fn start(beside: &Target) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let answer_length = runtime.block_on(beside.answer_length());
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
        let trust = Trust::Pinned { pin: self.pin, authorities: None };
        Target { port: self.port, trust, process: Some(self.child.id()), requests }
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Loads the daemon and another server in turn, in many short slices, and prints a table row.
///
/// The ratio is the median of the pairs of neighbouring slices: other load on the machine hits both of a pair, or few of them.
pub(crate) fn compare(what: &str, (daemon, other): (&Target, &Target), wire: Wire) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ready = |target: &Target| {
        runtime.block_on(async {
            let mut clients = Clients::connect(target, wire).await;
            clients.warm_up(WARM_UP).await;
            clients
        })
    };
    let load = |clients: &mut Clients| runtime.block_on(clients.load(SLICE));
    let (mut daemon, mut other) = (ready(daemon), ready(other));
    let (mut ours, mut theirs) = (Slice::default(), Slice::default());
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        // Whichever goes first may find the machine in another state.
        let (our_slice, their_slice) = if pair % 2 == 0 {
            let slice = load(&mut daemon);
            (slice, load(&mut other))
        } else {
            let slice = load(&mut other);
            (load(&mut daemon), slice)
        };
        ratios.push(our_slice.rate() / their_slice.rate());
        ours.add(our_slice);
        theirs.add(their_slice);
    }
    let Median { value, lowest, highest } = Median::of(&mut ratios);
    let cost = ours.cost().zip(theirs.cost()).map(|(our_cost, their_cost)| {
        format!("{:.1} µs ({:.0} %)", our_cost * 1e6, our_cost / their_cost * 100.0)
    });
    println!(
        "| {what} | {:.0} | {} ({} to {}) | {} | {} | {} | {} | {} |",
        ours.rate(),
        ratio(value),
        ratio(lowest),
        ratio(highest),
        cost.as_deref().unwrap_or("–"),
        milliseconds(percentile(&mut ours.latencies, 0.5)),
        milliseconds(percentile(&mut ours.latencies, 0.99)),
        milliseconds(percentile(&mut theirs.latencies, 0.5)),
        milliseconds(percentile(&mut theirs.latencies, 0.99)),
    );
}

fn ratio(ratio: f64) -> String {
    if ratio < 3.0 { format!("{:.1} %", ratio * 100.0) } else { format!("{ratio:.0} ×") }
}

/// Prints the table header for [`compare`].
pub(crate) fn print_head(what: &str, other: &str) {
    println!(
        "| {what} | requests/s | of {other} (95 % interval) | processor time a request, of {other} | p50 | p99 | its p50 | its p99 |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
}
