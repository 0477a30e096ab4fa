//! One client of a load: connects, verifies the server and sends requests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_shared::http;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::{Tally, Target};

/// Response timeout for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) type Connection = SendRequest<Empty<Bytes>>;

#[derive(Clone)]
pub(super) struct Client {
    target: Target,
    tls: TlsConnector,
    tally: Arc<Mutex<Tally>>,
}

impl Client {
    pub(super) fn new(target: &Target, tally: Arc<Mutex<Tally>>) -> Self {
        Self { target: target.clone(), tls: connector(&target.roots), tally }
    }

    pub(super) async fn connect(&self, from: Ipv4Addr) -> Option<Connection> {
        let connected = tokio::time::timeout(PATIENCE, self.try_connect(from)).await;
        let connected = connected.unwrap_or_else(|_| Err("it took too long".to_owned()));
        connected.map_err(|error| self.failed("connecting", &error)).ok()
    }

    async fn try_connect(&self, from: Ipv4Addr) -> Result<Connection, String> {
        let socket = tokio::net::TcpSocket::new_v4().map_err(|error| error.to_string())?;
        socket.bind(SocketAddr::from((from, 0))).map_err(|error| error.to_string())?;
        let server = SocketAddr::from((Ipv4Addr::LOCALHOST, self.target.port));
        let stream = socket.connect(server).await.map_err(|error| error.to_string())?;
        let name = ServerName::try_from(self.target.name.clone()).expect("a host name or an address");
        let stream = self.tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(|leaf| leaf.to_vec());
        self.note(|tally| {
            tally.handshakes += 1;
            tally.certificates.extend(leaf);
        });
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (connection, driver) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(driver);
        Ok(connection)
    }

    pub(super) async fn ask(&self, connection: &mut Connection) {
        let result = tokio::time::timeout(PATIENCE, self.try_ask(connection)).await;
        match result.unwrap_or_else(|_| Err("it took too long".to_owned())) {
            Ok(()) => self.note(|tally| tally.requests += 1),
            Err(error) => self.failed("asking", &error),
        }
    }

    async fn try_ask(&self, connection: &mut Connection) -> Result<(), String> {
        let url = format!("https://{}:{}/v1/server", self.target.name, self.target.port);
        let request = Request::get(url).body(Empty::new()).expect("a request of known parts");
        let answer = connection.send_request(request).await.map_err(|error| format!("{error:?}"))?;
        let status = answer.status();
        answer.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        if status == 200 { Ok(()) } else { Err(format!("it answered {status}")) }
    }

    fn failed(&self, doing: &str, error: &str) {
        self.note(|tally| tally.failures.push(format!("{doing}: {error}")));
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn connector(roots: &str) -> TlsConnector {
    let mut store = RootCertStore::empty();
    for root in http::authorities_from_pem(roots.as_bytes()).expect("certificates of authorities") {
        store.add(root).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    // No resumption, so that each handshake presents a certificate.
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}
