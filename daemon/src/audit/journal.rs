//! The log in the journal of systemd, by its native protocol: one datagram an entry, a field a line.

use std::io;
use std::os::unix::net::UnixDatagram;

const SOCKET: &str = "/run/systemd/journal/socket";
/// By what `journalctl --identifier` finds it.
const IDENTIFIER: &str = "infrad-audit";
/// syslog's `notice`.
const PRIORITY: u8 = 5;

pub(super) struct Journal(UnixDatagram);

impl Journal {
    pub(super) fn open() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(SOCKET)?;
        // A journal that hangs must not hang a login.
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// A line has no line feed in it but its last: JSON escapes them.
    pub(super) fn send(&self, line: &str) -> io::Result<()> {
        let entry = format!("PRIORITY={PRIORITY}\nSYSLOG_IDENTIFIER={IDENTIFIER}\nMESSAGE={line}");
        self.0.send(entry.as_bytes()).map(drop)
    }
}
