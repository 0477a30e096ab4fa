//! A load generator: clients that each send one request after another, in slices of a fixed time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_shared::http::{Trust, client_config};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::statistics::processor_time;

/// Spreads over the requests without the cost of random numbers: a prime that does not divide their number.
const STEP: usize = 7919;

/// The protocol and connection reuse of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 over persistent connections.
    Http1,
    /// Persistent connections with as many streams at the same time.
    Http2 { streams: usize },
    /// A new connection with a full handshake for each request.
    Handshakes,
}

/// A request to send.
#[derive(Debug, Clone)]
pub(crate) struct BenchRequest {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// A server, and the requests that the load cycles through.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) trust: Trust,
    /// The process whose processor time is measured.
    pub(crate) process: Option<u32>,
    pub(crate) requests: Arc<Vec<BenchRequest>>,
}

/// Results of one slice, or the sum of several.
#[derive(Default)]
pub(crate) struct Slice {
    pub(crate) latencies: Vec<Duration>,
    time: Duration,
    processor_time: Option<Duration>,
}

/// Clients of one server. Their connections stay open between slices.
pub(crate) struct Clients {
    server: Arc<Server>,
    clients: Vec<Client>,
}

struct Server {
    target: Target,
    tls: TlsConnector,
    wire: Wire,
}

struct Client {
    connection: Connection,
    /// Which request comes next, in the order of all clients.
    number: usize,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Wire {
    /// Connections, and the streams of each.
    fn shape(self) -> (usize, usize) {
        match self {
            Self::Http1 | Self::Handshakes | Self::Http2 { streams: 1 } => (16, 1),
            Self::Http2 { streams } => (4, streams),
        }
    }
}

impl BenchRequest {
    pub(crate) fn get(path: &str, token: &str) -> Self {
        let headers = vec![("authorization", format!("Bearer {token}"))];
        Self { method: "GET", path: path.to_owned(), headers, body: String::new() }
    }

    pub(crate) fn post(path: &str, authorization: String, content_type: &str, body: String) -> Self {
        let headers = vec![("authorization", authorization), ("content-type", content_type.to_owned())];
        Self { method: "POST", path: path.to_owned(), headers, body }
    }

    pub(crate) fn form(path: &str, authorization: String, body: String) -> Self {
        Self::post(path, authorization, "application/x-www-form-urlencoded", body)
    }
}

impl Slice {
    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        self.count() / self.time.as_secs_f64()
    }

    /// Seconds of processor time that the server spent on a request.
    pub(crate) fn cost(&self) -> Option<f64> {
        Some(self.processor_time?.as_secs_f64() / self.count())
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.time += other.time;
        self.processor_time = other.processor_time.map(|time| time + self.processor_time.unwrap_or_default());
    }

    fn count(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX))
    }
}

impl Target {
    /// Returns the length of the response to the first request, whose token must be valid.
    pub(crate) async fn answer_length(&self) -> usize {
        let mut clients = Clients::connect(self, Wire::Http1).await;
        let answer = clients.clients.first_mut().expect("there is a client").send(&clients.server).await;
        let text = String::from_utf8_lossy(&answer);
        let is_refused = ["\"active\":false", "\"authenticated\":false"].iter().any(|no| text.contains(no));
        assert!(!is_refused, "{text}");
        answer.len()
    }

    fn processor_time(&self) -> Option<Duration> {
        self.process.map(processor_time)
    }
}

impl Clients {
    pub(crate) async fn connect(target: &Target, wire: Wire) -> Self {
        let mut config = client_config(&target.trust, false).expect("a configuration");
        let protocol: &[u8] = if matches!(wire, Wire::Http2 { .. }) { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        let server =
            Arc::new(Server { target: target.clone(), tls: TlsConnector::from(Arc::new(config)), wire });
        let (connections, streams) = wire.shape();
        let mut clients = Vec::new();
        for _ in 0..connections {
            let connection = server.connect().await;
            for _ in 1..streams {
                if let Connection::Http2(sender) = &connection {
                    let connection = Connection::Http2(sender.clone());
                    clients.push(Client { connection, number: clients.len() });
                }
            }
            clients.push(Client { connection, number: clients.len() });
        }
        Self { server, clients }
    }

    /// Sends requests for this long. Waits for the response to each.
    pub(crate) async fn load(&mut self, time: Duration) -> Slice {
        let target = &self.server.target;
        let (processor_time, begun) = (target.processor_time(), Instant::now());
        let count = self.clients.len();
        let tasks: Vec<_> = std::mem::take(&mut self.clients)
            .into_iter()
            .map(|mut client| {
                let server = self.server.clone();
                tokio::spawn(async move {
                    let mut latencies = Vec::new();
                    while begun.elapsed() < time {
                        let sent = Instant::now();
                        client.send(&server).await;
                        latencies.push(sent.elapsed());
                        client.number += count;
                    }
                    (client, latencies)
                })
            })
            .collect();
        let mut slice = Slice::default();
        for task in tasks {
            let (client, latencies) = task.await.expect("no request fails");
            self.clients.push(client);
            slice.latencies.extend(latencies);
        }
        slice.time = begun.elapsed();
        slice.processor_time =
            target.processor_time().zip(processor_time).map(|(after, before)| after.saturating_sub(before));
        slice
    }

    /// Sends each request at least once, for at least this long: the daemon stores the first use of a token, and caches fill.
    pub(crate) async fn warm_up(&mut self, time: Duration) {
        let begun = Instant::now();
        let mut sent = 0;
        while sent < self.server.target.requests.len() || begun.elapsed() < time {
            sent += self.load(time).await.latencies.len();
        }
    }
}

impl Client {
    /// Sends the next request and returns the body of the response.
    async fn send(&mut self, server: &Server) -> Bytes {
        let Server { target, wire, .. } = server;
        let position = self.number.wrapping_mul(STEP) % target.requests.len();
        let template = target.requests.get(position).expect("a position in the list");
        if *wire == Wire::Handshakes {
            self.connection = server.connect().await;
        }
        let mut request = Request::builder().method(template.method);
        request = match &self.connection {
            Connection::Http1(_) => {
                request.uri(&template.path).header("host", format!("127.0.0.1:{}", target.port))
            }
            Connection::Http2(_) => {
                request.uri(format!("https://127.0.0.1:{}{}", target.port, template.path))
            }
        };
        for (name, value) in &template.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(template.body.clone()))).expect("a request");
        let answer = match &mut self.connection {
            Connection::Http1(sender) => sender.send_request(request).await,
            Connection::Http2(sender) => sender.send_request(request).await,
        };
        let answer = answer.expect("an answer");
        // A TokenReview is created.
        assert!(answer.status().is_success(), "{}: {}", template.path, answer.status());
        answer.into_body().collect().await.expect("a body").to_bytes()
    }
}

impl Server {
    async fn connect(&self) -> Connection {
        let stream = async {
            let stream = TcpStream::connect(("127.0.0.1", self.target.port)).await?;
            stream.set_nodelay(true)?;
            self.tls.connect(ServerName::try_from("127.0.0.1").expect("a name"), stream).await
        }
        .await
        .expect("a server listens, and proves its identity");
        if matches!(self.wire, Wire::Http2 { .. }) {
            let (sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
            tokio::spawn(connection);
            Connection::Http2(sender)
        } else {
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
            tokio::spawn(connection);
            Connection::Http1(sender)
        }
    }
}
