//! Verifies ID tokens in the order of OpenID Connect Core §3.1.3.7.

mod error;

use aws_lc_rs::digest;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq;

use super::signing_keys::{KeyKind, SigningKey};
use super::{SigningAlgorithm, json};

pub(super) use error::IDTokenError;

/// Fits 256 groups of 256 bytes, each byte pair written as `\u0000`, in base64url (263 kB), and the other claims.
const MAX_BYTES: usize = 384 * 1024;
/// Accepted clock difference in seconds.
pub(super) const LEEWAY: i64 = 60;
/// Maximum age in seconds of an ID token from a login.
const MAX_AGE: i64 = 600;
/// Longest remaining lifetime in seconds of a workload's token. The store remembers each used token for so long.
const MAX_WORKLOAD_LIFETIME: i64 = 24 * 60 * 60;
/// NIST SP 800-131A, RFC 7518 §3.3.
const MIN_RSA_BITS: usize = 2048;
const MAX_SUBJECT_CHARACTERS: usize = 255;

/// The values that the token must match. All are known before the token is parsed.
#[derive(Clone, Copy)]
pub(super) struct Expectations<'a> {
    pub(super) issuer: &'a str,
    pub(super) recipient: Recipient<'a>,
    /// From the configuration only. Neither the token nor discovery can change them.
    pub(super) algorithms: &'a [SigningAlgorithm],
    pub(super) now: Timestamp,
}

/// Who requested the token, and for whom.
#[derive(Clone, Copy)]
pub(super) enum Recipient<'a> {
    Client(Client<'a>),
    /// Token exchange (RFC 8693): a workload requested the token for one of these audiences. It has no nonce and no
    /// access token, and `azp` names a client of the issuer. No leeway extends it, and it may be old.
    Workload {
        audiences: &'a [String],
    },
}

/// This daemon as a client of the provider.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) id: &'a str,
    /// Other audiences that the configuration trusts.
    pub(super) additional_audiences: &'a [String],
    pub(super) nonce: &'a SecretString,
    pub(super) flow: Flow<'a>,
    /// The access token from the same response, for `at_hash`.
    pub(super) access_token: &'a SecretString,
}

/// The flow that returned the ID token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow<'a> {
    Login,
    /// OpenID Connect Core §12.2: `sub` must match the login, and `auth_time` too if present. The nonce should be
    /// absent; if present, it must match the login's.
    Refresh {
        subject: &'a str,
        auth_time: Option<i64>,
    },
}

/// The claims of a completely verified ID token. Only [`verify`] creates one.
#[derive(Debug)]
pub(super) struct IDToken {
    pub(super) subject: String,
    /// In seconds since 1970.
    pub(super) expires_at: i64,
    pub(super) claims: Map<String, Value>,
}

/// Verifies `token` completely, or returns the first broken rule. Anything read before the signature check can only
/// reject the token.
pub(super) fn verify(
    token: &SecretString,
    expected: &Expectations<'_>,
    keys: &[SigningKey],
) -> Result<IDToken, IDTokenError> {
    let parts = CompactJWS::split(token.expose_secret())?;
    let (header, unverified_claims) = (object(parts.header)?, object(parts.claims)?);
    check_type(&header)?;

    // Step 2: the issuer matches the configured one byte for byte.
    if unverified_claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(IDTokenError::IssuerMismatch);
    }
    // Steps 3 to 5: the audience is this client, plus trusted audiences only.
    match expected.recipient {
        Recipient::Client(client) => check_audience(&unverified_claims, &client)?,
        Recipient::Workload { audiences } => check_workload_audience(&unverified_claims, audiences)?,
    }

    let algorithm = check_signature(&parts, &header, expected.algorithms, keys)?;
    let claims = unverified_claims;

    // Check the subject before the times: a token about another user is wrong at any clock.
    if let Recipient::Client(Client { flow: Flow::Refresh { subject, auth_time }, nonce, .. }) =
        expected.recipient
    {
        check_same_login(&claims, nonce, subject, auth_time)?;
    }
    let expires_at = check_times(&claims, expected)?;
    if let Recipient::Client(Client { flow, nonce, access_token, .. }) = expected.recipient {
        // Step 11: the nonce belongs to this login.
        if flow == Flow::Login {
            check_nonce(&claims, nonce)?;
        }
        // Steps 12 and 13 concern `acr` and `auth_time`, which logins do not request.

        // §3.1.3.8: the access token was issued with this ID token.
        check_access_token_hash(&claims, algorithm, access_token)?;
    }
    // §2: the subject, at most 255 ASCII characters.
    let subject = claims
        .get("sub")
        .and_then(Value::as_str)
        .filter(|subject| (1..=MAX_SUBJECT_CHARACTERS).contains(&subject.len()))
        .filter(|subject| subject.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_control()))
        .ok_or(IDTokenError::SubjectMalformed)?
        .to_owned();
    Ok(IDToken { subject, expires_at, claims })
}

