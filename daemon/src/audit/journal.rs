//! The log in the systemd journal, by its native protocol: one datagram per entry, one field per line.

use std::io;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/run/systemd/journal/socket";
/// The value for `journalctl --identifier`.
const IDENTIFIER: &str = "infrad-audit";
/// syslog's `notice`.
const PRIORITY: u8 = 5;

pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        // A hanging journal must not block logins.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// Sends a line. It has no inner line feeds, because JSON escapes them.
    pub(super) fn send(&self, line: &str) -> io::Result<()> {
        let entry = format!("PRIORITY={PRIORITY}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nMESSAGE={line}");
        self.0.send(entry.as_bytes()).map(drop)
    }
}
