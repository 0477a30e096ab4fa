//! Makes text from remote sources safe to print: it cannot move the cursor, change a title or forge a line.

use std::fmt::Write;

use jiff::Timestamp;

/// Removes control, format and line-separating characters (Unicode Cc, Cf, Zl, Zp) from `text` and cuts it at `limit`
/// characters.
///
/// Terminal escapes start with a control character; bidirectional overrides are format characters.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    text.chars().filter(|character| is_printable(*character)).take(limit).collect()
}

/// Formats a count: `1 session`, `2 sessions`.
#[must_use]
pub fn counted(count: impl TryInto<u64>, thing: &str) -> String {
    // A count that does not fit is plural.
    let count = count.try_into().unwrap_or(u64::MAX);
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Formats a time for operators: `2026-11-30 08:00 UTC`.
#[must_use]
pub fn when(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Whether a character is safe to print.
#[must_use]
pub fn is_printable(character: char) -> bool {
    !character.is_control() && !is_format(character) && !matches!(character, '\u{2028}' | '\u{2029}')
}

/// Escapes in one-line `json` every character that [`printable`] removes (RFC 8259 §7).
///
/// The value stays the same and is safe to print. JSON itself requires escapes only for the first 32 characters.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for character in json.chars() {
        if is_printable(character) {
            shown.push(character);
        } else {
            // JSON is ASCII outside of strings, so this character is inside a string.
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    shown
}

/// Whether a character is in category Cf of Unicode 16 or is invisible (Default_Ignorable_Code_Point). Excludes the
/// variation selectors, which emoji need.
fn is_format(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_plural_unless_one() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "file")), ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn plain_text_in_any_language_is_kept() {
        assert_eq!(printable("Zoë Müller 王", 100), "Zoë Müller 王");
    }

    #[test]
    fn escapes_overrides_and_line_breaks_are_removed() {
        assert_eq!(printable("\u{1b}]0;evil\u{7}\u{9b}31m\u{202e}a\r\nb\u{2028}c\0", 100), "]0;evil31mabc");
    }

    #[test]
    fn json_keeps_its_value_when_escaped() {
        let text = "\u{1b}]0;x\u{7}\u{9b}31m\u{202e}a\r\nb\u{2028}\0\u{e0041}\u{7f}\"\\ Zoë 王";
        let json = printable_json(&serde_json::to_string(text).expect("a text"));
        assert!(json.chars().all(is_printable), "{json}");
        assert!(json.contains("\\u009b31m\\u202e") && json.contains("\\udb40\\udc41\\u007f"), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
    }

    #[test]
    fn long_text_is_truncated() {
        assert_eq!(printable(&"x".repeat(1_000_000), 5), "xxxxx");
    }
}
