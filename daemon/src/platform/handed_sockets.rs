//! Sockets that the service manager opened and hands over (sd_listen_fds(3)): at ports that this user may not open.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// What was handed over and is not in use yet.
#[derive(Debug, Default)]
pub struct HandedSockets(Vec<(SocketAddr, TcpListener)>);

impl HandedSockets {
    /// Takes those of this process. To be called while it has one thread: the variables that tell of them are removed, so
    /// that no program that is started from here takes them for its own.
    pub fn take() -> io::Result<Self> {
        let mut handed = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..handed.len() {
            let Some(socket) = handed.take_tcp_listener(index)? else { continue };
            socket.set_nonblocking(true)?;
            sockets.push((socket.local_addr()?, socket));
        }
        Ok(Self(sockets))
    }

    /// An address that is not among `expected`: whoever connects to it would wait for ever.
    pub fn beside(&self, expected: &[SocketAddr]) -> Option<SocketAddr> {
        self.0.iter().map(|(address, _)| *address).find(|address| !expected.contains(address))
    }

    /// The socket at `address`; `None` where it is to be opened here.
    pub fn take_at(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let index = self.0.iter().position(|(handed, _)| *handed == address)?;
        Some(self.0.swap_remove(index).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed() -> (HandedSockets, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        (HandedSockets(vec![(address, socket)]), address)
    }

    #[test]
    fn a_socket_is_found_by_its_address_and_taken_once() {
        let (mut handed, address) = handed();
        assert!(handed.take_at(([127, 0, 0, 2], address.port()).into()).is_none());
        assert_eq!(handed.take_at(address).expect("a socket").local_addr().expect("an address"), address);
        assert!(handed.take_at(address).is_none());
    }

    #[test]
    fn a_socket_that_nobody_will_serve_is_named() {
        let (handed, address) = handed();
        assert_eq!(handed.beside(&[address]), None);
        assert_eq!(handed.beside(&[([127, 0, 0, 1], 443).into()]), Some(address));
        assert_eq!(HandedSockets::default().beside(&[]), None);
    }
}
