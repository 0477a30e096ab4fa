//! HTTP/2 traffic that an unauthenticated attacker sends to fill a server's memory: incomplete headers,
//! blocks and bodies, and requests with unread responses.

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// An HTTP/2 frame (RFC 9113 §4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A client preface and settings that limit a response body to `window` bytes.
pub fn preface(window: u32) -> Vec<u8> {
    let setting = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &setting)].concat()
}

/// A header field as plain text; the prefix says if it goes into the dynamic table (RFC 7541 §6.2).
pub fn field(prefix: u8, name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![prefix];
    for text in [name, value] {
        // RFC 7541 §5.1, with a 7-bit prefix.
        let mut rest = text.len();
        if rest < 127 {
            field.push(u8::try_from(rest).expect("a short text"));
        } else {
            field.push(127);
            rest -= 127;
            while rest >= 128 {
                field.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            field.push(u8::try_from(rest).expect("a byte"));
        }
        field.extend(text.as_bytes());
    }
    field
}

/// The pseudo-header fields of a request.
pub fn request(method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", path)];
    fields.iter().flat_map(|(name, value)| field(0, name, value)).collect()
}

/// Sends `bytes`. Returns `false` if the server stops reading them.
pub async fn send(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}
