//! PROXY protocol version 2: a header in which a trusted proxy names the client of a connection.
//!
//! Written by hand: a header is 28 or 52 bytes of fixed layout, and the crates parse version 1 too or keep what we
//! skip.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
/// Two IPv6 addresses and two ports.
const MOST_ADDRESS_BYTES: usize = 36;

/// The origin of a connection according to the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The proxy itself, or an origin without an internet address.
    Proxy,
    Client(SocketAddr),
}

/// Why the header is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a proxy that is trusted sent no PROXY header of version 2: {0}")]
pub struct InvalidHeader(&'static str);

/// The fixed part of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fixed {
    kind: Kind,
    /// Number of bytes that follow.
    length: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    NoAddress,
    IPv4,
    IPv6,
}

/// Reads a header from the start of `stream`, and not a byte more. Skips everything after the addresses unread, so
/// that it takes no memory.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Origin> {
    let mut fixed = [0; FIXED_BYTES];
    stream.read_exact(&mut fixed).await?;
    let fixed = read_fixed(&fixed).map_err(io::Error::other)?;
    let mut addresses = [0; MOST_ADDRESS_BYTES];
    let taken = fixed.kind.address_bytes();
    if let Some(addresses) = addresses.get_mut(..taken) {
        stream.read_exact(addresses).await?;
    }
    let rest = fixed.length - taken;
    let skipped =
        tokio::io::copy(&mut stream.take(u64::try_from(rest).unwrap_or(u64::MAX)), &mut tokio::io::sink())
            .await?;
    if usize::try_from(skipped) != Ok(rest) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(origin(fixed.kind, &addresses))
}

/// Parses the header at the start of `bytes` and returns its length. For callers with all bytes at hand, such as a
/// fuzzer.
pub fn parse(bytes: &[u8]) -> Result<(Origin, usize), InvalidHeader> {
    const CUT_OFF: InvalidHeader = InvalidHeader("it is cut off");
    let (fixed, rest) = bytes.split_first_chunk().ok_or(CUT_OFF)?;
    let fixed = read_fixed(fixed)?;
    let rest = rest.get(..fixed.length).ok_or(CUT_OFF)?;
    let mut addresses = [0; MOST_ADDRESS_BYTES];
    for (to, from) in addresses.iter_mut().zip(rest) {
        *to = *from;
    }
    Ok((origin(fixed.kind, &addresses), FIXED_BYTES + fixed.length))
}

/// PROXY protocol §2.2.
fn read_fixed(fixed: &[u8; FIXED_BYTES]) -> Result<Fixed, InvalidHeader> {
    let [signature @ .., version_and_command, family, high, low] = fixed;
    if *signature != SIGNATURE {
        return Err(InvalidHeader("it begins with something else"));
    }
    let is_local = match version_and_command {
        0x20 => true,
        0x21 => false,
        byte if byte >> 4 != 2 => return Err(InvalidHeader("the version is another")),
        _ => return Err(InvalidHeader("the command is unknown")),
    };
    let kind = match family {
        0x00 | 0x31 | 0x32 => Kind::NoAddress,
        0x11 => Kind::IPv4,
        0x21 => Kind::IPv6,
        // Datagrams do not occur on a stream, and other values are unassigned. LOCAL says to ignore the rest.
        _ if is_local => Kind::NoAddress,
        _ => return Err(InvalidHeader("the family or transport is not one of a stream")),
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length < kind.address_bytes() {
        return Err(InvalidHeader("it is shorter than its addresses"));
    }
    Ok(Fixed { kind: if is_local { Kind::NoAddress } else { kind }, length })
}

fn origin(kind: Kind, addresses: &[u8; MOST_ADDRESS_BYTES]) -> Origin {
    let two = |at: usize| addresses.get(at..).and_then(<[u8]>::first_chunk).copied().map(u16::from_be_bytes);
    let (address, port): (IpAddr, _) = match kind {
        Kind::NoAddress => return Origin::Proxy,
        Kind::IPv4 => {
            (addresses.first_chunk().copied().map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from).into(), two(8))
        }
        Kind::IPv6 => {
            (addresses.first_chunk().copied().map_or(Ipv6Addr::UNSPECIFIED, Ipv6Addr::from).into(), two(32))
        }
    };
    Origin::Client(SocketAddr::new(address, port.unwrap_or_default()))
}

