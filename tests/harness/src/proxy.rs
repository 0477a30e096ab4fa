//! A forward proxy as found in organizations: it opens tunnels, forwards bytes and records what it saw.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Timeout for a silent client.
const PATIENCE: Duration = Duration::from_secs(20);
const MAX_HEAD: usize = 8192;

/// How a proxy handles a tunnel request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyMode {
    /// Connects to the requested port on this machine, for any host name.
    Tunnel,
    /// Connects to this port instead.
    ConnectTo(u16),
    /// Like [`ProxyMode::Tunnel`] for clients that send `user:password`; responds with 407 to all others.
    RequireCredentials(&'static str),
    /// 403.
    Reject,
    /// Accepts the connection and stays silent.
    Hang,
    /// Accepts the connection and closes it.
    Close,
    /// Speaks SOCKS 5 (RFC 1928) instead.
    Socks,
}

/// A running proxy, stopped when dropped.
pub struct Proxy {
    port: u16,
    seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// The requested `host:port`, or the head of a request other than `CONNECT`.
    targets: Mutex<Vec<String>>,
    /// All forwarded bytes, in both directions.
    bytes: Mutex<Vec<u8>>,
}

impl Proxy {
    pub fn start(mode: ProxyMode) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let (kept, stopped) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (mode, kept, stopped) = (mode.clone(), Arc::clone(&kept), Arc::clone(&stopped));
                // The client reports a failed connection.
                thread::spawn(move || serve(client, &mode, &kept, &stopped));
            }
        });
        Self { port, seen, stop, thread: Some(thread) }
    }

    /// The value for `HTTPS_PROXY`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The requested tunnels in order, and the head of any other request.
    pub fn targets(&self) -> Vec<String> {
        self.seen.targets.lock().expect("nobody panics while writing").clone()
    }

    /// All forwarded bytes, in both directions.
    pub fn bytes(&self) -> Vec<u8> {
        self.seen.bytes.lock().expect("nobody panics while writing").clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut client: TcpStream, mode: &ProxyMode, seen: &Arc<Seen>, stopped: &AtomicBool) -> Option<()> {
    client.set_read_timeout(Some(PATIENCE)).ok()?;
    let target = match mode {
        ProxyMode::Socks => socks_target(&mut client)?,
        _ => connect_target(&mut client, mode, seen, stopped)?,
    };
    seen.targets.lock().expect("nobody panics while writing").push(target.clone());
    let port = match mode {
        ProxyMode::ConnectTo(port) => *port,
        ProxyMode::Reject => {
            client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").ok()?;
            return None;
        }
        _ => target.rsplit_once(':')?.1.parse().ok()?,
    };
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let answer: &[u8] = match mode {
        ProxyMode::Socks => &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        _ => b"HTTP/1.1 200 Connection established\r\n\r\n",
    };
    client.write_all(answer).ok()?;
    let (from, to) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let kept = Arc::clone(seen);
    let upwards = thread::spawn(move || pass_on(from, to, &kept));
    pass_on(server, client, seen);
    upwards.join().ok()
}

/// The target of `CONNECT host:port HTTP/1.1`; `None` if the client is rejected.
fn connect_target(
    client: &mut TcpStream,
    mode: &ProxyMode,
    seen: &Seen,
    stopped: &AtomicBool,
) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?;
    let Some(target) = head.strip_prefix("CONNECT ") else {
        seen.targets.lock().expect("nobody panics while writing").push(head);
        return None;
    };
    let target = target.split_once(' ')?.0.to_owned();
    let keep = || seen.targets.lock().expect("nobody panics while writing").push(target.clone());
    match mode {
        ProxyMode::RequireCredentials(credentials) => {
            let expected = format!("Basic {}", BASE64_STANDARD.encode(credentials));
            let is_known = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .any(|(name, value)| name.eq_ignore_ascii_case("proxy-authorization") && value == expected);
            if is_known {
                return Some(target);
            }
            keep();
            let asks = b"HTTP/1.1 407 Proxy Authentication Required\r\n\
                         proxy-authenticate: Basic realm=\"test\"\r\ncontent-length: 0\r\n\r\n";
            client.write_all(asks).ok()?;
            None
        }
        ProxyMode::Hang => {
            keep();
            // Wait until the client times out or the test ends.
            let mut byte = [0];
            while !stopped.load(Ordering::SeqCst) && client.read(&mut byte).ok()? > 0 {}
            None
        }
        ProxyMode::Close => {
            keep();
            None
        }
        _ => Some(target),
    }
}

/// The target of a SOCKS request for a name or an IPv4 address, without authentication.
fn socks_target(client: &mut TcpStream) -> Option<String> {
    let mut read = |length: usize| {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let greeting = read(2)?;
    read(usize::from(greeting[1]))?;
    client.write_all(&[5, 0]).ok()?;
    let mut read = |length: usize| {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    let request = read(4)?;
    let host = match request[3] {
        1 => read(4)?.iter().map(ToString::to_string).collect::<Vec<_>>().join("."),
        3 => {
            let length = read(1)?[0];
            String::from_utf8(read(usize::from(length))?).ok()?
        }
        _ => return None,
    };
    let port = read(2)?;
    Some(format!("{host}:{}", u16::from_be_bytes([port[0], port[1]])))
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, seen: &Seen) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        seen.bytes.lock().expect("nobody panics while writing").extend_from_slice(&buffer[..length]);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
