//! Validates the names that an operator gives to providers, services and backends.

const MOST_CHARACTERS: usize = 32;

/// Whether a text is a name: 1 to 32 lower-case letters, digits and dashes, without a leading dash. Such a name needs
/// no escaping in shells, files and URLs.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MOST_CHARACTERS).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_needs_no_escaping() {
        for name in ["okta", "a", "0", "dex-2", &"a".repeat(32)] {
            assert!(is_name(name), "{name}");
        }
        for other in ["", "-a", "Okta", "a b", "a;id", "$(id)", "`id`", "é", "a\n", &"a".repeat(33)] {
            assert!(!is_name(other), "{other:?}");
        }
    }
}
