//! Whose connection it is. Every user of a machine reaches its loopback address, and Linux lists the owner of each socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

/// A program may connect to 127.0.0.1 from a socket for IPv6 too.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// The bytes of a table that are read: rows of 150 bytes for 400,000 connections.
const MAX_TABLE: u64 = 64 * 1024 * 1024;
/// How often the tables are read before a socket counts as missing: one that changes meanwhile can hide a row.
const READINGS: usize = 3;
/// What every user without a number of its own is shown as in a user namespace.
const OVERFLOW_USER: u32 = 65534;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Peer {
    ThisUser,
    AnotherUser,
    /// Root, who relays the connections of Windows in WSL. Elsewhere, a service of root's may connect for another user.
    Root,
    /// No table lists the socket.
    Unknown,
}

impl Peer {
    fn of(user: u32, own: u32) -> Self {
        match user {
            OVERFLOW_USER if own == OVERFLOW_USER => Self::Unknown,
            _ if user == own => Self::ThisUser,
            0 => Self::Root,
            _ => Self::AnotherUser,
        }
    }
}

/// Who opened the connection from `from` to `to`, while it lasts.
pub(in super::super) fn owner(from: SocketAddr, to: SocketAddr) -> Peer {
    let found = (0..READINGS).find_map(|_| TABLES.iter().find_map(|table| look_up(table, from, to).ok()?));
    let own = rustix::process::geteuid().as_raw();
    found.map_or(Peer::Unknown, |user| Peer::of(user, own))
}

/// Whether this system tells the owners of connections, tried with one of our own.
pub(in super::super) fn is_told() -> bool {
    let try_it = || -> io::Result<Peer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let to = listener.local_addr()?;
        let stream = TcpStream::connect(to)?;
        Ok(owner(stream.local_addr()?, to))
    };
    try_it().is_ok_and(|peer| peer == Peer::ThisUser)
}

/// The user who has the socket at the other end, if `table` lists it.
fn look_up(table: &str, from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let file = File::open(table)?.take(MAX_TABLE);
    let is_mapped = table.ends_with('6');
    let (from, to) = (as_listed(from, is_mapped), as_listed(to, is_mapped));
    for row in BufReader::new(file).lines() {
        if let Some(user) = owner_in(&row?, &from, &to) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// The owner in a row (proc(5)): number, the socket's own address, the address at its other end, state, queues, timer,
/// retransmissions, user, timeouts, inode. A socket that no process has any more has the inode 0, and nobody's user.
fn owner_in(row: &str, from: &str, to: &str) -> Option<u32> {
    let mut columns = row.split_ascii_whitespace().skip(1);
    if columns.next()? != from || columns.next()? != to {
        return None;
    }
    let user = columns.nth(4)?.parse().ok()?;
    let inode: u64 = columns.nth(1)?.parse().ok()?;
    (inode != 0).then_some(user)
}

/// An address as the tables have it: words of 32 bits in the order of this machine, then the port.
fn as_listed(address: SocketAddr, is_mapped: bool) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) if is_mapped => ip.to_ipv6_mapped().octets().to_vec(),
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = octets.as_chunks::<4>().0.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word)));
    format!("{}:{:04X}", words.collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ends of a connection that was dialled at this address, and where they are as the listener sees it.
    fn connected(host: &str) -> ([TcpStream; 2], SocketAddr, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let to = listener.local_addr().expect("an address");
        let stream = TcpStream::connect((host, to.port())).expect("it listens");
        let (accepted, from) = listener.accept().expect("a connection");
        ([stream, accepted], from, to)
    }

    #[test]
    fn own_connection_is_recognised_over_both_kinds_of_sockets() {
        if !std::path::Path::new(TABLES[0]).exists() {
            return infra_harness::skip::told("this system does not list the owners of sockets");
        }
        assert!(is_told());
        // Without IPv6 no socket of the second kind can be had.
        let has_ipv6 = TcpListener::bind("[::]:0").is_ok();
        for host in ["127.0.0.1", "::ffff:127.0.0.1"].into_iter().take(1 + usize::from(has_ipv6)) {
            let ([stream, _accepted], from, to) = connected(host);
            assert_eq!(owner(from, to), Peer::ThisUser, "{host}");
            // A client that said all it has to say still waits for the answer.
            stream.shutdown(std::net::Shutdown::Write).expect("a connection");
            assert_eq!(owner(from, to), Peer::ThisUser, "{host}, half closed");
        }
    }

    #[test]
    fn connection_that_is_gone_belongs_to_nobody() {
        let ([stream, accepted], from, to) = connected("127.0.0.1");
        drop(stream);
        assert_eq!(owner(from, to), Peer::Unknown);
        drop(accepted);
        assert_eq!(owner(from, to), Peer::Unknown);
    }

    #[test]
    fn user_without_a_number_of_its_own_is_never_this_user() {
        for (user, own, peer) in [
            (1000, 1000, Peer::ThisUser),
            (0, 0, Peer::ThisUser),
            (0, 1000, Peer::Root),
            (1001, 1000, Peer::AnotherUser),
            (1000, 0, Peer::AnotherUser),
            (OVERFLOW_USER, 1000, Peer::AnotherUser),
            (OVERFLOW_USER, OVERFLOW_USER, Peer::Unknown),
        ] {
            assert_eq!(Peer::of(user, own), peer, "{user} seen by {own}");
        }
    }

    #[test]
    fn row_counts_for_its_own_ends_and_with_an_inode_only() {
        let row = |user: &str, inode: &str| {
            format!(
                "   7: 0100007F:D431 0100007F:206D 01 00000000:00000000 00:00000000 00000000  {user}        0 {inode} 1 00"
            )
        };
        let (from, to) = ("0100007F:D431", "0100007F:206D");
        assert_eq!(owner_in(&row("1000", "2881"), from, to), Some(1000));
        // Root does not get what nobody has.
        assert_eq!(owner_in(&row("0", "0"), from, to), None);
        assert_eq!(owner_in(&row("1000", "2881"), to, from), None);
        assert_eq!(owner_in(&row("1000", "2881"), from, "0100007F:206E"), None);
        for odd in ["", "sl local_address rem_address st", "7: 0100007F:D431 0100007F:206D 01 0 0 0 x 0 1"] {
            assert_eq!(owner_in(odd, from, to), None, "{odd}");
        }
    }
}
