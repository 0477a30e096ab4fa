//! Finds which user owns a connection. Every local user can reach the loopback address, and Linux lists the owner of
//! each socket.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use super::super::Peer;

/// A program may connect to 127.0.0.1 from an IPv6 socket too.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// Maximum bytes read from a table: 150-byte rows for about 400,000 connections.
const MAX_TABLE: u64 = 64 * 1024 * 1024;
/// How often to read the tables before a socket counts as missing. A concurrent change can hide a row.
const MAX_READS: usize = 3;
/// The UID shown for users without a mapping in a user namespace.
const OVERFLOW_UID: u32 = 65534;

/// Finds the owner of the open connection from `from` to `to`.
pub(crate) fn connection_owner(from: SocketAddr, to: SocketAddr) -> Peer {
    let found = (0..MAX_READS).find_map(|_| TABLES.iter().find_map(|table| look_up(table, from, to).ok()?));
    let own = rustix::process::geteuid().as_raw();
    found.map_or(Peer::Unknown, |user| peer_of(user, own))
}

fn peer_of(user: u32, own: u32) -> Peer {
    match user {
        OVERFLOW_UID if own == OVERFLOW_UID => Peer::Unknown,
        _ if user == own => Peer::ThisUser,
        0 => Peer::Root,
        _ => Peer::AnotherUser,
    }
}

/// Tests with an own connection if this system shows the owners of connections.
pub(crate) fn can_identify_owners() -> bool {
    let try_it = || -> io::Result<Peer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let to = listener.local_addr()?;
        let stream = TcpStream::connect(to)?;
        Ok(connection_owner(stream.local_addr()?, to))
    };
    try_it().is_ok_and(|peer| peer == Peer::ThisUser)
}

/// Finds in `table` the UID that owns the socket at the other end.
fn look_up(table: &str, from: SocketAddr, to: SocketAddr) -> io::Result<Option<u32>> {
    let file = File::open(table)?.take(MAX_TABLE);
    let is_mapped = table.ends_with('6');
    let (from, to) = (table_format(from, is_mapped), table_format(to, is_mapped));
    for row in BufReader::new(file).lines() {
        if let Some(user) = owner_of_row(&row?, &from, &to) {
            return Ok(Some(user));
        }
    }
    Ok(None)
}

/// The owner in a row (proc(5)): number, local address, remote address, state, queues, timer, retransmissions, UID,
/// timeouts, inode. A socket without a process has inode 0, and its UID is meaningless.
fn owner_of_row(row: &str, from: &str, to: &str) -> Option<u32> {
    let mut columns = row.split_ascii_whitespace().skip(1);
    if columns.next()? != from || columns.next()? != to {
        return None;
    }
    let user = columns.nth(4)?.parse().ok()?;
    let inode: u64 = columns.nth(1)?.parse().ok()?;
    (inode != 0).then_some(user)
}

/// An address in the format of the tables: 32-bit words in host byte order, then the port.
fn table_format(address: SocketAddr, is_mapped: bool) -> String {
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

    /// Both ends of a connection dialled at this address, and their addresses as the listener sees them.
    fn connected(host: &str) -> ([TcpStream; 2], SocketAddr, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let to = listener.local_addr().expect("an address");
        let stream = TcpStream::connect((host, to.port())).expect("it listens");
        let (accepted, from) = listener.accept().expect("a connection");
        ([stream, accepted], from, to)
    }

    #[test]
    fn own_connection_is_recognized_on_ipv4_and_ipv6_sockets() {
        if !std::path::Path::new(TABLES[0]).exists() {
            return infra_harness::skip::report("this system does not list the owners of sockets");
        }
        assert!(can_identify_owners());
        // Without IPv6, the dual-stack case cannot be tested.
        let has_ipv6 = TcpListener::bind("[::]:0").is_ok();
        for host in ["127.0.0.1", "::ffff:127.0.0.1"].into_iter().take(1 + usize::from(has_ipv6)) {
            let ([stream, _accepted], from, to) = connected(host);
            assert_eq!(connection_owner(from, to), Peer::ThisUser, "{host}");
            // A client that closed its sending side still waits for the response.
            stream.shutdown(std::net::Shutdown::Write).expect("a connection");
            assert_eq!(connection_owner(from, to), Peer::ThisUser, "{host}, half closed");
        }
    }

    #[test]
    fn closed_connection_has_unknown_owner() {
        let ([stream, accepted], from, to) = connected("127.0.0.1");
        drop(stream);
        assert_eq!(connection_owner(from, to), Peer::Unknown);
        drop(accepted);
        assert_eq!(connection_owner(from, to), Peer::Unknown);
    }

    #[test]
    fn overflow_uid_is_never_this_user() {
        for (user, own, peer) in [
            (1000, 1000, Peer::ThisUser),
            (0, 0, Peer::ThisUser),
            (0, 1000, Peer::Root),
            (1001, 1000, Peer::AnotherUser),
            (1000, 0, Peer::AnotherUser),
            (OVERFLOW_UID, 1000, Peer::AnotherUser),
            (OVERFLOW_UID, OVERFLOW_UID, Peer::Unknown),
        ] {
            assert_eq!(peer_of(user, own), peer, "{user} seen by {own}");
        }
    }

    #[test]
    fn row_matches_only_its_addresses_and_live_sockets() {
        let row = |user: &str, inode: &str| {
            format!(
                "   7: 0100007F:D431 0100007F:206D 01 00000000:00000000 00:00000000 00000000  {user}        0 {inode} 1 00"
            )
        };
        let (from, to) = ("0100007F:D431", "0100007F:206D");
        assert_eq!(owner_of_row(&row("1000", "2881"), from, to), Some(1000));
        // A socket without a process is not reported as root's.
        assert_eq!(owner_of_row(&row("0", "0"), from, to), None);
        assert_eq!(owner_of_row(&row("1000", "2881"), to, from), None);
        assert_eq!(owner_of_row(&row("1000", "2881"), from, "0100007F:206E"), None);
        for odd in ["", "sl local_address rem_address st", "7: 0100007F:D431 0100007F:206D 01 0 0 0 x 0 1"] {
            assert_eq!(owner_of_row(odd, from, to), None, "{odd}");
        }
    }
}
