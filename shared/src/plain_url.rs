//! Parses URLs only if every parser reads them the same way.

use url::Url;

/// Parses `text` if it is printable ASCII without spaces and backslashes (RFC 3986 §2).
///
/// The WHATWG parser drops line breaks and tabs, trims the ends, reads a backslash as a slash and maps non-ASCII
/// letters. Another program may read such a text as a different URL.
#[must_use]
pub fn parse(text: &str) -> Option<Url> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_plain { Url::parse(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_parser_would_change_is_rejected() {
        assert!(parse("https://idp.test/a?b=c").is_some());
        for text in [
            "https://idp.test/to\r\nken",
            "https://idp.te\nst/token",
            "https://idp.test/to\tken",
            " https://idp.test/",
            "https://idp.test/ ",
            "https://idp.test/a b",
            "https:\\\\idp.test/token",
            "https://idp.test\\@evil.test/",
            "https://idp.test/\u{0}",
            "https://idp.test/\u{7f}",
            "https://idp.test/\u{a0}",
            "https://\u{ff11}\u{ff12}7.0.0.1/",
            "https://idp\u{3002}test/",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
