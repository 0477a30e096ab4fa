//! One HTTP/2 request with header fields that no library sends: no Huffman code, no table, every octet
//! unchanged (RFC 9113 §4, RFC 7541 §6.2.2).

use std::io::{Read, Write};

use super::client::Tls;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A connection for one request.
pub struct Stream {
    connection: Tls,
}

/// The result of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The stream got a response. The service's record shows if headers were forged.
    Answered,
    /// The stream was reset, or the connection ended.
    Refused,
}

impl Stream {
    pub(super) fn over(connection: Tls) -> Self {
        assert_eq!(connection.conn.alpn_protocol(), Some(b"h2".as_slice()), "no HTTP/2");
        Self { connection }
    }

    /// Sends header fields, an optional body and optional trailer fields.
    pub fn ask(
        mut self,
        fields: &[(&[u8], &[u8])],
        body: Option<&[u8]>,
        trailers: &[(&[u8], &[u8])],
    ) -> Outcome {
        let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        add_frame(&mut sent, SETTINGS, 0, 0, &[]);
        let end_of = |last: bool| if last { END_STREAM } else { 0 };
        let ends = body.is_none() && trailers.is_empty();
        add_frame(&mut sent, HEADERS, END_HEADERS | end_of(ends), 1, &block(fields));
        if let Some(body) = body {
            add_frame(&mut sent, DATA, end_of(trailers.is_empty()), 1, body);
        }
        if !trailers.is_empty() {
            add_frame(&mut sent, HEADERS, END_HEADERS | END_STREAM, 1, &block(trailers));
        }
        let _ = self.connection.write_all(&sent).and_then(|()| self.connection.flush());
        self.outcome()
    }

    fn outcome(&mut self) -> Outcome {
        loop {
            let Some((kind, flags, stream)) = self.next_frame() else { return Outcome::Refused };
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    let mut acknowledged = Vec::new();
                    add_frame(&mut acknowledged, SETTINGS, ACK, 0, &[]);
                    let _ = self.connection.write_all(&acknowledged).and_then(|()| self.connection.flush());
                }
                HEADERS | DATA if stream == 1 && flags & END_STREAM != 0 => return Outcome::Answered,
                RST_STREAM if stream == 1 => return Outcome::Refused,
                GOAWAY => return Outcome::Refused,
                _ => {}
            }
        }
    }

    /// Type, flags and stream of the next frame.
    fn next_frame(&mut self) -> Option<(u8, u8, u32)> {
        let mut head = [0; 9];
        self.connection.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.connection.read_exact(&mut payload).ok()?;
        Some((kind, flags, u32::from_be_bytes(stream)))
    }
}

fn add_frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

/// RFC 7541 §6.2.2: literal fields without indexing, with new names.
fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            add_length(&mut block, text.len());
            block.extend_from_slice(text);
        }
    }
    block
}

/// RFC 7541 §5.1, with a 7-bit prefix.
fn add_length(block: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else {
        block.push(u8::try_from(length).expect("less than 127"));
        return;
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128 + 128).expect("one octet"));
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("less than 128"));
}
