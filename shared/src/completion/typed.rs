//! Removes quotes from typed words, for shells that pass words with their quotes.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Removes quotes from `word` as bash would, but expands nothing. An unclosed quote counts as a quote.
pub(super) fn unquoted(word: &OsString) -> OsString {
    let mut plain = Vec::new();
    let mut quote = None;
    let mut bytes = word.as_bytes().iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => quote = None,
            (None, b'\'' | b'"') => quote = Some(byte),
            (None, b'\\') => plain.extend(bytes.next()),
            (Some(b'"'), b'\\') => match bytes.next_if(|next| b"$`\"\\".contains(next)) {
                Some(next) => plain.push(next),
                None => plain.push(byte),
            },
            (_, byte) => plain.push(byte),
        }
    }
    OsString::from_vec(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_removed_as_in_bash() {
        for (typed, read) in [
            ("plain", "plain"),
            ("\\[::1\\]:84", "[::1]:84"),
            ("'a b'c", "a bc"),
            ("\"a \\\" \\x\"", "a \" \\x"),
            ("'open", "open"),
            ("$(id)", "$(id)"),
            ("end\\", "end"),
        ] {
            assert_eq!(unquoted(&OsString::from(typed)), OsString::from(read), "{typed}");
        }
    }
}
