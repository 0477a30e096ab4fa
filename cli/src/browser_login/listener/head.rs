//! Reads the head of a request before it is parsed. Browsers send the cookies of every program on 127.0.0.1, so it may
//! be large. A TLS connection is recognized by its first bytes.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Maximum size of a head. This holds the cookies of about ten programs.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a larger head that are read and discarded, so that the client reads the response instead of a reset.
const MAX_DISCARDED: usize = 1024 * 1024;
const CHUNK: usize = 4096;
/// The first bytes of a TLS record with a `ClientHello`: type and major version (RFC 8446 §5.1).
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];

/// How a connection started.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A complete head and any bytes received after it.
    Whole(Vec<u8>),
    TooLarge,
    TLS,
    /// The connection closed before the head was complete.
    Unfinished,
}

/// Reads until the empty line that ends a head. The caller sets the time limit.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Head {
    let (mut head, mut dropped) = (Vec::new(), 0);
    let mut piece = [0; CHUNK];
    loop {
        let length = stream.read(&mut piece).await.unwrap_or_default();
        if length == 0 {
            return Head::Unfinished;
        }
        // The previous line end may be in an earlier chunk.
        let searched = head.len().saturating_sub(2);
        head.extend_from_slice(piece.get(..length).unwrap_or_default());
        if head.starts_with(&TLS_HANDSHAKE) && dropped == 0 {
            return Head::TLS;
        }
        let is_whole = has_empty_line(head.get(searched..).unwrap_or_default());
        let is_too_large = dropped > 0 || head.len() > MAX_HEAD;
        match (is_whole, is_too_large) {
            (true, false) => return Head::Whole(head),
            (true, true) => return Head::TooLarge,
            (false, false) => {}
            (false, true) => {
                let surplus = head.len().saturating_sub(2);
                dropped += surplus;
                head.drain(..surplus);
                if dropped > MAX_DISCARDED {
                    return Head::TooLarge;
                }
            }
        }
    }
}

/// Whether `bytes` contain an empty line. A line feed alone is accepted as a line end (RFC 9112 §2.2).
fn has_empty_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(3).any(|three| three == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read_all(bytes: &[u8]) -> Head {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(read(&mut Cursor::new(bytes)))
    }

    /// A head of this size, in which a chunk boundary may split the empty line.
    fn head(size: usize, end: &str) -> Vec<u8> {
        let begin = "GET / HTTP/1.1\r\nCookie: ";
        let filling = "a".repeat(size - begin.len() - end.len());
        format!("{begin}{filling}{end}").into_bytes()
    }

    #[test]
    fn head_is_kept_up_to_limit_at_any_split() {
        for end in ["\r\n\r\n", "\n\n", "\r\n\n"] {
            for size in (CHUNK - 3..CHUNK + 4).chain([MAX_HEAD - 1, MAX_HEAD]) {
                let head = head(size, end);
                assert!(read_all(&head) == Head::Whole(head), "{size} bytes with {end:?}");
            }
        }
    }

    #[test]
    fn larger_head_is_reported_and_discarded() {
        for size in [MAX_HEAD + CHUNK, MAX_HEAD + 8 * CHUNK, MAX_DISCARDED] {
            assert!(read_all(&head(size, "\r\n\r\n")) == Head::TooLarge, "{size} bytes");
        }
        assert_eq!(read_all(&vec![b'a'; 2 * MAX_DISCARDED]), Head::TooLarge);
    }

    #[test]
    fn tls_and_unfinished_heads_are_recognized() {
        assert_eq!(read_all(&[0x16, 3, 1, 2, 0, 1]), Head::TLS);
        for unfinished in [&b""[..], b"\x16", b"GET / HTTP/1.1\r\n", b"\x16 3\r\n"] {
            assert_eq!(read_all(unfinished), Head::Unfinished);
        }
    }
}
