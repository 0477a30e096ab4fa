//! The provider's signing keys (RFC 7517), fetched on demand and refetched once if a key is missing.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::fetch_cache::{FetchCache, asked_before, is_within};
use super::id_token::{IDToken, IDTokenError};
use super::{IdentityError, SigningAlgorithm, cache_lifetime, ed25519, json, unavailable, within};
use crate::outbound::{Authorization, Outbound};
use crate::secrets::KubernetesSettings;

const MAX_BYTES: usize = 256 * 1024;
const MAX_KEYS: usize = 32;
/// Minimum time between refetches, however many tokens name unknown keys.
const REFETCH_INTERVAL: SignedDuration = SignedDuration::from_secs(30);

/// The JWK members of private keys (RFC 7518 §6.2.2, §6.3.2, §6.4; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// One public key and its permitted use.
pub(super) struct SigningKey {
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
    pub(super) kind: KeyKind,
    /// The only permitted algorithm, if the key declares one (RFC 7517 §4.4).
    algorithm: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyKind {
    RSA { bits: usize },
    P256,
    P384,
    Ed25519,
}

/// Where an issuer publishes its keys.
#[derive(Clone, Copy)]
pub(super) enum KeySource<'a> {
    Url {
        outbound: &'a Outbound,
        url: &'a Url,
    },
    /// The API server of the cluster that the daemon runs in.
    Cluster(&'a KubernetesSettings),
}

/// The keys of one provider.
pub(super) struct SigningKeys {
    cache: Mutex<Cache>,
    fetch_timeout: Duration,
    /// How long a failed fetch without an earlier value counts for later callers.
    pause: Duration,
}

#[derive(Default)]
struct Cache {
    keys: FetchCache<Vec<SigningKey>>,
    refetched_at: Option<Timestamp>,
}

impl SigningKeys {
    pub(super) fn new(fetch_timeout: Duration, pause: Duration) -> Self {
        Self { cache: Mutex::default(), fetch_timeout, pause }
    }

    /// Calls `verify` with the cached keys, and once more with fresh ones if the provider may have changed its keys.
    pub(super) async fn verify(
        &self,
        source: KeySource<'_>,
        now: Timestamp,
        verify: impl Fn(&[SigningKey]) -> Result<IDToken, IDTokenError>,
    ) -> Result<Result<IDToken, IDTokenError>, IdentityError> {
        let begun_at = Instant::now();
        let keys = self.keys(source, now).await?;
        Ok(match verify(&keys) {
            // A provider without key ids, or one that reuses an id, can change its key without notice.
            Err(error) if error.depends_on_keys() => {
                verify(&self.refetch(source, now, (&keys, begun_at)).await?)
            }
            verified => verified,
        })
    }

    pub(super) async fn keys(
        &self,
        source: KeySource<'_>,
        now: Timestamp,
    ) -> Result<Arc<Vec<SigningKey>>, IdentityError> {
        let asked_at = asked_before(self.pause);
        let mut cache = self.cache.lock().await;
        if let Some(found) = cache.keys.find(asked_at, now) {
            return found;
        }
        let fetched = self.fetch_in_time(source).await;
        cache.keys.store(fetched, now).or_else(|error| cache.keys.stale(now).ok_or(error))
    }

    /// Replaces `stale_keys` with fresh ones. Returns the cached keys if they were fetched recently: since
    /// `begun_at`, or after other keys that did not fit.
    async fn refetch(
        &self,
        source: KeySource<'_>,
        now: Timestamp,
        (stale_keys, begun_at): (&Arc<Vec<SigningKey>>, Instant),
    ) -> Result<Arc<Vec<SigningKey>>, IdentityError> {
        let mut cache = self.cache.lock().await;
        if let Some(last) = cache.keys.last() {
            // Keys fetched during this exchange would come back the same, and the refetch would use up the interval
            // of later callers.
            let are_newer = !Arc::ptr_eq(&last.value, stale_keys) || last.received_at >= begun_at;
            let was_asked_lately =
                cache.refetched_at.is_some_and(|then| is_within(then, now, REFETCH_INTERVAL));
            if are_newer || was_asked_lately {
                // The cached keys do not fit and newer ones are unavailable, so the token is not to blame.
                return match cache.keys.failure() {
                    Some(error) if !are_newer => Err(error.clone()),
                    _ => Ok(last.value.clone()),
                };
            }
        }
        cache.refetched_at = Some(now);
        let fetched = self.fetch_in_time(source).await;
        cache.keys.store(fetched, now)
    }

