//! How a secret is written down where it is kept.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::ReadError;

/// How a secret is written down where it is kept (RFC 4648 §4 and §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Base64,
    /// With the alphabet that is safe in URLs.
    Base64UrlEncoded,
    /// Without padding.
    Base64Raw,
}

/// The secret in `bytes`. `origin` says in errors where they are from.
pub(super) fn decode(
    bytes: &[u8],
    encoding: Option<Encoding>,
    origin: &str,
) -> Result<SecretString, ReadError> {
    let malformed = |what: &str| ReadError::Malformed(format!("{origin} is not {what}"));
    let decoded = match encoding {
        None => Zeroizing::new(bytes.to_vec()),
        Some(encoding) => {
            let engine = match encoding {
                Encoding::Base64 => BASE64_STANDARD,
                Encoding::Base64UrlEncoded => BASE64_URL_SAFE,
                Encoding::Base64Raw => BASE64_STANDARD_NO_PAD,
            };
            Zeroizing::new(engine.decode(bytes).map_err(|_| malformed("in the declared encoding"))?)
        }
    };
    let text = std::str::from_utf8(&decoded).map_err(|_| malformed("text"))?;
    Ok(text.into())
}
