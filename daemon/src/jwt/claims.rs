//! The claims of signed tokens (RFC 9068 §2.2).

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use infra_shared::random;
use infra_shared::token_text::{SessionID, SignedToken};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::signing_key::SigningKey;

/// 131 bits.
const ID_CHARACTERS: usize = 22;

/// What a new token says.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    pub audience: &'a str,
    pub subject: &'a str,
    pub session: &'a SessionID,
    /// What requested it.
    pub client: &'a str,
    /// The label of a delegated session.
    pub delegated_to: Option<&'a str>,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The user's e-mail address, if the provider verified it.
    pub verified_email: Option<&'a str>,
    /// `None` leaves the claim out.
    pub groups: Option<&'a [&'a str]>,
}

/// What a token says that one of the daemon's keys signed. Only [`verify`] creates one, from a token of this issuer. Its
/// audience, its expiry and its session are for the caller to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    pub audience: String,
    pub subject: String,
    pub session: SessionID,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}

/// RFC 8693 §4.1, as introspection returns it.
#[derive(Serialize)]
struct Actor<'a> {
    sub: String,
    sid: &'a str,
}

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    /// One text, so that the token is for one service.
    aud: &'a str,
    sub: &'a str,
    client_id: &'a str,
    sid: &'a str,
    jti: String,
    iat: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Actor<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [&'a str]>,
}

/// A member with a newer infrad may have written more.
#[derive(Deserialize)]
struct Read {
    iss: String,
    aud: String,
    sub: String,
    sid: SessionID,
    iat: i64,
    exp: i64,
}

pub(super) fn sign(key: &SigningKey, issuer: &str, new: &NewToken<'_>) -> SignedToken {
    let claims = Written {
        iss: issuer,
        aud: new.audience,
        sub: new.subject,
        client_id: new.client,
        sid: new.session.as_str(),
        jti: random::alphanumeric(ID_CHARACTERS),
        iat: new.issued_at.as_second(),
        exp: new.expires_at.as_second(),
        act: new
            .delegated_to
            .map(|label| Actor { sub: format!("delegate:{label}"), sid: new.session.as_str() }),
        email: new.verified_email,
        email_verified: new.verified_email.map(|_| true),
        groups: new.groups,
    };
    let claims = serde_json::to_vec(&claims).expect("texts and numbers are JSON");
    let signed = format!("{}.{}", key.header(), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    let token = SignedToken::parse(&format!("{signed}.{signature}"));
    token.expect("the configuration and the providers' claims are bounded")
}

/// Verifies a token with the one key that its header can belong to. Compares the header first, and reads the claims only after
/// the signature, so that a forged token costs little.
pub(super) fn verify<'a>(
    text: &str,
    issuer: &str,
    mut keys: impl Iterator<Item = &'a SigningKey>,
) -> Option<VerifiedToken> {
    if text.len() > SignedToken::MAX_BYTES {
        return None;
    }
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let key = keys.find(|key| key.header() == header)?;
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !key.verify(signed.as_bytes(), &signature) {
        return None;
    }
    let claims: Read = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    (claims.iss == issuer).then_some(())?;
    Some(VerifiedToken {
        audience: claims.aud,
        subject: claims.sub,
        session: claims.sid,
        issued_at: Timestamp::from_second(claims.iat).ok()?,
        expires_at: Timestamp::from_second(claims.exp).ok()?,
    })
}
