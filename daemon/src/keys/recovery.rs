//! The recovery key: an offline key, printed once, that unwraps the data key if the root key is lost.
//!
//! It is the private key of an HPKE pair (RFC 9180: X25519, HKDF-SHA256, AES-256-GCM). The public key stays in the
//! header, so that a new data key can be wrapped without the printed key.

use data_encoding::{Encoding, Specification};
use infra_shared::digest::sha256;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_X25519_HKDF_SHA256_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey, HpkePublicKey};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::header::{Bytes, Header, RecoveryWrapping};
use super::{DataKey, KeyError};

const HPKE: &dyn Hpke = DH_KEM_X25519_HKDF_SHA256_AES_256;
const KEY_BYTES: usize = 32;
/// 32 + 3 bytes are 56 characters of five bits: fourteen groups of four.
const CHECKSUM_BYTES: usize = 3;
const GROUP: usize = 4;

/// A recovery key as printed: 56 characters in groups, ending with a checksum.
pub struct RecoveryKey(SecretString);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryKeyError {
    #[error("a recovery key has 56 letters and digits, but this has {characters}")]
    Length { characters: usize },
    #[error("a recovery key never contains the character {0:?}")]
    Character(char),
    #[error("the checksum is wrong: a character was mistyped or misread")]
    Checksum,
}

impl RecoveryKey {
    /// Parses a typed key. Ignores case, spaces and dashes, and reads letters that look like digits as digits.
    pub fn parse(text: &str) -> Result<Self, RecoveryKeyError> {
        let plain: Zeroizing<String> =
            Zeroizing::new(text.chars().filter(|character| !matches!(character, '-' | ' ' | '\t')).collect());
        if let Some(wrong) = plain.chars().find(|character| !character.is_ascii_alphanumeric()) {
            return Err(RecoveryKeyError::Character(wrong));
        }
        let expected = (KEY_BYTES + CHECKSUM_BYTES) * 8 / 5;
        if plain.len() != expected {
            return Err(RecoveryKeyError::Length { characters: plain.len() });
        }
        let bytes = encoding().decode(plain.as_bytes()).map(Zeroizing::new).map_err(|error| {
            let wrong = plain.as_bytes().get(error.position).copied().unwrap_or(b'?');
            RecoveryKeyError::Character(char::from(wrong))
        })?;
        let (key, sum) = bytes.split_at(KEY_BYTES);
        if checksum(key) != sum {
            return Err(RecoveryKeyError::Checksum);
        }
        Ok(Self::of(key))
    }

    fn of(private_key: &[u8]) -> Self {
        let bytes = Zeroizing::new([private_key, &checksum(private_key)].concat());
        let plain = Zeroizing::new(encoding().encode(&bytes));
        let mut text = Zeroizing::new(String::with_capacity(plain.len() * 2));
        for (position, character) in plain.chars().enumerate() {
            if position > 0 && position % GROUP == 0 {
                text.push('-');
            }
            text.push(character);
        }
        Self(text.as_str().into())
    }

    fn private_key(&self) -> HpkePrivateKey {
        let plain = Zeroizing::new(self.0.expose_secret().replace('-', ""));
        let mut bytes = encoding().decode(plain.as_bytes()).expect("the text was made from bytes");
        bytes.truncate(KEY_BYTES);
        bytes.into()
    }

    /// The text to print once.
    pub fn expose(&self) -> &SecretString {
        &self.0
    }
}

/// Crockford's Base32, which has no letters that look like digits.
fn encoding() -> Encoding {
    let mut specification = Specification::new();
    specification.symbols.push_str("0123456789ABCDEFGHJKMNPQRSTVWXYZ");
    specification.translate.from.push_str("abcdefghjkmnpqrstvwxyzoOiIlL");
    specification.translate.to.push_str("ABCDEFGHJKMNPQRSTVWXYZ001111");
    specification.encoding().expect("a fixed specification is sound")
}

fn checksum(key: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *sha256(&[b"infra recovery key v1", key]).first_chunk().expect("a hash has 32 bytes")
}

/// The public part of a recovery key. Wrapping for it needs nothing secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryPublicKey {
    bytes: Vec<u8>,
    pub created_at: Timestamp,
}