    async fn fetch_in_time(&self, source: KeySource<'_>) -> Result<Fetched, IdentityError> {
        let reason = "signing keys: the request timed out";
        within(self.fetch_timeout, reason, fetch(source)).await
    }
}

impl SigningKey {
    /// Whether this key may verify signatures of `algorithm`.
    pub(super) fn fits(&self, algorithm: SigningAlgorithm) -> bool {
        let kind_fits = match self.kind {
            KeyKind::RSA { .. } => algorithm.is_rsa(),
            KeyKind::P256 => algorithm == SigningAlgorithm::ES256,
            KeyKind::P384 => algorithm == SigningAlgorithm::ES384,
            KeyKind::Ed25519 => algorithm == SigningAlgorithm::EdDSA,
        };
        kind_fits && self.algorithm.as_ref().is_none_or(|only| only == algorithm.name())
    }
}

/// Keys, and how long they are fresh.
type Fetched = (Vec<SigningKey>, SignedDuration);

async fn fetch(source: KeySource<'_>) -> Result<Fetched, IdentityError> {
    let response = match source {
        KeySource::Url { outbound, url } => outbound.get(url, Authorization::None, MAX_BYTES).await?,
        // https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
        KeySource::Cluster(account) => {
            let response = account.get(&["openid", "v1", "jwks"], MAX_BYTES).await;
            response.map_err(|error| IdentityError::Unavailable(format!("signing keys: {error}")))?
        }
    };
    if response.status != 200 || !json::is_json(response.content_type.as_deref()) {
        return Err(IdentityError::Unavailable(format!(
            "signing keys: status {} or not JSON",
            response.status
        )));
    }
    let document = json::object(&response.body).ok_or_else(|| unavailable("signing keys: malformed"))?;
    let keys =
        read(&document).map_err(|reason| IdentityError::Unavailable(format!("signing keys: {reason}")))?;
    Ok((keys, cache_lifetime::from_headers(&response.headers)))
}

/// Returns the keys of a set that can verify signatures. RFC 7517 §5: ignores what it does not understand.
pub(super) fn read(document: &Map<String, Value>) -> Result<Vec<SigningKey>, &'static str> {
    let keys = document.get("keys").and_then(Value::as_array).ok_or("no list of keys")?;
    if keys.len() > MAX_KEYS {
        return Err("too many keys");
    }
    let usable: Vec<SigningKey> = keys.iter().filter_map(Value::as_object).filter_map(read_key).collect();
    if usable.is_empty() { Err("no usable key") } else { Ok(usable) }
}

fn read_key(key: &Map<String, Value>) -> Option<SigningKey> {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // Reject a published private key: anyone can sign with it (RFC 7518 §6.2.2, §6.3.2).
    if PRIVATE_MEMBERS.iter().any(|member| key.contains_key(*member)) {
        return None;
    }
    // RFC 7517 §4: these are strings. Another type does not count as absent.
    if ["alg", "kid"].iter().any(|member| key.get(*member).is_some_and(|value| !value.is_string())) {
        return None;
    }
    // RFC 7517 §4.2, §4.3: an encryption key does not verify signatures.
    if key.contains_key("use") && text("use") != Some("sig") {
        return None;
    }
    let operations = key.get("key_ops").map(|operations| operations.as_array());
    if let Some(operations) = operations
        && !operations?.iter().any(|operation| operation == "verify")
    {
        return None;
    }
    let (kind, decoding_key) = match text("kty")? {
        "RSA" => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            (
                KeyKind::RSA { bits: bit_length(&modulus) },
                DecodingKey::from_rsa_raw_components(&modulus, &exponent),
            )
        }
        "EC" => {
            let (kind, size) = match text("crv")? {
                "P-256" => (KeyKind::P256, 32),
                "P-384" => (KeyKind::P384, 48),
                _ => return None,
            };
            // RFC 7518 §6.2.1.2: coordinates have the full size of the field.
            if bytes("x")?.len() != size || bytes("y")?.len() != size {
                return None;
            }
            (kind, DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?)
        }
        "OKP" if text("crv") == Some("Ed25519") && ed25519::is_key(&bytes("x")?) => {
            (KeyKind::Ed25519, DecodingKey::from_ed_components(text("x")?).ok()?)
        }
        _ => return None,
    };
    Some(SigningKey {
        id: text("kid").map(ToOwned::to_owned),
        key: decoding_key,
        kind,
        algorithm: text("alg").map(ToOwned::to_owned),
    })
}

