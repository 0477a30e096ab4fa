//! PROXY protocol version 2: a header in which a trusted proxy names the client of a connection.
//!
//! Read by hand: the crates keep all of a header in memory, up to 64 kB, and refuse a LOCAL header with an unknown
//! family.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The origin of a connection according to the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxySource {
    /// The proxy itself, or an origin without an internet address.
    Proxy,
    Client(SocketAddr),
}

/// Reads a header from the start of `stream` (PROXY protocol §2.2), and not a byte more. Skips everything after the
/// addresses unread, so that it takes no memory.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxySource> {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).await?;
    let [signature @ .., version_and_command, family, high, low] = fixed;
    if signature != SIGNATURE {
        return Err(invalid("the signature is missing"));
    }
    let mut rest = stream.take(u16::from_be_bytes([high, low]).into());
    let origin = match (version_and_command, family) {
        // LOCAL says to ignore the family and the rest.
        (0x20, _) | (0x21, 0x00 | 0x31 | 0x32) => ProxySource::Proxy,
        (0x21, 0x11) => {
            let [source, _] = [rest.read_u32().await?, rest.read_u32().await?];
            let [port, _] = [rest.read_u16().await?, rest.read_u16().await?];
            ProxySource::Client((Ipv4Addr::from(source), port).into())
        }
        (0x21, 0x21) => {
            let [source, _] = [rest.read_u128().await?, rest.read_u128().await?];
            let [port, _] = [rest.read_u16().await?, rest.read_u16().await?];
            ProxySource::Client((Ipv6Addr::from(source), port).into())
        }
        // Datagrams do not occur on a stream, and other values are unassigned.
        (0x21, _) => return Err(invalid("its address family or transport is not TCP")),
        (0x22..=0x2f, _) => return Err(invalid("its command is unknown")),
        _ => return Err(invalid("it has another version")),
    };
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
    if rest.limit() > 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(origin)
}

fn invalid(why: &str) -> io::Error {
    let error = format!("a trusted proxy sent no valid PROXY header of version 2: {why}");
    io::Error::new(io::ErrorKind::InvalidData, error)
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
    fn read_from(bytes: &[u8]) -> (Option<ProxySource>, usize) {
        let mut stream = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let origin = runtime.block_on(read(&mut stream)).ok();
        (origin, bytes.len() - stream.len())
    }

    #[test]
    fn header_is_read_and_following_bytes_are_not() {
        let ipv6: Vec<u8> = (0..36).collect();
        let client = |text: &str| ProxySource::Client(text.parse().expect("an address and a port"));
        let with_tlvs = [ipv4(), vec![0x04, 0, 3, 1, 2, 3]].concat();
        let from_ipv6 = client("[1:203:405:607:809:a0b:c0d:e0f]:8225");
        for (bytes, origin) in [
            (header(0x21, 0x11, &ipv4()), client("192.0.2.7:12345")),
            (header(0x21, 0x21, &ipv6), from_ipv6),
            (header(0x21, 0x11, &with_tlvs), client("192.0.2.7:12345")),
            (header(0x21, 0x11, &[ipv4(), vec![0xff; 65_000]].concat()), client("192.0.2.7:12345")),
            (header(0x20, 0x00, &[]), ProxySource::Proxy),
            (header(0x20, 0x11, &ipv4()), ProxySource::Proxy),
            (header(0x20, 0x11, &[1, 2, 3]), ProxySource::Proxy),
            (header(0x20, 0xff, &[1, 2, 3]), ProxySource::Proxy),
            (header(0x21, 0x00, &[9; 20]), ProxySource::Proxy),
            (header(0x21, 0x31, &[b'a'; 216]), ProxySource::Proxy),
        ] {
            let length = bytes.len();
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
            assert_eq!(read_from(&bytes).0, None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn header_is_read_whole_or_rejected(
            version_and_command in prop_oneof![Just(0x20_u8), Just(0x21), any::<u8>()],
            family in prop_oneof![Just(0x11_u8), Just(0x21), any::<u8>()],
            length in any::<u16>(),
            body in prop::collection::vec(any::<u8>(), 0..80),
        ) {
            let length = length % 90;
            let bytes =
                [&SIGNATURE[..], &[version_and_command, family], &length.to_be_bytes(), &body].concat();
            let (origin, taken) = read_from(&bytes);
            if origin.is_some() {
                prop_assert_eq!(taken, 16 + usize::from(length));
            }
        }

        #[test]
        fn arbitrary_bytes_are_no_header(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read_from(&bytes).0.is_none() || bytes.starts_with(&SIGNATURE));
        }
    }
}
