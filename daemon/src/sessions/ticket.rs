//! Login tickets: the sealed state of a login that has started. The client keeps it, so the daemon stores nothing.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::random;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::keys::{DecryptError, TicketKey};

/// How long a login may take from start to finish.
pub(super) const LIFETIME: SignedDuration = SignedDuration::from_secs(300);

/// State of a started login. Clients can neither read nor change it.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) id: [u8; 16],
    pub(super) provider: String,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    /// Binds the ID token to this login (OpenID Connect Core §3.1.2.1).
    pub(super) nonce: SecretString,
    pub(super) expires_at: Timestamp,
}

/// Serialized form of a ticket before it is sealed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents<'a> {
    id: [u8; 16],
    provider: &'a str,
    redirect_uri: &'a str,
    code_challenge: &'a str,
    nonce: &'a str,
    expires_at: i64,
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
            expires_at: super::whole_second(super::add(now, LIFETIME)),
        }
    }

    pub(super) fn seal(&self, key: &TicketKey) -> SecretString {
        let contents = Contents {
            id: self.id,
            provider: &self.provider,
            redirect_uri: &self.redirect_uri,
            code_challenge: &self.code_challenge,
            nonce: self.nonce.expose_secret(),
            expires_at: self.expires_at.as_second(),
        };
        key.seal(&Zeroizing::new(serde_json::to_vec(&contents).expect("a ticket is plain JSON")))
    }

    /// Opens a ticket sealed by this daemon. It may have expired.
    pub(super) fn open(text: &SecretString, key: &TicketKey) -> Result<Self, DecryptError> {
        let opened = key.open(text)?;
        let contents: Contents<'_> = serde_json::from_slice(&opened).map_err(|_| DecryptError)?;
        Ok(Self {
            id: contents.id,
            provider: contents.provider.to_owned(),
            redirect_uri: contents.redirect_uri.to_owned(),
            code_challenge: contents.code_challenge.to_owned(),
            nonce: contents.nonce.into(),
            expires_at: Timestamp::from_second(contents.expires_at).map_err(|_| DecryptError)?,
        })
    }
}
