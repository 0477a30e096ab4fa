//! The provider rows, as configured at the last start.

use crate::keys::Sealed;

pub struct ProviderRow {
    pub name: String,
    pub issuer: String,
    /// The sign-in policy as text. Equal policies have equal texts.
    pub allow_policy: String,
    /// The secret itself for `plaintext`, only its reference for every other kind.
    pub client_secret_reference: Sealed,
}
