//! The one form of e-mail address that rules compare.

use unicode_normalization::is_nfc;

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_BYTES: usize = 64;
/// RFC 5321 §4.5.3.1.3: a path has 256 bytes, including two brackets.
const MAX_BYTES: usize = 254;
/// RFC 1035 §2.3.4.
const MAX_DOMAIN_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// An addr-spec (RFC 5322 §3.4.1) without quotes, comments, white space or address literals: a dot-atom, one `@` and
/// an ASCII domain. The local part may contain letters and digits of any script (RFC 6532), the domain may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Email<'a> {
    text: &'a str,
    domain: &'a str,
}

impl<'a> Email<'a> {
    /// Returns `None` for any text that two programs could parse differently.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (local, domain) = text.split_once('@')?;
        let is_local = local.len() <= MAX_LOCAL_BYTES && is_nfc(local) && local.split('.').all(is_atom);
        (text.len() <= MAX_BYTES && is_local && is_domain(domain)).then_some(Self { text, domain })
    }

    /// Whether it equals the address in a rule, ignoring ASCII case.
    pub fn is(self, listed: &str) -> bool {
        self.text.eq_ignore_ascii_case(listed)
    }

    /// Whether its domain is exactly the one in a rule.
    pub fn is_in(self, listed: &str) -> bool {
        self.domain.eq_ignore_ascii_case(listed)
    }
}

/// Whether a text is a domain as used after the `@`: ASCII labels of letters, digits and inner hyphens.
pub fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= MAX_DOMAIN_BYTES && text.split('.').all(is_label)
}

/// RFC 5322 §3.2.3.
fn is_atom(text: &str) -> bool {
    let is_special = |character| "!#$%&'*+-/=?^_`{|}~".contains(character);
    !text.is_empty() && text.chars().all(|character| character.is_alphanumeric() || is_special(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addr_spec_is_parsed_with_its_domain() {
        for (text, domain) in [
            ("alice@example.com", "example.com"),
            ("Alice.B+tag@EXAMPLE.com", "example.com"),
            ("zo\u{eb}@b.test", "b.test"),
            ("o'neil@a-b.c1.test", "a-b.c1.test"),
            ("a@localhost", "localhost"),
            ("a@xn--bcher-kva.example", "xn--bcher-kva.example"),
        ] {
            let email = Email::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert!(email.is_in(domain) && email.is(text), "{text}");
        }
    }

    #[test]
    fn invalid_email_is_rejected() {
        for text in [
            "",
            "@",
            "alice",
            "alice@",
            "@example.com",
            "a@evil@example.com",
            "a@evil.test,b@example.com",
            "a@evil.test b@example.com",
            "\"a@evil.test\"@example.com",
            "\"alice\"@example.com",
            "alice(comment)@example.com",
            "<alice@example.com>",
            "Alice <alice@example.com>",
            "mailto:alice@example.com",
            "alice@example.com.",
            "alice@.example.com",
            "alice@example..com",
            ".alice@example.com",
            "alice.@example.com",
            "a..b@example.com",
            "alice@-example.com",
            "alice@example-.com",
            "alice@exam_ple.com",
            "alice@[192.0.2.1]",
            "alice@example.com\n",
            " alice@example.com",
            "alice@example.com ",
            "alice@ example.com",
            "al\u{0}ice@example.com",
            "alice@ex\u{430}mple.com",
            "alice@example\u{3002}com",
            "alice@example\u{ff0e}com",
            "alice\u{ff20}example.com",
            "alice@exam\u{ad}ple.com",
            "ali\u{200d}ce@example.com",
            "zoe\u{308}@b.test",
            "alice%40evil.test;@example.com",
            "a\\@evil.test@example.com",
        ] {
            assert_eq!(Email::parse(text), None, "{text:?}");
        }
        assert_eq!(Email::parse(&format!("{}@example.com", "a".repeat(65))), None);
        assert_eq!(Email::parse(&format!("a@{}.com", "b".repeat(64))), None);
        assert_eq!(Email::parse(&format!("a@{}com", "b.".repeat(130))), None);
    }
}
