//! A server with a valid certificate that is not the database.

use std::net::Ipv4Addr;
use std::sync::Arc;

use infra_harness::authority::Authority;
use infra_peers::postgresql::{PASSWORD, USER};
use infra_shared::http::Trust;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::{error, password};
use crate::store::postgres::{DatabaseHost, PostgresSettings};

/// What the buffers of a connection take before the client reads.
const BUFFERS: usize = 16 * 1024 * 1024;

/// What the client did after the answer to its start.
struct Seen {
    /// What it sent.
    received: Vec<u8>,
    /// What it could be sent until it closed the connection.
    sent: usize,
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short").to_be_bytes();
    [&[tag], length.as_slice(), body].concat()
}

fn authentication(request: u32) -> Vec<u8> {
    message(b'R', &request.to_be_bytes())
}

/// The header of a row of 2 GB.
fn large_row() -> Vec<u8> {
    [b"D".as_slice(), &2_000_000_000_u32.to_be_bytes()].concat()
}

/// Serves one connection: sends `answer` after the start, and then zeros for as long as the client takes them, if
/// `is_endless`.
async fn impostor(authority: &Authority, answer: Vec<u8>, is_endless: bool) -> (u16, JoinHandle<Seen>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let leaf = authority.issue();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(leaf.chain, leaf.key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate")));
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = [0; 8];
        stream.read_exact(&mut request).await.expect("a request for TLS");
        stream.write_all(b"S").await.expect("sent");
        let mut stream = acceptor.accept(stream).await.expect("the client trusts the certificate");
        let length = stream.read_u32().await.expect("a start");
        let mut start = vec![0; usize::try_from(length).expect("short") - 4];
        stream.read_exact(&mut start).await.expect("a start");
        stream.write_all(&answer).await.expect("sent");
        let (mut reader, mut writer) = tokio::io::split(stream);
        let reading = tokio::spawn(async move {
            let mut received = Vec::new();
            // The client may close without a goodbye.
            let _ = reader.read_to_end(&mut received).await;
            received
        });
        let mut sent = answer.len();
        while is_endless && sent < 1 << 30 {
            let zeros = [0; 16 * 1024];
            if writer.write_all(&zeros).await.is_err() {
                break;
            }
            sent += zeros.len();
        }
        Seen { received: reading.await.expect("no panic"), sent }
    });
    (port, serving)
}

fn settings(authority: &Authority, port: u16) -> PostgresSettings {
    PostgresSettings {
        hosts: vec![DatabaseHost::TCP { name: "127.0.0.1".to_owned(), port }],
        name: "infra".to_owned(),
        user: USER.to_owned(),
        password: Some(password(PASSWORD)),
        client_certificate: None,
        trust: Trust::Authorities(vec![authority.certificate()]),
    }
}

#[tokio::test]
async fn password_is_never_sent_in_clear_text_or_as_md5() {
    let authority = Authority::new();
    for (request, cause) in [
        (authentication(3), "asks for the password in clear text"),
        (message(b'R', b"\0\0\0\x05salt"), "asks for an MD5 hash of the password"),
    ] {
        let (port, serving) = impostor(&authority, request, false).await;
        let error = error(&settings(&authority, port)).await;
        assert!(error.contains(cause), "{error}");
        let Seen { received, .. } = serving.await.expect("no panic");
        assert_eq!(received, b"", "{cause}");
    }
}

#[tokio::test]
async fn endless_answer_is_closed_before_it_fills_memory() {
    let authority = Authority::new();
    let ready = [authentication(0), message(b'Z', b"I")].concat();
    for (answer, cause) in [
        (large_row(), "more than 64 KiB before it was ready"),
        ([ready, large_row()].concat(), "larger than 32 MiB"),
    ] {
        let (port, serving) = impostor(&authority, answer, true).await;
        let error = error(&settings(&authority, port)).await;
        assert!(error.contains(cause), "{error}");
        let Seen { sent, .. } = serving.await.expect("no panic");
        assert!(sent < BUFFERS, "{sent}");
    }
}
