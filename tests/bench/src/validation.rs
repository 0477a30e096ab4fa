//! Requests a second and their latency, at the daemon and at a bare server, turn by turn.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use infra_harness::program::built;
use infra_shared::http::{Trust, client_config};
use infra_shared::pin::Pin;
use infra_shared::token_text::SessionToken;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::daemon::Populated;
use crate::statistics::{milliseconds, percentile};

const CONNECTIONS: usize = 16;
/// Before it is counted: the first use of a token is written, and caches fill.
const WARM_UP: Duration = Duration::from_secs(1);

/// hyper and rustls with a fixed answer, in a process of its own.
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
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a round.
#[derive(Default)]
struct Round {
    latencies: Vec<Duration>,
    time: Duration,
}

/// Asks daemon and bare server in turns about `tokens`, and prints a row.
pub(crate) fn compare(
    populated: &Populated,
    bare: &BareServer,
    name: &str,
    tokens: &[&SessionToken],
    rounds: usize,
    time: Duration,
) {
    let requests: Arc<Vec<String>> =
        Arc::new(tokens.iter().map(|token| format!("Bearer {}", token.expose())).collect());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let load =
        |port: u16, pin: Pin, time: Duration| runtime.block_on(load(port, pin, requests.clone(), time));
    let (port, pin) = (populated.daemon().port(), populated.daemon().pin());
    load(port, pin, WARM_UP);
    load(bare.port, bare.pin, WARM_UP);
    let (mut daemon, mut fixed) = (Round::default(), Round::default());
    for _ in 0..rounds {
        for (total, round) in
            [(&mut daemon, load(port, pin, time)), (&mut fixed, load(bare.port, bare.pin, time))]
        {
            total.latencies.extend(round.latencies);
            total.time += round.time;
        }
    }
    let rate = |round: &Round| {
        f64::from(u32::try_from(round.latencies.len()).unwrap_or(u32::MAX)) / round.time.as_secs_f64()
    };
    println!(
        "| {} | {name} | {:.0} | {:.0} % | {} | {} | {} |",
        populated.tokens().len(),
        rate(&daemon),
        rate(&daemon) / rate(&fixed) * 100.0,
        milliseconds(percentile(&mut daemon.latencies, 0.5)),
        milliseconds(percentile(&mut daemon.latencies, 0.99)),
        milliseconds(percentile(&mut fixed.latencies, 0.99)),
    );
}

/// Every connection asks one request after the other, for this long.
async fn load(port: u16, pin: Pin, requests: Arc<Vec<String>>, time: Duration) -> Round {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(connect(port, pin).await);
    }
    let start = Instant::now();
    let tasks: Vec<_> = connections
        .into_iter()
        .enumerate()
        .map(|(number, connection)| tokio::spawn(ask(connection, requests.clone(), number, start, time)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no request fails"));
    }
    Round { latencies, time: start.elapsed() }
}

async fn connect(port: u16, pin: Pin) -> SendRequest<Empty<Bytes>> {
    let trust = Trust::Pinned { pin, authorities: None };
    let mut config = client_config(&trust, false).expect("a configuration");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    stream.set_nodelay(true).expect("a socket");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

async fn ask(
    mut connection: SendRequest<Empty<Bytes>>,
    requests: Arc<Vec<String>>,
    number: usize,
    start: Instant,
    time: Duration,
) -> Vec<Duration> {
    let mut latencies = Vec::new();
    // Spread over the tokens, without the cost of drawing numbers: a step that shares no factor with their number.
    let mut position = number * requests.len() / CONNECTIONS;
    while start.elapsed() < time {
        position = (position + 7919) % requests.len();
        let request = Request::get("/v1/session")
            .header("host", "127.0.0.1")
            .header("authorization", requests.get(position).expect("a position in the list"))
            .body(Empty::new())
            .expect("a request");
        let asked = Instant::now();
        let answer = connection.send_request(request).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.expect("a body");
        latencies.push(asked.elapsed());
    }
    latencies
}
