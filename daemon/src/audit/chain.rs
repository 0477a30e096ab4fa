//! Each line carries the SHA-256 of the line before it.

use data_encoding::HEXLOWER;
use infra_shared::printable::is_printable;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Event;

/// What the next line goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) sequence: u64,
    pub(super) previous: String,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    sequence: u64,
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event<'a>,
    previous: &'a str,
}

impl Default for Chain {
    fn default() -> Self {
        Self { sequence: 0, previous: "0".repeat(64) }
    }
}

impl Chain {
    /// The next line, with its line feed. It counts once [`advance`](Self::advance) was told of it.
    pub(super) fn line(&self, time: Timestamp, event: &Event<'_>) -> String {
        let sequence = self.sequence + 1;
        let line = Line { schema: 1, sequence, time, event, previous: &self.previous };
        let mut text = serde_json::to_string(&line).expect("an event is plain JSON");
        // JSON escapes control characters; what else could move a reader's cursor goes too.
        text.retain(is_printable);
        text.push('\n');
        text
    }

    pub(super) fn advance(&mut self, line: &str) {
        *self =
            Self { sequence: self.sequence + 1, previous: digest(line.trim_end_matches('\n').as_bytes()) };
    }
}

/// By what the line after it names `line`, which has no line feed.
pub(super) fn digest(line: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(line))
}