/// Steps 9 and 10: not expired, and issued recently. Returns when the token expires.
fn check_times(claims: &Map<String, Value>, expected: &Expectations<'_>) -> Result<i64, IDTokenError> {
    let now = expected.now.as_second();
    let is_workload = matches!(expected.recipient, Recipient::Workload { .. });
    let expires_at = seconds(claims, "exp").ok_or(IDTokenError::Expired)?;
    // A workload's token is exchanged for one that must not outlive it.
    if now >= expires_at.saturating_add(if is_workload { 0 } else { LEEWAY }) {
        return Err(IDTokenError::Expired);
    }
    let issued_at = seconds(claims, "iat").ok_or(IDTokenError::IssuedTooLongAgo)?;
    if issued_at > now.saturating_add(LEEWAY) {
        return Err(IDTokenError::IssuedInTheFuture);
    }
    if is_workload {
        if expires_at > now.saturating_add(MAX_WORKLOAD_LIFETIME) {
            return Err(IDTokenError::ExpiresTooLate);
        }
    } else if issued_at < now.saturating_sub(MAX_AGE) {
        return Err(IDTokenError::IssuedTooLongAgo);
    }
    // RFC 7519 §4.1.5.
    if claims.contains_key("nbf")
        && seconds(claims, "nbf").ok_or(IDTokenError::NotYetValid)? > now.saturating_add(LEEWAY)
    {
        return Err(IDTokenError::NotYetValid);
    }
    Ok(expires_at)
}

/// Whether a token that breaks another rule was signed by the provider, with one of its `keys`.
pub(super) fn check_is_signed(
    token: &SecretString,
    expected: &Expectations<'_>,
    keys: &[SigningKey],
) -> Result<(), IDTokenError> {
    let parts = CompactJWS::split(token.expose_secret())?;
    let header = object(parts.header)?;
    check_type(&header)?;
    check_signature(&parts, &header, expected.algorithms, keys).map(|_| ())
}

fn check_nonce(claims: &Map<String, Value>, expected: &SecretString) -> Result<(), IDTokenError> {
    let nonce = claims.get("nonce").and_then(Value::as_str).ok_or(IDTokenError::NonceMismatch)?;
    if nonce.as_bytes().ct_eq(expected.expose_secret().as_bytes()).into() {
        Ok(())
    } else {
        Err(IDTokenError::NonceMismatch)
    }
}

/// OpenID Connect Core §12.2: the same user as at the login, and the same nonce and `auth_time` if present.
fn check_same_login(
    claims: &Map<String, Value>,
    nonce: &SecretString,
    subject: &str,
    auth_time: Option<i64>,
) -> Result<(), IDTokenError> {
    if claims.contains_key("nonce") {
        check_nonce(claims, nonce)?;
    }
    if claims.get("sub").and_then(Value::as_str) != Some(subject) {
        return Err(IDTokenError::SubjectMismatch);
    }
    let token_auth_time = seconds(claims, "auth_time");
    if auth_time.is_some() && token_auth_time.is_some() && token_auth_time != auth_time {
        return Err(IDTokenError::AuthTimeMismatch);
    }
    Ok(())
}

