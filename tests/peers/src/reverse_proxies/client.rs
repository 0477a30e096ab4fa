//! Byte-exact requests over TLS, including requests that no client sends.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::HOST;

pub(super) type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Response timeout, above the time after which a proxy gives up on the daemon.
const PATIENCE: Duration = Duration::from_secs(20);

/// A persistent HTTP/1.1 connection.
pub struct Connection {
    stream: Tls,
    read: Vec<u8>,
    may_be_silent: bool,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

pub(super) fn dial(port: u16, authority: CertificateDer<'static>, protocols: &[&[u8]]) -> io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(authority).expect("the certificate of an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from(HOST).expect("a host name");
    let mut connection = ClientConnection::new(Arc::new(config), name).expect("a sound configuration");
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    connection.complete_io(&mut socket)?;
    Ok(StreamOwned::new(connection, socket))
}

impl Connection {
    pub(super) fn over(stream: Tls) -> Self {
        Self { stream, read: Vec::new(), may_be_silent: false }
    }

    /// Treats silence as the end of the connection, because a server may wait for the rest of a malformed
    /// request.
    #[must_use]
    pub fn allowing_silence(self) -> Self {
        Self { may_be_silent: true, ..self }
    }

    /// Sends these bytes and reads one response; `None` if the connection ends without one.
    pub fn ask(&mut self, request: &[u8]) -> Option<Answer> {
        self.send(request);
        self.answer()
    }

    /// Sends these bytes. A closed connection is detected when reading the response.
    pub fn send(&mut self, request: &[u8]) {
        let _ = self.stream.write_all(request).and_then(|()| self.stream.flush());
    }

    /// Reads the next response.
    pub fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = memchr::memmem::find(&self.read, b"\r\n\r\n") {
                break end + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok())?;
        let header = |name: &str| {
            head.lines().filter_map(|line| line.split_once(':')).find_map(|(header, value)| {
                header.eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
            })
        };
        let body = if header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            let end = loop {
                if let Some(end) = memchr::memmem::find(&self.read, b"0\r\n\r\n") {
                    break end + 5;
                }
                self.more()?;
            };
            self.read.drain(..end).collect()
        } else {
            let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            while self.read.len() < length {
                self.more()?;
            }
            self.read.drain(..length).collect()
        };
        Some(Answer { status, head, body })
    }

    /// Returns `None` at the end of the connection. Fails the test if the server stays silent.
    fn more(&mut self) -> Option<()> {
        let mut buffer = [0; 16_384];
        match self.stream.read(&mut buffer) {
            Ok(0) => None,
            Ok(length) => {
                self.read.extend_from_slice(&buffer[..length]);
                Some(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !self.may_be_silent => {
                panic!("no answer within {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }
}

impl Answer {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find_map(|(header, value)| header.eq_ignore_ascii_case(name).then(|| value.trim()))
    }
}