pub(super) fn create(now: Timestamp) -> (RecoveryKey, RecoveryPublicKey) {
    let (public_key, private_key) = HPKE.generate_key_pair().expect("X25519 makes keys");
    (RecoveryKey::of(private_key.secret_bytes()), RecoveryPublicKey { bytes: public_key.0, created_at: now })
}

impl RecoveryPublicKey {
    /// The key that `wrapping` is for. The caller has authenticated it.
    pub(super) fn of(wrapping: &RecoveryWrapping) -> Self {
        Self { bytes: wrapping.public_key.0.clone(), created_at: wrapping.created_at }
    }

    /// Wraps `key` for the recovery key. The wrapping opens with the same `context` only.
    pub(super) fn wrap(&self, key: &DataKey, context: &str) -> RecoveryWrapping {
        let (encapsulated_secret, wrapped) = HPKE
            .seal(context.as_bytes(), b"", key.0.as_slice(), &HpkePublicKey(self.bytes.clone()))
            .expect("a public key that this file made can be sealed to");
        RecoveryWrapping {
            public_key: Bytes(self.bytes.clone()),
            encapsulated_secret: Bytes(encapsulated_secret.0),
            wrapped_data_key: Bytes(wrapped),
            created_at: self.created_at,
        }
    }
}

pub(super) fn open(header: &Header, header_path: &str, key: &RecoveryKey) -> Result<DataKey, KeyError> {
    let wrapping =
        header.recovery.as_ref().ok_or_else(|| KeyError::NoRecovery { path: header_path.to_owned() })?;
    unwrap(wrapping, &header.context(), header_path, key, |data_key| header.is_signed_by(data_key))
}

/// Unwraps a key with the recovery key. `origin` names the file or database in errors. `is_of` decides if it is the right key
/// and what is stored with it is unchanged.
pub(super) fn unwrap(
    wrapping: &RecoveryWrapping,
    context: &str,
    origin: &str,
    key: &RecoveryKey,
    is_of: impl Fn(&DataKey) -> bool,
) -> Result<DataKey, KeyError> {
    let opened = HPKE
        .open(
            &EncapsulatedSecret(wrapping.encapsulated_secret.0.clone()),
            context.as_bytes(),
            b"",
            &wrapping.wrapped_data_key.0,
            &key.private_key(),
        )
        .map(Zeroizing::new)
        .map_err(|_| KeyError::OtherRecoveryKey { path: origin.to_owned() })?;
    let data_key = DataKey::from_slice(&opened).filter(is_of);
    data_key.ok_or_else(|| KeyError::HeaderDamaged { path: origin.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_key_parses_as_printed_and_as_typed() {
        let key = RecoveryKey::of(&[0xA5; 32]);
        let text = key.expose().expose_secret();
        assert_eq!(text.len(), 56 + 13);
        for typed in [
            text.to_owned(),
            text.to_lowercase(),
            text.replace('-', " "),
            text.replace('-', ""),
            text.replace('0', "O").replace('1', "l"),
        ] {
            let read = RecoveryKey::parse(&typed).expect("the key");
            assert_eq!(read.expose().expose_secret(), text);
            assert_eq!(read.private_key().secret_bytes(), [0xA5; 32]);
        }
    }

    #[test]
    fn recovery_key_checksum_detects_any_single_typo() {
        let key = RecoveryKey::of(&[0x5A; 32]);
        let text = key.expose().expose_secret().replace('-', "");
        for position in 0..text.len() {
            for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars() {
                let mut typed: Vec<char> = text.chars().collect();
                if typed[position] == other {
                    continue;
                }
                typed[position] = other;
                let typed: String = typed.into_iter().collect();
                assert_eq!(RecoveryKey::parse(&typed).err(), Some(RecoveryKeyError::Checksum), "{typed}");
            }
        }
    }

    #[test]
    fn recovery_key_errors_name_length_or_character() {
        assert_eq!(RecoveryKey::parse("").err(), Some(RecoveryKeyError::Length { characters: 0 }));
        assert_eq!(RecoveryKey::parse("AB-CD").err(), Some(RecoveryKeyError::Length { characters: 4 }));
        assert_eq!(RecoveryKey::parse("AB_CD").err(), Some(RecoveryKeyError::Character('_')));
        let with_u = "U".repeat(56);
        assert_eq!(RecoveryKey::parse(&with_u).err(), Some(RecoveryKeyError::Character('U')));
    }
}
