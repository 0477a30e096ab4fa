//! Chains the lines: each contains the SHA-256 of the line before.

use data_encoding::HEXLOWER;
use infra_shared::printable::is_printable;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Event;

/// The state that the next line continues.
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
    #[serde(rename = "previousHash")]
    previous: &'a str,
}

impl Default for Chain {
    fn default() -> Self {
        Self { sequence: 0, previous: "0".repeat(64) }
    }
}

impl Chain {
    /// Builds the next line, with its line feed. Call [`advance`](Self::advance) after it was written.
    pub(super) fn line(&self, time: Timestamp, event: &Event<'_>) -> String {
        let sequence = self.sequence + 1;
        let line = Line { schema: 1, sequence, time, event, previous: &self.previous };
        let mut text = serde_json::to_string(&line).expect("an event is plain JSON");
        // JSON escapes control characters. Remove others that could move a reader's cursor.
        text.retain(is_printable);
        text.push('\n');
        text
    }

    pub(super) fn advance(&mut self, line: &str) {
        *self =
            Self { sequence: self.sequence + 1, previous: digest(line.trim_end_matches('\n').as_bytes()) };
    }
}

/// The hash by which the next line refers to `line`, which has no line feed.
pub(super) fn digest(line: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(line))
}
