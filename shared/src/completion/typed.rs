//! Removes quotes from typed words, for shells that pass words with their quotes.

use std::ffi::OsString;

/// Removes quotes from `word` as bash would, but expands nothing. An unclosed quote counts as a quote.
pub(super) fn unquoted(word: &OsString) -> OsString {
    let mut plain = Vec::new();
    let mut quote = None;
    let Some(bytes) = bytes_of(word) else { return word.clone() };
    let mut bytes = bytes.iter().copied().peekable();
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
    word_of(plain)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "on other systems, a word may have no bytes")]
fn bytes_of(word: &OsString) -> Option<&[u8]> {
    Some(std::os::unix::ffi::OsStrExt::as_bytes(word.as_os_str()))
}

#[cfg(unix)]
fn word_of(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

/// `None` if the word is not text.
#[cfg(not(unix))]
fn bytes_of(word: &OsString) -> Option<&[u8]> {
    word.to_str().map(str::as_bytes)
}

/// Only bytes of ASCII were removed, so text stays text.
#[cfg(not(unix))]
fn word_of(bytes: Vec<u8>) -> OsString {
    String::from_utf8(bytes).unwrap_or_default().into()
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