/// Bit length of a big-endian number, without leading zeros.
fn bit_length(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).copied().unwrap_or_default();
    ((number.len() - zeros) * 8).saturating_sub(first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(keys: &Value) -> Result<Vec<KeyKind>, &'static str> {
        let document = json!({ "keys": keys });
        let read = read(document.as_object().expect("an object"))?;
        Ok(read.iter().map(|key| key.kind).collect())
    }

    #[test]
    fn supported_keys_are_read_and_others_ignored() {
        let coordinate = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let keys = json!([
            {"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB"},
            {"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB", "use": "enc"},
            {"kty": "RSA", "n": BASE64_URL_SAFE_NO_PAD.encode([0xff; 256]), "e": "AQAB", "key_ops": ["encrypt"]},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate},
            {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": coordinate},
            {"kty": "EC", "crv": "secp256k1", "x": coordinate, "y": coordinate},
            {"kty": "OKP", "crv": "Ed25519", "x": coordinate},
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "d": coordinate},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "alg": 7},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "kid": null},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "use": ["sig"]},
            {"kty": "EC", "crv": "P-256", "x": coordinate, "y": coordinate, "key_ops": "verify"},
            {"kty": "EC", "crv": "P-256", "x": 7, "y": coordinate},
            {"kty": ["EC"], "crv": "P-256", "x": coordinate, "y": coordinate},
            {},
            null,
            "broken",
        ]);
        assert_eq!(kinds(&keys), Ok(vec![KeyKind::RSA { bits: 2048 }, KeyKind::P256, KeyKind::Ed25519]));
    }

    #[test]
    fn key_set_without_usable_key_is_rejected() {
        for keys in [json!([]), json!(null), json!({}), json!([{"kty": "oct", "k": "c2VjcmV0"}])] {
            assert!(kinds(&keys).is_err(), "{keys}");
        }
        assert_eq!(kinds(&json!(vec![json!({}); 33])), Err("too many keys"));
    }

    #[test]
    fn key_length_ignores_leading_zeros() {
        assert_eq!(bit_length(&[0, 0, 0b0100_0000, 0]), 15);
        assert_eq!(bit_length(&[0, 0]), 0);
    }

    #[test]
    fn key_fits_only_algorithms_of_its_type() {
        let all = [
            SigningAlgorithm::RS256,
            SigningAlgorithm::PS512,
            SigningAlgorithm::ES256,
            SigningAlgorithm::ES384,
            SigningAlgorithm::EdDSA,
        ];
        for (kind, fitting) in [
            (KeyKind::RSA { bits: 2048 }, vec![SigningAlgorithm::RS256, SigningAlgorithm::PS512]),
            (KeyKind::P256, vec![SigningAlgorithm::ES256]),
            (KeyKind::P384, vec![SigningAlgorithm::ES384]),
            (KeyKind::Ed25519, vec![SigningAlgorithm::EdDSA]),
        ] {
            let key = SigningKey { id: None, key: DecodingKey::from_secret(b"any"), kind, algorithm: None };
            let fits: Vec<_> = all.into_iter().filter(|algorithm| key.fits(*algorithm)).collect();
            assert_eq!(fits, fitting, "{kind:?}");
            let key = SigningKey { algorithm: Some("RS256".to_owned()), ..key };
            let fits: Vec<_> = all.into_iter().filter(|algorithm| key.fits(*algorithm)).collect();
            let only: Vec<_> = fitting.into_iter().filter(|it| *it == SigningAlgorithm::RS256).collect();
            assert_eq!(fits, only, "{kind:?}");
        }
    }

    #[test]
    fn key_set_and_ed25519_sizes_are_limited() {
        let key = |bytes: usize| json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode(vec![7; bytes])});
        assert_eq!(kinds(&json!(vec![key(32); MAX_KEYS])).expect("keys").len(), MAX_KEYS);
        assert_eq!(kinds(&json!(vec![key(32); MAX_KEYS + 1])), Err("too many keys"));
        for bytes in [0, 31, 33, 57] {
            assert_eq!(kinds(&json!([key(bytes)])), Err("no usable key"), "{bytes}");
        }
        let other = json!({"kty": "OKP", "crv": "X25519", "x": BASE64_URL_SAFE_NO_PAD.encode([7; 32])});
        assert_eq!(kinds(&json!([other])), Err("no usable key"));
    }
}
