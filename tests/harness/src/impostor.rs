//! A server that impersonates a trusted one, in one of several ways, and counts the bytes that it receives.

mod disguise;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, Stream};
use serde_json::json;

use crate::authority::Authority;

pub use disguise::Disguise;

/// Time limit for a peer under test to send its data.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running impostor, stopped when dropped.
pub struct Impostor {
    port: u16,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What clients sent.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// Application data on connections that the client should have rejected.
    bytes: AtomicUsize,
    /// The first bytes of each connection, before TLS.
    first: Mutex<Vec<u8>>,
}

impl Impostor {
    /// Impersonates a server of `authority`.
    pub fn start(disguise: Disguise, authority: &Authority) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let honest = disguise::honest(authority);
        let config = disguise.config(authority);
        let (counting, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let number = counting.connections.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
                match (&config, disguise) {
                    (_, Disguise::HonestAtFirst) if number == 0 => serve(stream, Arc::clone(&honest)),
                    (Some(config), _) => count(stream, Arc::clone(config), &counting),
                    (None, _) => answer_in_clear(stream, &counting),
                }
            }
        });
        Self { port, seen, stop, thread: Some(thread) }
    }

    pub fn origin(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// Bytes of application data from clients that should not trust the impostor.
    pub fn received(&self) -> usize {
        self.seen.bytes.load(Ordering::SeqCst)
    }

    /// Bytes sent in the clear.
    pub fn in_the_clear(&self) -> Vec<u8> {
        self.seen.first.lock().expect("nobody panics while reading").clone()
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Performs the handshake and counts the bytes after it.
fn count(mut tcp: TcpStream, config: Arc<ServerConfig>, seen: &Seen) {
    let mut tls = ServerConnection::new(config).expect("a sound configuration");
    let mut stream = Stream::new(&mut tls, &mut tcp);
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        seen.bytes.fetch_add(read, Ordering::SeqCst);
    }
}

/// Answers `GET /v1/server` once, like an honest daemon without providers, and closes the connection.
fn serve(mut tcp: TcpStream, config: Arc<ServerConfig>) {
    let mut tls = ServerConnection::new(config).expect("a sound configuration");
    let mut stream = Stream::new(&mut tls, &mut tcp);
    let _ = stream.read(&mut [0; 4096]);
    let provider = json!({
        "name": "okta", "kind": "okta", "issuer": "https://okta.test",
        "redirectURIs": ["http://127.0.0.1:8301/callback", "http://127.0.0.1:8302/callback"],
    });
    let body = json!({"version": "0", "now": "2026-01-01T00:00:00Z", "providers": [provider]}).to_string();
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    let _ = stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn answer_in_clear(mut tcp: TcpStream, seen: &Seen) {
    let mut bytes = [0; 4096];
    let read = tcp.read(&mut bytes).unwrap_or_default();
    seen.first
        .lock()
        .expect("nobody panics while reading")
        .extend_from_slice(bytes.get(..read).unwrap_or_default());
    let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
}
