//! Validates a stored secret, for all backends.
//!
//! Editors, `echo` and `openssl` end text with a line break, so one trailing line break is removed. Other invisible
//! characters are rejected and named, because no provider or service would accept them.

use std::fmt::Display;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::ReadError;

/// A secret as the backend stores it.
pub type Stored = Zeroizing<Vec<u8>>;

/// Returns the secret in `stored`. `origin` names it in errors.
pub(super) fn secret(stored: &[u8], origin: &dyn Display) -> Result<SecretString, ReadError> {
    let malformed = |what: &str| ReadError::Malformed(format!("{origin} {what}"));
    if stored.starts_with(b"\xff\xfe") || stored.starts_with(b"\xfe\xff") {
        return Err(malformed("is UTF-16 text: store it as UTF-8"));
    }
    let line = without_line_break(stored);
    let text = std::str::from_utf8(line).map_err(|_| malformed("is not UTF-8 text"))?;
    match fault(text) {
        Some(what) => Err(malformed(what)),
        None => Ok(text.into()),
    }
}

/// Removes one trailing line break (LF or CRLF).
pub(super) fn without_line_break(stored: &[u8]) -> &[u8] {
    let line = stored.strip_suffix(b"\n");
    line.map_or(stored, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

/// Describes what is wrong with the text. Shows no part of it.
fn fault(text: &str) -> Option<&'static str> {
    let is_break = |character| matches!(character, '\n' | '\r');
    let (first, last) = (text.chars().next(), text.chars().next_back());
    let (Some(first), Some(last)) = (first, last) else { return Some("is empty") };
    if first == '\u{feff}' {
        Some("begins with a byte-order mark: store it without one")
    } else if is_break(last) {
        Some("ends with more than one line break")
    } else if is_break(first) {
        Some("begins with a line break")
    } else if first.is_whitespace() {
        Some("begins with white space")
    } else if last.is_whitespace() {
        Some("ends with white space")
    } else if text.contains(is_break) {
        Some("has more than one line")
    } else if text.chars().any(char::is_control) {
        Some("contains a control character")
    } else if text.chars().any(is_invisible) {
        Some("contains an invisible character")
    } else {
        None
    }
}

/// Zero-width characters, which are often copied from web pages.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn one_trailing_line_break_is_removed() {
        for stored in ["s3cret with spaces/+=é", "s3cret with spaces/+=é\n", "s3cret with spaces/+=é\r\n"]
        {
            let secret = secret(stored.as_bytes(), &"env:X").expect("a secret");
            assert_eq!(secret.expose_secret(), "s3cret with spaces/+=é");
        }
    }

    #[test]
    fn invisible_characters_are_named_without_showing_value() {
        for (stored, what) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\r\n", "is empty"),
            (b"canary\n\n", "ends with more than one line break"),
            (b"canary\r\n\r\n", "ends with more than one line break"),
            (b"canary\r", "ends with more than one line break"),
            (b"\ncanary", "begins with a line break"),
            (b" canary", "begins with white space"),
            (b"canary \n", "ends with white space"),
            (b"canary\t", "ends with white space"),
            ("canary\u{a0}".as_bytes(), "ends with white space"),
            (b"canary\ncanary", "has more than one line"),
            (b"can\0ary", "contains a control character"),
            (b"can\x1bary", "contains a control character"),
            ("can\u{200b}ary".as_bytes(), "contains an invisible character"),
            ("canary\u{feff}".as_bytes(), "contains an invisible character"),
            (b"\xef\xbb\xbfcanary\n", "begins with a byte-order mark"),
            (b"\xff\xfec\0a\0n\0", "is UTF-16 text"),
            (b"canary\xff", "is not UTF-8 text"),
        ] {
            let error = secret(stored, &"file:/x").expect_err(what).to_string();
            assert!(error.contains(&format!("file:/x {what}")), "{stored:?}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
