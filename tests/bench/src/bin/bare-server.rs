//! A hyper + rustls server with a fixed response: the baseline cost of HTTPS. Prints its port and its pin.

#![expect(clippy::print_stdout, reason = "a program of the benchmarks")]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_harness::authority::Authority;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[tokio::main]
async fn main() {
    let length =
        std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("the length of the answer");
    let body = Bytes::from("x".repeat(length));
    let authority = Authority::new();
    let leaf = authority.issue();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(leaf.chain, leaf.key)
        .expect("the certificate that was just issued");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    println!("{} {}", listener.local_addr().expect("a bound socket").port(), authority.pin());
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (acceptor, body) = (acceptor.clone(), body.clone());
        tokio::spawn(async move {
            let Ok(()) = stream.set_nodelay(true) else { return };
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |_: Request<_>| {
                let mut response = Response::new(Full::new(body.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                std::future::ready(Ok::<_, Infallible>(response))
            });
            // An error here means that the client disconnected.
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let _ = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            } else {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        });
    }
}
