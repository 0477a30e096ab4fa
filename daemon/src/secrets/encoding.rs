//! The encodings of stored secrets.

use super::value::without_line_break;
use super::{ReadError, Stored};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};

/// The encoding of a stored secret (RFC 4648 §4 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Base64,
    /// With the URL-safe alphabet.
    Base64UrlEncoded,
    /// Without padding.
    Base64Raw,
}

/// Decodes `bytes`. `origin` names their source in errors.
pub(super) fn decode(bytes: &[u8], encoding: Option<Encoding>, origin: &str) -> Result<Stored, ReadError> {
    let engine = match encoding {
        None => return Ok(Stored::new(bytes.to_vec())),
        Some(Encoding::Base64) => BASE64_STANDARD,
        Some(Encoding::Base64UrlEncoded) => BASE64_URL_SAFE,
        Some(Encoding::Base64Raw) => BASE64_STANDARD_NO_PAD,
    };
    let decoded = engine.decode(without_line_break(bytes));
    decoded
        .map(Stored::new)
        .map_err(|_| ReadError::Malformed(format!("{origin} is not in the configured encoding")))
}
