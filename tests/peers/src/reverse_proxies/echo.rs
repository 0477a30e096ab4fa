//! A service that keeps the exact bytes of each request, and parses them as an application might.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Idle timeout, above the lifetime of any test connection.
const IDLE: Duration = Duration::from_mins(1);

/// A plain HTTP/1.1 service, as found behind a proxy; stopped when dropped.
pub struct EchoService {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The complete bytes of one request.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    pub bytes: Vec<u8>,
}

impl EchoService {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (received, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (keep, is_over) = (Arc::clone(&received), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            while let Ok((connection, _)) = listener.accept() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let keep = Arc::clone(&keep);
                std::thread::spawn(move || serve(connection, &keep));
            }
        });
        Self { address, received, ended, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All received requests, in order.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests received for this path.
    pub fn received_at(&self, path: &str) -> Vec<Received> {
        self.received().into_iter().filter(|request| request.path() == path).collect()
    }
}

impl Drop for EchoService {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that waits for the next connection.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Received {
    fn path(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// The value of a header, ignoring case. `None` unless exactly one header has this name.
    pub fn header(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let mut values = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let mut own = values.by_ref().filter(|(header, _)| header.eq_ignore_ascii_case(name));
        let value = own.next().map(|(_, value)| value.trim().to_owned());
        if own.next().is_some() { None } else { value }
    }

    /// Parses names and values as leniently as any application could.
    ///
    /// Any line ending counts, also within the body, because of trailers. Names are lower-cased without CGI's
    /// `HTTP_`, and every character except letters and digits becomes a hyphen.
    pub fn read_leniently(&self) -> Vec<(String, String)> {
        let lines = self.bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        let fields = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            let value = String::from_utf8_lossy(&value[1..]).trim().to_owned();
            Some((fold(name), value))
        });
        fields.collect()
    }

    /// All values of a name in the format of [`Self::read_leniently`].
    pub fn lenient_values(&self, name: &str) -> Vec<String> {
        self.read_leniently().into_iter().filter(|(field, _)| field == name).map(|(_, value)| value).collect()
    }

    pub fn contains(&self, text: &str) -> bool {
        memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.bytes.escape_ascii())
    }
}

/// Character by character like CGI: `X-Infra--User` and `X-Infra-User-` stay different names everywhere.
fn fold(name: &[u8]) -> String {
    let name = name.trim_ascii().to_ascii_lowercase();
    let name = name.strip_prefix(b"http_").unwrap_or(&name);
    name.iter().map(|byte| if byte.is_ascii_alphanumeric() { char::from(*byte) } else { '-' }).collect()
}

fn serve(mut connection: TcpStream, keep: &Mutex<Vec<Received>>) {
    let _ = connection.set_read_timeout(Some(IDLE));
    let mut read = Vec::new();
    while let Some(bytes) = next_request(&mut connection, &mut read) {
        keep.lock().unwrap_or_else(PoisonError::into_inner).push(Received { bytes });
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
        if connection.write_all(answer).is_err() {
            return;
        }
    }
}

fn next_request(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head = wait_for(connection, read, 0, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let value = |name: &str| text.split(name).nth(1).and_then(|rest| rest.split("\r\n").next());
    let end = if value("\r\ntransfer-encoding:").is_some() {
        // The last chunk, then trailers up to an empty line (RFC 9112 §7.1). No test body contains such a
        // line.
        let last = if read[head..].starts_with(b"0\r\n") {
            head + 1
        } else {
            wait_for(connection, read, head, b"\r\n0\r\n")? - 2
        };
        wait_for(connection, read, last, b"\r\n\r\n")?
    } else {
        let length: usize =
            value("\r\ncontent-length:").and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        while read.len() < head + length {
            more(connection, read)?;
        }
        head + length
    };
    Some(read.drain(..end).collect())
}

/// Returns the end of the `awaited` bytes.
fn wait_for(connection: &mut TcpStream, read: &mut Vec<u8>, from: usize, awaited: &[u8]) -> Option<usize> {
    loop {
        if let Some(found) = memchr::memmem::find(read.get(from..).unwrap_or_default(), awaited) {
            return Some(from + found + awaited.len());
        }
        more(connection, read)?;
    }
}

fn more(connection: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16_384];
    let length = connection.read(&mut buffer).ok().filter(|length| *length > 0)?;
    read.extend_from_slice(&buffer[..length]);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lenient_reading_folds_every_spelling_to_same_name() {
        for spelling in [
            "X-Infra-User",
            "x_infra_user",
            "X.Infra.User ",
            "HTTP_X_INFRA_USER",
            "\tX-Infra~User",
            "X Infra User",
        ] {
            let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{spelling}: forged\r\n\r\n").into_bytes();
            assert_eq!(Received { bytes }.lenient_values("x-infra-user"), ["forged"], "{spelling}");
        }
    }

    #[test]
    fn chunked_body_with_trailers_is_kept_completely() {
        let service = EchoService::start();
        let sent =
            b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Infra-User: a\r\n\r\n";
        let next = b"GET /b HTTP/1.1\r\n\r\n";
        let mut connection = TcpStream::connect(service.address).expect("it listens");
        connection.write_all(&[sent.as_slice(), next].concat()).expect("it reads");
        let received = infra_harness::wait::until(Duration::from_secs(30), || {
            let received = service.received();
            (received.len() == 2).then_some(received)
        });
        let received = received.expect("two requests");
        assert_eq!(
            (received[0].bytes.as_slice(), received[1].bytes.as_slice()),
            (sent.as_slice(), next.as_slice())
        );
        assert_eq!(service.received_at("/b"), received[1..]);
    }
}
