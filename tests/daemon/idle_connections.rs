//! Idle connections of services: how many a daemon can hold.

use std::net::Ipv4Addr;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_harness::daemon::Daemon;
use infra_harness::floods::{Target, address, allow_files, resident};
use infra_harness::login;
use infra_harness::provider::Provider;

/// An open HTTP connection.
enum HTTPConnection {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl HTTPConnection {
    async fn open(target: &Target, from: Ipv4Addr, is_http2: bool) -> Option<Self> {
        let stream = TokioIo::new(target.shake_hands(from).await?);
        if is_http2 {
            let (sender, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.ok()?;
            tokio::spawn(driver);
            return Some(Self::Http2(sender));
        }
        let (sender, driver) = hyper::client::conn::http1::handshake(stream).await.ok()?;
        tokio::spawn(driver);
        Some(Self::Http1(sender))
    }

    /// Returns whether the daemon accepts the token.
    async fn validate(&mut self, token: &str) -> bool {
        let request = |url: &str| {
            let request = Request::get(url).header("host", "127.0.0.1");
            let request = request.header("authorization", format!("Bearer {token}"));
            request.body(Full::new(Bytes::new())).expect("a request of known parts")
        };
        let answer = match self {
            Self::Http1(sender) => sender.send_request(request("/v1/session")).await,
            Self::Http2(sender) => sender.send_request(request("https://127.0.0.1/v1/session")).await,
        };
        let Ok(answer) = answer else { return false };
        let is_valid = answer.status() == 200;
        answer.into_body().collect().await.is_ok() && is_valid
    }
}

#[test]
fn idle_connections_fit_into_memory_budget() {
    const CONNECTIONS: usize = 2_000;
    allow_files();
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        "limits: {idleTimeout: 600s}\n".clone_into(&mut configuration.more);
    });
    let token = login::over_http(&daemon, &provider);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connections = Vec::new();
        for (protocol, is_http2) in [("http/1.1", false), ("h2", true)] {
            let (target, before) = (Target::of(&daemon, protocol), resident(daemon.process()));
            for number in 0..CONNECTIONS / 2 {
                let from = address(if is_http2 { 20 } else { 21 }, number / 50);
                let mut connection =
                    HTTPConnection::open(&target, from, is_http2).await.expect("a connection");
                assert!(connection.validate(&token).await, "{protocol}: connection {number}");
                connections.push(connection);
            }
            let resident = resident(daemon.process());
            println!("{} idle connections of {protocol}: {before}, then {resident} MiB", CONNECTIONS / 2);
        }
        for (number, connection) in connections.iter_mut().enumerate() {
            assert!(connection.validate(&token).await, "connection {number} was closed");
        }
    });
}
