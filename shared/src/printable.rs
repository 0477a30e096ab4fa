//! Text from elsewhere, made safe to show: nothing in it can move a cursor, change a title or forge a line.

/// `text` without control, format and line-separating characters (Unicode Cc, Cf, Zl, Zp), cut at `limit` characters.
///
/// Terminal escapes begin with a control character; bidirectional overrides are format characters.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    text.chars().filter(|character| is_printable(*character)).take(limit).collect()
}

/// Whether a character can be shown as it is.
#[must_use]
pub fn is_printable(character: char) -> bool {
    !character.is_control() && !is_format(character) && !matches!(character, '\u{2028}' | '\u{2029}')
}

/// General category Cf, as of Unicode 16.
fn is_format(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_of_any_language_stays() {
        assert_eq!(printable("Zoë Müller 王", 100), "Zoë Müller 王");
    }

    #[test]
    fn escapes_overrides_and_line_breaks_go() {
        assert_eq!(printable("\u{1b}]0;evil\u{7}\u{9b}31m\u{202e}a\r\nb\u{2028}c\0", 100), "]0;evil31mabc");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(printable(&"x".repeat(1_000_000), 5), "xxxxx");
    }
}