impl Kind {
    fn address_bytes(self) -> usize {
        match self {
            Self::NoAddress => 0,
            Self::IPv4 => 12,
            Self::IPv6 => MOST_ADDRESS_BYTES,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short enough").to_be_bytes();
        [&SIGNATURE[..], &[version_and_command, family], &length, body].concat()
    }

    fn ipv4() -> Vec<u8> {
        vec![192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x01, 0xbb]
    }

    /// Reads it from a stream with more bytes after it.
    fn read_from(bytes: &[u8]) -> (Option<Origin>, usize) {
        let mut stream = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let origin = runtime.block_on(read(&mut stream)).ok();
        (origin, bytes.len() - stream.len())
    }

    #[test]
    fn header_is_read_and_following_bytes_are_not() {
        let ipv6: Vec<u8> = (0..36).collect();
        let client = |text: &str| Origin::Client(text.parse().expect("an address and a port"));
        let with_tlvs = [ipv4(), vec![0x04, 0, 3, 1, 2, 3]].concat();
        let from_ipv6 = client("[1:203:405:607:809:a0b:c0d:e0f]:8225");
        for (bytes, origin) in [
            (header(0x21, 0x11, &ipv4()), client("192.0.2.7:12345")),
            (header(0x21, 0x21, &ipv6), from_ipv6),
            (header(0x21, 0x11, &with_tlvs), client("192.0.2.7:12345")),
            (header(0x21, 0x11, &[ipv4(), vec![0xff; 65_000]].concat()), client("192.0.2.7:12345")),
            (header(0x20, 0x00, &[]), Origin::Proxy),
            (header(0x20, 0x11, &ipv4()), Origin::Proxy),
            (header(0x20, 0xff, &[1, 2, 3]), Origin::Proxy),
            (header(0x21, 0x00, &[9; 20]), Origin::Proxy),
            (header(0x21, 0x31, &[b'a'; 216]), Origin::Proxy),
        ] {
            let length = bytes.len();
            assert_eq!(parse(&bytes), Ok((origin, length)));
            let followed = [&bytes[..], b"\x16\x03\x01"].concat();
            assert_eq!(read_from(&followed), (Some(origin), length));
        }
    }

    #[test]
    fn invalid_proxy_header_is_rejected() {
        let mut other_signature = header(0x21, 0x11, &ipv4());
        other_signature[11] = b'\r';
        let whole = header(0x21, 0x11, &ipv4());
        for bytes in [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 12345 443\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a ClientHello".to_vec(),
            Vec::new(),
            other_signature,
            header(0x11, 0x11, &ipv4()),
            header(0x22, 0x11, &ipv4()),
            header(0x21, 0x12, &ipv4()),
            header(0x21, 0x13, &ipv4()),
            header(0x21, 0x41, &ipv4()),
            header(0x21, 0x11, &ipv4()[..11]),
            header(0x21, 0x21, &ipv4()),
            whole[..15].to_vec(),
            whole[..27].to_vec(),
        ] {
            assert!(parse(&bytes).is_err(), "{bytes:?}");
            assert_eq!(read_from(&bytes).0, None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn stream_and_bytes_parse_alike(
            version_and_command in prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11_u8), Just(0x21), any::<u8>()],
            length in any::<u16>(),
            body in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let length = (length % 90).to_be_bytes();
            let bytes = [&SIGNATURE[..], &[version_and_command, family], &length, &body].concat();
            let parsed = parse(&bytes).ok();
            let (read, taken) = read_from(&bytes);
            prop_assert_eq!(parsed.map(|(origin, _)| origin), read);
            if let Some((_, length)) = parsed {
                prop_assert_eq!(length, taken);
            }
        }

        #[test]
        fn parser_accepts_arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes).is_err() || bytes.starts_with(&SIGNATURE));
        }
    }
}
