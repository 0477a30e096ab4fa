//! Login tickets: the sealed state of a login that has started. The client keeps it, so the daemon stores nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::api::expose;
use infra_shared::random;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::{DecryptError, TICKET_LIFETIME, TicketKey};

/// State of a started login. Clients can neither read nor change it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ticket {
    pub(super) id: [u8; 16],
    pub(super) provider: String,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    /// Binds the ID token to this login (OpenID Connect Core §3.1.2.1).
    #[serde(serialize_with = "expose")]
    pub(super) nonce: SecretString,
    #[serde(with = "jiff::fmt::serde::timestamp::second::required")]
    pub(super) expires_at: Timestamp,
}

impl Ticket {
    /// A ticket for a login that starts now, with a fresh ID and nonce.
    pub(super) fn mint(provider: &str, redirect_uri: &str, code_challenge: &str, now: Timestamp) -> Self {
        Self {
            id: random::bytes(),
            provider: provider.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            code_challenge: code_challenge.to_owned(),
            nonce: BASE64_URL_SAFE_NO_PAD.encode(random::bytes::<32>()).into(),
            expires_at: super::truncate_to_second(super::add(now, TICKET_LIFETIME)),
        }
    }

    pub(super) fn seal(&self, key: &TicketKey) -> SecretString {
        key.seal(&Zeroizing::new(serde_json::to_vec(self).expect("a ticket is plain JSON")))
    }

    /// Opens a ticket sealed by this daemon. It may have expired.
    pub(super) fn open(text: &SecretString, key: &TicketKey) -> Result<Self, DecryptError> {
        serde_json::from_slice(&key.open(text)?).map_err(|_| DecryptError)
    }
}
