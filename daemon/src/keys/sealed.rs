//! Seals data under derived keys: tickets held by clients, and single fields of the store.

use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::aead::AEADKey;

/// A ticket has a few hundred bytes. Longer text is rejected before decoding.
const MAX_TICKET_CHARACTERS: usize = 8 * 1024;
const TICKET_CONTEXT: &[u8] = b"infra ticket v1";

/// Seals tickets, which are opaque to clients and authenticated. Clones share a rotation.
#[derive(Clone)]
pub struct TicketKey(Arc<RwLock<TicketKeys>>);

struct TicketKeys {
    present: AEADKey,
    /// The key from before a rotation, for tickets sealed with it.
    previous: Option<AEADKey>,
}

/// Seals single fields of the store, each bound to its place. Clones share a rotation.
#[derive(Clone)]
pub struct FieldSealer(Arc<RwLock<AEADKey>>);

/// The place of a sealed field. A field moved to another place does not decrypt.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub table: &'a str,
    pub row: &'a str,
    pub column: &'a str,
    pub version: u32,
}

/// A sealed field. Only [`FieldSealer`] creates and opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

/// Decryption failed: the ticket or field is forged, damaged, moved, or sealed under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("decryption failed: wrong key or modified data")]
pub struct DecryptError;

impl TicketKey {
    /// A publicly known key, for tests.
    #[cfg(any(test, fuzzing))]
    pub fn fixed(key: &[u8; 32]) -> Self {
        Self::new(key, None)
    }

    pub(super) fn new(present: &[u8; 32], previous: Option<&[u8; 32]>) -> Self {
        let keys = TicketKeys { present: AEADKey::new(present), previous: previous.map(AEADKey::new) };
        Self(Arc::new(RwLock::new(keys)))
    }

    /// Switches this key and all clones to `present`. Tickets sealed under `previous` still open.
    pub(super) fn replace(&self, present: &[u8; 32], previous: Option<&[u8; 32]>) {
        let keys = TicketKeys { present: AEADKey::new(present), previous: previous.map(AEADKey::new) };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Seals `contents` as base64url text.
    pub fn seal(&self, contents: &[u8]) -> SecretString {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        BASE64_URL_SAFE_NO_PAD.encode(keys.present.seal(TICKET_CONTEXT, contents)).into()
    }

    pub fn open(&self, ticket: &SecretString) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let text = ticket.expose_secret();
        if text.len() > MAX_TICKET_CHARACTERS {
            return Err(DecryptError);
        }
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| DecryptError)?;
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let open = |key: &AEADKey| key.open(TICKET_CONTEXT, &sealed);
        open(&keys.present).or_else(|| keys.previous.as_ref().and_then(open)).ok_or(DecryptError)
    }
}

impl FieldSealer {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self(Arc::new(RwLock::new(AEADKey::new(key))))
    }

    /// Switches this sealer and all clones to `key`.
    pub(super) fn replace(&self, key: &[u8; 32]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = AEADKey::new(key);
    }

    pub fn seal(&self, place: Place<'_>, field: &[u8]) -> Sealed {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Sealed(key.seal(&place.context(), field))
    }

    pub fn open(&self, place: Place<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        let key = self.0.read().unwrap_or_else(PoisonError::into_inner);
        key.open(&place.context(), &sealed.0).ok_or(DecryptError)
    }
}

impl Place<'_> {
    /// Prefixes each part with its length, so that different places never encode the same.
    fn context(&self) -> Vec<u8> {
        let mut context = b"infra sealed field v1".to_vec();
        for part in [self.table, self.row, self.column] {
            context.extend_from_slice(&(part.len() as u64).to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        context.extend_from_slice(&self.version.to_be_bytes());
        context
    }
}

impl Sealed {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Wraps bytes from the store. They are untrusted until opened.
    pub fn from_store(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place { table: "providers", row: "okta", column: "reference", version: 1 };

    #[test]
    fn ticket_opens_only_unchanged_and_with_its_key() {
        let key = TicketKey::new(&[7; 32], None);
        let ticket = key.seal(b"contents");
        assert_eq!(key.open(&ticket).expect("our ticket").as_slice(), b"contents");
        assert_eq!(TicketKey::new(&[8; 32], None).open(&ticket), Err(DecryptError));

        let text = ticket.expose_secret();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key.open(&changed.clone().into()), Err(DecryptError), "{changed}");
        }
        for other in [String::new(), "A".repeat(10), "A".repeat(9000), format!("{text}=")] {
            assert_eq!(key.open(&other.into()), Err(DecryptError));
        }
    }

    #[test]
    fn ticket_opens_after_rotation_while_previous_key_is_kept() {
        let key = TicketKey::new(&[7; 32], None);
        let (same, ticket) = (key.clone(), key.seal(b"contents"));
        key.replace(&[8; 32], Some(&[7; 32]));
        assert_eq!(same.open(&ticket).expect("a ticket of before").as_slice(), b"contents");
        assert!(TicketKey::new(&[8; 32], None).open(&same.seal(b"new")).is_ok());
        key.replace(&[8; 32], None);
        assert_eq!(same.open(&ticket), Err(DecryptError));
    }

    #[test]
    fn tickets_with_equal_contents_differ() {
        let key = TicketKey::new(&[7; 32], None);
        assert_ne!(key.seal(b"contents").expose_secret(), key.seal(b"contents").expose_secret());
    }

    #[test]
    fn sealed_field_opens_only_in_its_place() {
        let fields = FieldSealer::new(&[7; 32]);
        let sealed = fields.seal(PLACE, b"field");
        assert_eq!(fields.open(PLACE, &sealed).expect("our field").as_slice(), b"field");
        for moved in [
            Place { table: "certificates", ..PLACE },
            Place { row: "other", ..PLACE },
            Place { column: "issuer", ..PLACE },
            Place { version: 2, ..PLACE },
            Place { table: "provider", row: "sokta", ..PLACE },
        ] {
            assert_eq!(fields.open(moved, &sealed), Err(DecryptError), "{moved:?}");
        }
    }

    #[test]
    fn sealer_clones_share_rotation_and_reject_old_fields() {
        let fields = FieldSealer::new(&[7; 32]);
        let (same, before) = (fields.clone(), fields.seal(PLACE, b"field"));
        fields.replace(&[8; 32]);
        assert_eq!(same.open(PLACE, &before), Err(DecryptError));
        let after = same.seal(PLACE, b"field");
        assert_eq!(FieldSealer::new(&[8; 32]).open(PLACE, &after).expect("a field").as_slice(), b"field");
        let stored = Sealed::from_store(after.as_bytes().to_vec());
        assert_eq!(fields.open(PLACE, &stored).expect("a field").as_slice(), b"field");
    }

    #[test]
    fn ticket_above_size_limit_is_rejected() {
        let key = TicketKey::new(&[7; 32], None);
        let size = |contents: usize| key.seal(&vec![0; contents]).expose_secret().len();
        let largest =
            (0..MAX_TICKET_CHARACTERS).rev().find(|contents| size(*contents) <= MAX_TICKET_CHARACTERS);
        let largest = largest.expect("some contents fit");
        assert!(largest > 6000 && size(largest) == MAX_TICKET_CHARACTERS, "{largest}");
        assert!(key.open(&key.seal(&vec![0; largest])).is_ok());
        assert_eq!(key.open(&key.seal(&vec![0; largest + 1])), Err(DecryptError));
    }
}
