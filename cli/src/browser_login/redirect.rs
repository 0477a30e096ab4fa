//! The loopback address to which the identity provider redirects the browser (RFC 8252 §7.3).

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use super::LoginError;

/// A registered redirect URI and its listening socket.
pub(super) struct LoopbackRedirect {
    pub(super) port: u16,
    /// `None` if every registered port is in use. The response must then be pasted.
    pub(super) socket: Option<TcpListener>,
}

impl LoopbackRedirect {
    /// Binds the first free registered port. With `may_paste`, a sign-in works without one.
    pub(super) fn bind(registered: &[String], may_paste: bool) -> Result<Self, LoginError> {
        let ports = ports(registered);
        let mut reasons: Vec<io::Error> = Vec::new();
        for port in &ports {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, *port)) {
                Ok(socket) => return Ok(Self { port: *port, socket: Some(socket) }),
                Err(reason) => reasons.push(reason),
            }
        }
        match ports.first() {
            None => Err(LoginError::NoRedirectURI),
            Some(first) if may_paste => Ok(Self { port: *first, socket: None }),
            Some(_) => Err(LoginError::PortsTaken { ports, reasons }),
        }
    }

    pub(super) fn uri(&self) -> String {
        uri(self.port)
    }
}

/// The ports of the valid redirect URIs.
pub fn ports(registered: &[String]) -> Vec<u16> {
    registered.iter().filter_map(|uri| port(uri)).collect()
}

fn uri(port: u16) -> String {
    format!("http://127.0.0.1:{port}/callback")
}

/// The port of a redirect URI that has exactly the required form. A name such as `localhost` may resolve to another
/// address.
fn port(registered: &str) -> Option<u16> {
    let port = registered.strip_prefix("http://127.0.0.1:")?.strip_suffix("/callback")?.parse().ok()?;
    (port != 0 && uri(port) == registered).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> (TcpListener, u16) {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        (socket, port)
    }

    #[test]
    fn only_exact_loopback_redirect_uris_are_accepted() {
        assert_eq!(port("http://127.0.0.1:8301/callback"), Some(8301));
        for wrong in [
            "http://localhost:8301/callback",
            "http://[::1]:8301/callback",
            "https://127.0.0.1:8301/callback",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:0/callback",
            "http://127.0.0.1:08301/callback",
            "http://127.0.0.1:+8301/callback",
            "http://127.0.0.1:8301/callback/",
            "http://127.0.0.1:8301@evil.test/callback",
            "http://0.0.0.0:8301/callback",
            "http://127.0.0.1:83010/callback",
        ] {
            assert_eq!(port(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn next_port_is_bound_when_one_is_taken() {
        let (_taken, first) = held();
        let (free, second) = held();
        drop(free);
        let redirect = LoopbackRedirect::bind(&[uri(first), uri(second)], false).expect("the second port");
        assert_eq!(redirect.port, second);
        assert!(redirect.socket.is_some());
    }

    #[test]
    fn pasting_remains_when_all_ports_are_taken() {
        let (_taken, port) = held();
        assert!(
            matches!(LoopbackRedirect::bind(&[uri(port)], false), Err(LoginError::PortsTaken { ports, .. }) if ports == [port])
        );
        let redirect = LoopbackRedirect::bind(&[uri(port)], true).expect("pasting");
        assert!(redirect.socket.is_none() && redirect.port == port);
        assert!(matches!(LoopbackRedirect::bind(&[], true), Err(LoginError::NoRedirectURI)));
    }
}
