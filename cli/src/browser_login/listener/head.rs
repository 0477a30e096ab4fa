//! The head of a request, read before anything is made of it. Cookies of every other program on 127.0.0.1 come along, so
//! it may be large; a browser that insists on TLS is recognised by its first bytes.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The bytes of a head that are kept. The cookies of some ten programs are in it.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The bytes of a larger head that are read and dropped, so that its sender reads the answer instead of a reset.
const MAX_DROPPED: usize = 1024 * 1024;
const PIECE: usize = 4096;
/// The first bytes of a TLS record that holds a `ClientHello`: its type, and the major version (RFC 8446 §5.1).
const TLS_HANDSHAKE: [u8; 2] = [0x16, 3];

/// What a connection began with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// A whole head, and what came with it.
    Whole(Vec<u8>),
    TooLarge,
    TLS,
    /// The connection ended before its head did.
    Unfinished,
}

/// Reads until the empty line at the end of a head. The caller limits the time.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Head {
    let (mut head, mut dropped) = (Vec::new(), 0);
    let mut piece = [0; PIECE];
    loop {
        let length = stream.read(&mut piece).await.unwrap_or_default();
        if length == 0 {
            return Head::Unfinished;
        }
        // The line end before may have come with an earlier piece.
        let looked_at = head.len().saturating_sub(2);
        head.extend_from_slice(piece.get(..length).unwrap_or_default());
        if head.starts_with(&TLS_HANDSHAKE) && dropped == 0 {
            return Head::TLS;
        }
        let is_whole = has_empty_line(head.get(looked_at..).unwrap_or_default());
        let is_too_large = dropped > 0 || head.len() > MAX_HEAD;
        match (is_whole, is_too_large) {
            (true, false) => return Head::Whole(head),
            (true, true) => return Head::TooLarge,
            (false, false) => {}
            (false, true) => {
                let surplus = head.len().saturating_sub(2);
                dropped += surplus;
                head.drain(..surplus);
                if dropped > MAX_DROPPED {
                    return Head::TooLarge;
                }
            }
        }
    }
}

/// Line ends without a carriage return count too (RFC 9112 §2.2).
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

    /// A head of this size, in which the empty line may fall between two pieces.
    fn head(size: usize, end: &str) -> Vec<u8> {
        let begin = "GET / HTTP/1.1\r\nCookie: ";
        let filling = "a".repeat(size - begin.len() - end.len());
        format!("{begin}{filling}{end}").into_bytes()
    }

    #[test]
    fn head_is_kept_up_to_the_limit_wherever_it_is_split() {
        for end in ["\r\n\r\n", "\n\n", "\r\n\n"] {
            for size in (PIECE - 3..PIECE + 4).chain([MAX_HEAD - 1, MAX_HEAD]) {
                let head = head(size, end);
                assert!(read_all(&head) == Head::Whole(head), "{size} bytes with {end:?}");
            }
        }
    }

    #[test]
    fn larger_head_is_named_and_dropped() {
        for size in [MAX_HEAD + PIECE, MAX_HEAD + 8 * PIECE, MAX_DROPPED] {
            assert!(read_all(&head(size, "\r\n\r\n")) == Head::TooLarge, "{size} bytes");
        }
        assert_eq!(read_all(&vec![b'a'; 2 * MAX_DROPPED]), Head::TooLarge);
    }

    #[test]
    fn tls_is_recognised_and_an_early_end_is_no_head() {
        assert_eq!(read_all(&[0x16, 3, 1, 2, 0, 1]), Head::TLS);
        for unfinished in [&b""[..], b"\x16", b"GET / HTTP/1.1\r\n", b"\x16 3\r\n"] {
            assert_eq!(read_all(unfinished), Head::Unfinished);
        }
    }
}
