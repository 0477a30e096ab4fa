//! A pin: the SHA-256 of a CA's public key, written `sha256:HEX`.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::text_form::has_text_form;

/// The SHA-256 of a CA's DER `SubjectPublicKeyInfo` (RFC 5280 §4.1).
///
/// Pins are public: programs print them, people compare them, and both sides store them unencrypted.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; 32]);

/// Why a text is not a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPin {
    #[error("a fingerprint is `sha256:` followed by 64 hexadecimal digits")]
    Other,
    /// The digits alone. Other tools print the SHA-256 of other things, such as a certificate, in the same form.
    #[error("a fingerprint begins with `sha256:`: write this before its 64 digits")]
    Unnamed,
}

impl Pin {
    /// Pin of the key in `subject_public_key_info`, a complete DER structure.
    #[must_use]
    pub fn of_public_key(subject_public_key_info: &[u8]) -> Self {
        Self(Sha256::digest(subject_public_key_info).into())
    }

    /// Common name of the daemon CA with this pin.
    ///
    /// It contains part of the pin, so CAs of different daemons have different names. A client that stores only the pin
    /// can name the CA in its hint.
    #[must_use]
    pub fn authority_name(&self) -> String {
        let text = self.to_string();
        format!("infrad local CA {}", text.get(..15).unwrap_or_default())
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Pin {
    type Err = MalformedPin;

    /// Accepts upper and lower case, and colons between bytes, as other tools print fingerprints.
    fn from_str(text: &str) -> Result<Self, MalformedPin> {
        let text = text.trim();
        match text.split_once(':') {
            Some((name, digits)) if name.eq_ignore_ascii_case("sha256") => {
                read_digits(digits).map(Self).ok_or(MalformedPin::Other)
            }
            _ if read_digits(text).is_some() => Err(MalformedPin::Unnamed),
            _ => Err(MalformedPin::Other),
        }
    }
}

/// Reads 64 hexadecimal digits, with or without colons.
fn read_digits(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|character| *character != ':')
        .map(|character| character.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    if digits.len() != 64 {
        return None;
    }
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.try_into().ok()
}

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

has_text_form!(Pin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_is_parsed_as_displayed() {
        let pin = Pin::of_public_key(b"key");
        assert_eq!(pin.to_string().parse(), Ok(pin));
    }

    #[test]
    fn capitals_colons_and_outer_space_are_accepted() {
        let pin = Pin::of_public_key(b"key");
        let digits = pin.to_string()["sha256:".len()..].to_uppercase();
        let pairs: Vec<&str> = (0..32).map(|index| &digits[index * 2..index * 2 + 2]).collect();
        assert_eq!(format!(" SHA256:{}\n", pairs.join(":")).parse(), Ok(pin));
    }

    #[test]
    fn malformed_pin_is_rejected() {
        let short = "sha256:abcd".to_owned();
        let long = format!("sha256:{}", "a".repeat(66));
        let foreign = format!("sha256:{}", "g".repeat(64));
        let other = format!("sha1:{}", "a".repeat(64));
        for text in [short, long, foreign, other, "a".repeat(63), String::new()] {
            assert_eq!(text.parse::<Pin>(), Err(MalformedPin::Other), "{text}");
        }
        for text in ["a".repeat(64), vec!["AB"; 32].join(":")] {
            assert_eq!(text.parse::<Pin>(), Err(MalformedPin::Unnamed), "{text}");
        }
    }
}