/// The parts of a token in compact form (RFC 7515 §7.1), still encoded.
struct CompactJWS<'a> {
    header: &'a str,
    claims: &'a str,
    /// The signature covers everything before the last dot (RFC 7515 §5.2).
    signed: &'a str,
    signature: &'a str,
}

impl<'a> CompactJWS<'a> {
    fn split(token: &'a str) -> Result<Self, IDTokenError> {
        if token.len() > MAX_BYTES {
            return Err(IDTokenError::TooLarge { bytes: token.len() });
        }
        match token.split('.').collect::<Vec<_>>()[..] {
            [header, claims, signature] => {
                let signed = token.strip_suffix(signature).and_then(|rest| rest.strip_suffix('.'));
                Ok(Self { header, claims, signed: signed.ok_or(IDTokenError::Malformed)?, signature })
            }
            // Step 1: encryption was not negotiated, so an encrypted token is rejected.
            [_, _, _, _, _] => Err(IDTokenError::Encrypted),
            _ => Err(IDTokenError::Malformed),
        }
    }
}

/// Decodes a header or claims: base64url without padding (RFC 7515 §2), and an object without duplicate members (RFC
/// 7519 §4).
fn object(part: &str) -> Result<Map<String, Value>, IDTokenError> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| IDTokenError::Malformed)?;
    json::object(&bytes).ok_or(IDTokenError::Malformed)
}

/// Steps 6, 7 and 8: checks the signature with a configured algorithm (never `none` or a shared secret) and a key of
/// the provider. Ignores the header's `jku`, `x5u` and `jwk`.
fn check_signature(
    parts: &CompactJWS<'_>,
    header: &Map<String, Value>,
    allowed: &[SigningAlgorithm],
    keys: &[SigningKey],
) -> Result<SigningAlgorithm, IDTokenError> {
    let algorithm = algorithm(header, allowed)?;
    let key = select_key(header, algorithm, keys)?;
    match jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), &key.key, algorithm.into()) {
        Ok(true) => Ok(algorithm),
        Ok(false) | Err(_) => Err(IDTokenError::SignatureInvalid),
    }
}

/// RFC 8725 §3.11: rejects tokens of another type, such as an access token or a logout token.
fn check_type(header: &Map<String, Value>) -> Result<(), IDTokenError> {
    match header.get("typ") {
        None => {}
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("JWT") => {}
        Some(_) => return Err(IDTokenError::OtherType),
    }
    if header.contains_key("cty") {
        return Err(IDTokenError::OtherType);
    }
    // RFC 7515 §4.1.11: reject extensions that must be understood, because none is supported.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(IDTokenError::CriticalExtension);
    }
    Ok(())
}

/// Checks that the audience contains the client and otherwise only trusted audiences. `azp` must be the client if
/// present, and must be present if there are further audiences.
fn check_audience(claims: &Map<String, Value>, client: &Client<'_>) -> Result<(), IDTokenError> {
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        audiences(claims)?.iter().partition(|audience| *audience == client.id);
    let is_trusted = |audience: &&Value| client.additional_audiences.iter().any(|it| *audience == it);
    if ours.is_empty() || !others.iter().all(is_trusted) {
        return Err(IDTokenError::AudienceMismatch);
    }
    match claims.get("azp") {
        None | Some(Value::Null) if others.is_empty() => Ok(()),
        Some(party) if party == client.id => Ok(()),
        _ => Err(IDTokenError::AuthorizedPartyMismatch),
    }
}

