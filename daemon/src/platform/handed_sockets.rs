//! Sockets that the service manager opens and passes on (sd_listen_fds(3)), at ports that this user may not open.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;

/// Sockets that were passed on and are not in use yet.
#[derive(Debug, Default)]
pub struct HandedSockets(Vec<(SocketAddr, TcpListener)>);

impl HandedSockets {
    /// Takes the sockets passed to this process.
    ///
    /// Call it while the process has only one thread: it removes the environment variables, so that child processes do
    /// not claim the sockets.
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

    /// Where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }

    /// Takes the socket at `address`. `None` if the daemon must open it.
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
    fn socket_is_found_by_address_and_taken_once() {
        let (mut handed, address) = handed();
        assert!(handed.take_at(([127, 0, 0, 2], address.port()).into()).is_none());
        assert_eq!(handed.take_at(address).expect("a socket").local_addr().expect("an address"), address);
        assert!(handed.take_at(address).is_none());
    }
}
