//! Each event is one line of bounded length, whatever is in it: nobody can write a line that is not the daemon's.

use std::fmt::Write as _;
use std::io::{self, Write};

use infra_shared::printable::printable_json;
use tracing_subscriber::fmt::MakeWriter;

use super::LogFormat;

/// Bytes of a line, its line feed included.
const LONGEST: usize = 8192;
/// What stands where the rest of a line was.
const CUT: &str = " … (cut off)";

/// Makes writers that take one event each.
pub(super) struct OneLine<W> {
    writer: W,
    format: LogFormat,
    colour: bool,
}

/// Takes one event, and passes it on as one line.
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
    /// An event comes in one piece, with its line feed.
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

/// The event without what would end the line or move the cursor; with its colours, where there are any.
fn as_text(text: &str, colour: bool) -> String {
    let mut line = String::with_capacity(text.len().min(LONGEST) + 1);
    for (index, character) in text.char_indices() {
        // Room for an escaped character, for the sign of the cut and the line feed.
        if line.len() > LONGEST - 64 {
            line.push_str(CUT);
            break;
        }
        let is_colour = colour && text.get(index..).is_some_and(begins_with_colour);
        if (character.is_control() && !is_colour) || matches!(character, '\u{2028}' | '\u{2029}') {
            // A text takes whatever is written to it.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

/// Whether `text` begins with ESC, `[`, numbers and `m` (ECMA-48 §8.3.117): that can change nothing but how text looks.
fn begins_with_colour(text: &str) -> bool {
    let parameters = text.strip_prefix("\u{1b}[");
    let rest = parameters.map(|text| {
        text.trim_start_matches(|character: char| character.is_ascii_digit() || character == ';')
    });
    rest.is_some_and(|rest| rest.starts_with('m'))
}

/// The event, an object already in one line. One that is too long becomes an object with as much of it as fits.
fn as_json(text: &str) -> String {
    let shown = printable_json(text);
    if shown.len() < LONGEST {
        return format!("{shown}\n");
    }
    // In JSON once more each character of it may become two, and no more: it holds no control character.
    let kept: String = shown.chars().take(LONGEST / 4).filter(char::is_ascii).collect();
    format!("{}\n", serde_json::json!({ "message": "an event was too long", "cut": kept }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_holds_nothing_that_a_terminal_obeys_or_a_reader_takes_for_a_line() {
        let line = as_json("{\"message\":\"a\u{7f}\u{9b}31m\u{2028}\u{202e}b\"}");
        assert_eq!(line, "{\"message\":\"a\\u007f\\u009b31m\\u2028\\u202eb\"}\n");
    }

    #[test]
    fn colours_stay_where_there_are_any_and_nothing_else_that_a_terminal_obeys() {
        let colourful = "\u{1b}[1;31mred\u{1b}[0m";
        assert_eq!(as_text(colourful, true), format!("{colourful}\n"));
        assert_eq!(as_text(colourful, false), "\\u{1b}[1;31mred\\u{1b}[0m\n");
        for hostile in ["\u{1b}[2J", "\u{1b}]52;c;YQ==\u{7}", "\u{1b}", "\u{1b}[31", "\u{9b}31m"] {
            assert!(!as_text(hostile, true).trim_end().chars().any(char::is_control), "{hostile:?}");
        }
    }
}