/// Checks that the token has an audience and that the configuration lists each of them: another recipient of the same
/// token could present it here.
pub(super) fn check_workload_audience(
    claims: &Map<String, Value>,
    listed: &[String],
) -> Result<(), IDTokenError> {
    let audiences = audiences(claims)?;
    let is_listed = |audience: &Value| listed.iter().any(|it| audience == it);
    if audiences.is_empty() || !audiences.iter().all(is_listed) {
        return Err(IDTokenError::AudienceMismatch);
    }
    Ok(())
}

fn audiences(claims: &Map<String, Value>) -> Result<&[Value], IDTokenError> {
    match claims.get("aud") {
        Some(audience @ Value::String(_)) => Ok(std::slice::from_ref(audience)),
        Some(Value::Array(audiences)) => Ok(audiences),
        _ => Err(IDTokenError::AudienceMismatch),
    }
}

/// Returns the claims of a token without verification, for messages only.
pub(super) fn unverified_claims(token: &SecretString) -> Option<Map<String, Value>> {
    object(CompactJWS::split(token.expose_secret()).ok()?.claims).ok()
}

fn algorithm(
    header: &Map<String, Value>,
    allowed: &[SigningAlgorithm],
) -> Result<SigningAlgorithm, IDTokenError> {
    let name = header.get("alg").and_then(Value::as_str).ok_or(IDTokenError::AlgorithmNotAllowed)?;
    allowed
        .iter()
        .copied()
        .find(|algorithm| algorithm.name() == name)
        .ok_or(IDTokenError::AlgorithmNotAllowed)
}

/// Selects the key that the header names; without a key id, the only candidate (OpenID Connect Core §10.1).
fn select_key<'a>(
    header: &Map<String, Value>,
    algorithm: SigningAlgorithm,
    keys: &'a [SigningKey],
) -> Result<&'a SigningKey, IDTokenError> {
    let named: Vec<&SigningKey> = match header.get("kid") {
        None => keys.iter().collect(),
        Some(Value::String(id)) => keys.iter().filter(|key| key.id.as_ref() == Some(id)).collect(),
        Some(_) => return Err(IDTokenError::Malformed),
    };
    if named.is_empty() {
        return Err(IDTokenError::UnknownKey);
    }
    let mut fitting = named.into_iter().filter(|key| key.fits(algorithm));
    let key = fitting.next().ok_or(IDTokenError::KeyDoesNotFit)?;
    if fitting.next().is_some() {
        return Err(IDTokenError::AmbiguousKey);
    }
    if matches!(key.kind, KeyKind::RSA { bits } if bits < MIN_RSA_BITS) {
        return Err(IDTokenError::KeyTooShort);
    }
    Ok(key)
}

fn check_access_token_hash(
    claims: &Map<String, Value>,
    algorithm: SigningAlgorithm,
    access_token: &SecretString,
) -> Result<(), IDTokenError> {
    let Some(claimed) = claims.get("at_hash") else { return Ok(()) };
    let claimed = claimed.as_str().ok_or(IDTokenError::AccessTokenHashMismatch)?;
    let hash = digest::digest(algorithm.hash(), access_token.expose_secret().as_bytes());
    let (left_half, _) = hash.as_ref().split_at(hash.as_ref().len() / 2);
    let computed = BASE64_URL_SAFE_NO_PAD.encode(left_half);
    if computed.as_bytes().ct_eq(claimed.as_bytes()).into() {
        Ok(())
    } else {
        Err(IDTokenError::AccessTokenHashMismatch)
    }
}

/// Parses a NumericDate (RFC 7519 §2): seconds since 1970, possibly with a fraction; `None` for anything else.
pub(super) fn seconds(claims: &Map<String, Value>, name: &str) -> Option<i64> {
    let number = claims.get(name)?.as_number()?;
    if let Some(whole) = number.as_i64() {
        return Some(whole);
    }
    let fraction = number.as_f64().filter(|value| value.abs() < 1e15)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than 10¹⁵, and a fraction of a second is not needed"
    )]
    let whole = fraction.floor() as i64;
    Some(whole)
}

#[cfg(test)]
mod tests;
