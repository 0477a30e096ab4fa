//! Requests that fail in unusual ways, and their errors.

use std::sync::Arc;

use infra_harness::authority::Authority;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one request over TLS and closes with or without close_notify.
async fn ask_peer(answer: &'static str, ends_tls: bool) -> Result<OutboundResponse, OutboundError> {
    let authority = Authority::new();
    let leaf = authority.issue();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_no_client_auth()
        .with_single_cert(leaf.chain, leaf.key)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://127.0.0.1:{}/", listener.local_addr().expect("an address").port());
    let serving = tokio::spawn(async move {
        let (connection, _) = listener.accept().await.expect("a connection");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
        let mut connection = acceptor.accept(connection).await.expect("a handshake");
        let mut request = [0; 4096];
        assert!(connection.read(&mut request).await.expect("a request") > 0);
        connection.write_all(answer.as_bytes()).await.expect("room");
        connection.flush().await.expect("room");
        if ends_tls {
            let _ = connection.shutdown().await;
        }
    });
    let outbound = Outbound::without_proxy(Some(vec![authority.certificate()])).expect("a client");
    let answered = outbound.get(&url.parse().expect("a URL"), Authorization::None, 1000).await;
    serving.await.expect("an answer was sent");
    answered
}

#[tokio::test]
async fn complete_response_needs_no_close_notify() {
    for (answer, ends_tls) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwhole", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhol\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhol", true),
    ] {
        let answered = ask_peer(answer, ends_tls).await.unwrap_or_else(|error| panic!("{answer}: {error}"));
        assert_eq!(answered.body, b"whol", "{answer}");
    }
}

#[tokio::test]
async fn truncated_response_is_rejected_with_reason() {
    for (answer, ends_tls) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhol", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhol", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhol", false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhol", false),
        ("HTTP/1.1 200 OK\r\nContent-Le", false),
    ] {
        let error = ask_peer(answer, ends_tls).await.err().expect("it may have been cut");
        assert!(error.may_have_arrived());
        assert_eq!(
            error.to_string(),
            "127.0.0.1 cannot be reached: the connection was closed before the response was complete",
            "{answer}"
        );
    }
}

#[test]
fn timeout_reports_elapsed_time() {
    let address = "https://k8s.test/api".parse().expect("an address");
    let peer = Peer::of(&address, Route::Direct).expect("a peer");
    let error = peer.timed_out(Duration::from_millis(6_100));
    assert_eq!(error.to_string(), "k8s.test did not answer within 6 s");
}

#[test]
fn unusable_proxy_fails_before_sending() {
    let address = "https://okta.test/".parse().expect("an address");
    let barred = infra_shared::http::ProxyError::Malformed { variable: "HTTPS_PROXY" };
    let error = Peer::of(&address, Route::Barred(barred)).err().expect("no way");
    assert!(!error.may_have_arrived());
    assert_eq!(error.to_string(), "okta.test cannot be reached: HTTPS_PROXY is not the address of a proxy");
}
