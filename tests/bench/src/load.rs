//! A load generator: connections that each send one request after another for a fixed time.

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
use tokio_rustls::client::TlsStream;

const CONNECTIONS: usize = 16;

/// The protocol and connection reuse of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// HTTP/1.1 over persistent connections.
    Http1,
    Http2,
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
    pub(crate) requests: Arc<Vec<BenchRequest>>,
}

/// Results of one round.
#[derive(Default)]
pub(crate) struct Round {
    pub(crate) latencies: Vec<Duration>,
    time: Duration,
}

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl BenchRequest {
    pub(crate) fn get(path: &str, token: &str) -> Self {
        let headers = vec![("authorization", format!("Bearer {token}"))];
        Self { method: "GET", path: path.to_owned(), headers, body: String::new() }
    }

    pub(crate) fn form(path: &str, authorization: String, body: String) -> Self {
        let form = "application/x-www-form-urlencoded".to_owned();
        let headers = vec![("authorization", authorization), ("content-type", form)];
        Self { method: "POST", path: path.to_owned(), headers, body }
    }
}

impl Round {
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX)) / self.time.as_secs_f64()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.time += other.time;
    }
}

impl Target {
    /// Sends requests on every connection, one after another, for this long.
    pub(crate) async fn load(&self, wire: Wire, time: Duration) -> Round {
        let tls = self.connector(wire);
        let start = Instant::now();
        let tasks: Vec<_> = (0..CONNECTIONS)
            .map(|number| tokio::spawn(send(self.clone(), tls.clone(), wire, number, start, time)))
            .collect();
        let mut latencies = Vec::new();
        for task in tasks {
            latencies.extend(task.await.expect("no request fails"));
        }
        Round { latencies, time: start.elapsed() }
    }

    fn connector(&self, wire: Wire) -> TlsConnector {
        let mut config = client_config(&self.trust, false).expect("a configuration");
        let protocol: &[u8] = if wire == Wire::Http2 { b"h2" } else { b"http/1.1" };
        config.alpn_protocols = vec![protocol.to_vec()];
        config.resumption = Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, tls: &TlsConnector, wire: Wire) -> Connection {
        let stream: TlsStream<TcpStream> = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            stream.set_nodelay(true)?;
            tls.connect(ServerName::try_from("127.0.0.1").expect("a name"), stream).await
        }
        .await
        .expect("somebody listens, and proves to be the one");
        if wire == Wire::Http2 {
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

async fn send(
    target: Target,
    tls: TlsConnector,
    wire: Wire,
    number: usize,
    start: Instant,
    time: Duration,
) -> Vec<Duration> {
    let requests = &target.requests;
    let mut latencies = Vec::new();
    let mut connection = target.connect(&tls, wire).await;
    // Spread over the requests without the cost of random numbers: the step is coprime to their number.
    let mut position = number * requests.len() / CONNECTIONS;
    while start.elapsed() < time {
        position = (position + 7919) % requests.len();
        let template = requests.get(position).expect("a position in the list");
        let sent = Instant::now();
        if wire == Wire::Handshakes {
            connection = target.connect(&tls, wire).await;
        }
        let uri = match wire {
            Wire::Http2 => format!("https://127.0.0.1:{}{}", target.port, template.path),
            _ => template.path.clone(),
        };
        let mut request = Request::builder().method(template.method).uri(uri);
        if wire != Wire::Http2 {
            request = request.header("host", format!("127.0.0.1:{}", target.port));
        }
        for (name, value) in &template.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Full::new(Bytes::from(template.body.clone()))).expect("a request");
        let answer = match &mut connection {
            Connection::Http1(sender) => sender.send_request(request).await,
            Connection::Http2(sender) => sender.send_request(request).await,
        };
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{}", template.path);
        answer.into_body().collect().await.expect("a body");
        latencies.push(sent.elapsed());
    }
    latencies
}
