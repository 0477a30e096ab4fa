//! Writes each event as one line of bounded length, so that no event can forge a log line.

use std::fmt::Write as _;
use std::io::{self, Write};

use infra_shared::printable::printable_json;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;

/// Maximum bytes of a line, including its line feed.
const LONGEST: usize = 8192;
/// Marks the end of a truncated line.
const CUT: &str = " … (cut off)";

/// Creates a writer for each event.
pub(super) struct OneLine<W> {
    writer: W,
    format: LogFormat,
    colour: bool,
}

/// Writes one event as one line.
pub(super) struct Line<W> {
    writer: W,
    format: LogFormat,
    colour: bool,
}

impl<W> OneLine<W> {
    pub(super) fn new(writer: W, format: LogFormat, colour: bool) -> Self {
        Self { writer, format, colour }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = Line<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { writer: self.writer.make_writer(), format: self.format, colour: self.colour }
    }
}

impl<W: Write> Write for Line<W> {
    /// Receives a whole event, including its line feed.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let line = match self.format {
            LogFormat::Text => as_text(text, self.colour),
            LogFormat::Json => as_json(text),
        };
        self.writer.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Escapes characters that would end the line or move the cursor. Keeps colours if enabled.
fn as_text(text: &str, colour: bool) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST) + 1);
    for (index, character) in text.char_indices() {
        // Leaves room for an escaped character, the truncation mark and the line feed.
        if line.len() > LONGEST - 64 {
            line.push_str(CUT);
            break;
        }
        let is_colour = colour && text.get(index..).is_some_and(begins_with_colour);
        if (character.is_control() && !is_colour) || matches!(character, '\u{2028}' | '\u{2029}') {
            // Writing to a string cannot fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Whether `text` starts with ESC, `[`, numbers and `m` (ECMA-48 §8.3.117), which can only change how text looks.
fn begins_with_colour(text: &str) -> bool {
    let parameters = text.strip_prefix("\u{1b}[");
    let rest = parameters.map(|text| {
        text.trim_start_matches(|character: char| character.is_ascii_digit() || character == ';')
    });
    rest.is_some_and(|rest| rest.starts_with('m'))
}

/// Formats an event that is already a one-line JSON object. An event that is too long becomes an object with its first
/// part.
fn as_json(text: &str) -> String {
    let shown = printable_json(text);
    if shown.len() < LONGEST {
        return format!("{shown}\n");
    }
    // It contains no control characters, so escaping at most doubles its length.
    let kept: String = shown.chars().take(LONGEST / 4).filter(char::is_ascii).collect();
    format!("{}\n", serde_json::json!({ "message": "an event was too long", "cut": kept }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_control_and_line_separators() {
        let line = as_json("{\"message\":\"a\u{7f}\u{9b}31m\u{2028}\u{202e}b\"}");
        assert_eq!(line, "{\"message\":\"a\\u007f\\u009b31m\\u2028\\u202eb\"}\n");
    }

    #[test]
    fn text_keeps_colours_and_escapes_other_sequences() {
        let colourful = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(as_text(colourful, true), format!("{colourful}\n"));
        assert_eq!(as_text(colourful, false), "\\u{1b}[1;31mred\\u{1b}[0m\n");
        for hostile in ["\u{1b}[2J", "\u{1b}]52;c;YQ==\u{7}", "\u{1b}", "\u{1b}[31", "\u{9b}31m"] {
            assert!(!as_text(hostile, true).trim_end().chars().any(char::is_control), "{hostile:?}");
        }
    }
}
