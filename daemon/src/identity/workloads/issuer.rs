//! An issuer of workload tokens: its metadata and keys, fetched on demand and cached.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use url::Url;

use super::{WorkloadError, cluster};
use crate::fair_queue::FairQueue;
use crate::identity::discovery::{self, FRESH};
use crate::identity::fetch_cache::{FetchCache, asked_before};
use crate::identity::id_token::{self, Expectations, IDToken, IDTokenError, Recipient};
use crate::identity::signing_keys::{KeySource, SigningKeys};
use crate::identity::unusable::{self, Unusable};
use crate::identity::{ExchangeLimits, IdentityError, SigningAlgorithm, metadata, within};
use crate::outbound::{self, Outbound, SSRFGuard};
use crate::secrets::KubernetesSettings;

/// What GitHub, GitLab, Kubernetes, AWS, Google and SPIRE sign with. Never `none`, never a shared secret.
const ALGORITHMS: [SigningAlgorithm; 4] =
    [SigningAlgorithm::RS256, SigningAlgorithm::ES256, SigningAlgorithm::ES384, SigningAlgorithm::EdDSA];
/// More than any known issuer lists.
const MAX_LISTED_CLAIMS: usize = 256;
/// Requests that may wait for one issuer. Each holds a token of up to 16 KiB.
const MAX_WAITING: usize = 512;
/// After a failed fetch, the next one begins this much later: an unverified token can cause one.
const PAUSE: Duration = Duration::from_secs(2);

/// The issuer in the configuration that means the cluster in which the daemon runs.
pub(super) const CLUSTER: &str = "kubernetes:///";

/// The metadata that the daemon uses.
pub(super) struct IssuerMetadata {
    /// The issuer of the tokens. It differs from the configured one for the cluster only.
    pub(super) issuer: String,
    pub(super) jwks_uri: Url,
    /// The claims that the issuer lists (Discovery §3). Empty if it lists none. The list may be incomplete.
    pub(super) claims: Vec<String>,
    /// Whether the issuer signs with an accepted algorithm; `None` if it does not say.
    pub(super) signs_with_allowed: Option<bool>,
}

pub(super) struct Issuer {
    name: String,
    source: Source,
    metadata: Mutex<FetchCache<IssuerMetadata>>,
    keys: SigningKeys,
    fetch_timeout: Duration,
    pub(super) queue: FairQueue,
}

/// Where metadata and keys come from.
enum Source {
    /// The issuer's own address (Discovery §4).
    Discovery { outbound: Outbound, guard: SSRFGuard },
    /// The API server, asked with the account of the daemon's pod.
    Cluster(KubernetesSettings),
}

impl Issuer {
    pub(super) fn new(
        name: &str,
        authorities: Option<Vec<CertificateDer<'static>>>,
        exchanges: &ExchangeLimits,
        calls: outbound::Limits,
    ) -> Result<Self, IdentityError> {
        if name == CLUSTER {
            return Ok(Self::of_cluster(KubernetesSettings::default(), exchanges));
        }
        let host = Url::parse(name).ok().and_then(|url| Some(url.host()?.to_owned()));
        let guard = SSRFGuard::trusting(host.into_iter().collect());
        let outbound = Outbound::with_guard(authorities, calls, Some(guard.clone()))
            .map_err(|error| IdentityError::Unavailable(error.to_string()))?;
        Ok(Self::with(name, Source::Discovery { outbound, guard }, exchanges))
    }

    pub(super) fn of_cluster(account: KubernetesSettings, exchanges: &ExchangeLimits) -> Self {
        Self::with(CLUSTER, Source::Cluster(account), exchanges)
    }

    fn with(name: &str, source: Source, exchanges: &ExchangeLimits) -> Self {
        Self {
            name: name.to_owned(),
            source,
            metadata: Mutex::default(),
            keys: SigningKeys::new(exchanges.fetch_timeout(), PAUSE),
            fetch_timeout: exchanges.fetch_timeout(),
            queue: exchanges.queue_of(MAX_WAITING),
        }
    }

    /// As configured.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Verifies a token that must be for `audiences`. The outer error means that the issuer is to blame, not the token.
    pub(super) async fn verify(
        &self,
        token: &SecretString,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Result<IDToken, IDTokenError>, WorkloadError> {
        let verifying = async {
            let metadata = self.metadata(now).await?;
            let expected = Expectations {
                issuer: &metadata.issuer,
                recipient: Recipient::Workload { audiences },
                algorithms: &ALGORITHMS,
                now,
            };
            let verify = |keys: &[_]| id_token::verify(token, &expected, keys);
            self.keys.verify(self.key_source(&metadata), now, verify).await
        };
        verifying.await.map_err(|cause| self.unavailable(cause))
    }

    pub(super) fn unavailable(&self, cause: IdentityError) -> WorkloadError {
        WorkloadError::Unavailable { issuer: self.name.clone(), cause }
    }

    pub(super) async fn metadata(&self, now: Timestamp) -> Result<Arc<IssuerMetadata>, IdentityError> {
        let asked_at = asked_before(PAUSE);
        let mut cache = self.metadata.lock().await;
        if let Some(found) = cache.find(asked_at, now) {
            return found;
        }
        let fetching = self.fetch_metadata();
        let fetched = within(self.fetch_timeout, "discovery: the request timed out", fetching).await;
        let fetched = fetched.map(|metadata| (metadata, FRESH));
        cache.store(fetched, now).or_else(|error| {
            let stale = cache.stale(now).ok_or_else(|| error.clone())?;
            tracing::warn!(issuer = self.name, %error, "cannot renew an issuer's metadata: using the cached copy");
            Ok(stale)
        })
    }

    async fn fetch_metadata(&self) -> Result<IssuerMetadata, IdentityError> {
        let (outbound, guard) = match &self.source {
            Source::Discovery { outbound, guard } => (outbound, guard),
            Source::Cluster(account) => return cluster::fetch_metadata(account).await,
        };
        let document = discovery::fetch_document(outbound, &self.name).await?;
        let metadata = read(&document, &self.name).map_err(|error| error.within("discovery"))?;
        // The keys decide who signs in, so the metadata cannot make the daemon read them from its own network.
        let admitted = guard.admit(&metadata.jwks_uri, outbound.is_direct(&metadata.jwks_uri)).await;
        admitted.map_err(|error| {
            Unusable::new(format!("discovery: jwks_uri: {error}"), unusable::CORRECT_METADATA)
        })?;
        Ok(metadata)
    }

    /// Fetches the keys, unless they are cached.
    pub(super) async fn check_keys(
        &self,
        metadata: &IssuerMetadata,
        now: Timestamp,
    ) -> Result<(), IdentityError> {
        self.keys.keys(self.key_source(metadata), now).await.map(drop)
    }

    fn key_source<'a>(&'a self, metadata: &'a IssuerMetadata) -> KeySource<'a> {
        match &self.source {
            Source::Discovery { outbound, .. } => KeySource::Url { outbound, url: &metadata.jwks_uri },
            Source::Cluster(account) => KeySource::Cluster(account),
        }
    }
}

/// An issuer needs no endpoints besides its keys, and no client.
pub(super) fn read(document: &Map<String, Value>, issuer: &str) -> Result<IssuerMetadata, Unusable> {
    metadata::check_issuer(document, issuer)?;
    let wrong = |reason| Unusable::new(reason, unusable::CORRECT_METADATA);
    let jwks_uri = match document.get("jwks_uri") {
        Some(Value::String(text)) => metadata::endpoint(text, false).map_err(wrong)?,
        _ => return Err(wrong("no jwks_uri")),
    };
    let listed = metadata::strings(document, "claims_supported");
    let algorithms = metadata::strings(document, "id_token_signing_alg_values_supported");
    let is_allowed = |name: &&str| ALGORITHMS.iter().any(|algorithm| algorithm.name() == *name);
    Ok(IssuerMetadata {
        issuer: issuer.to_owned(),
        jwks_uri,
        claims: listed.into_iter().take(MAX_LISTED_CLAIMS).map(str::to_owned).collect(),
        signs_with_allowed: (!algorithms.is_empty()).then(|| algorithms.iter().any(is_allowed)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GITHUB: &str = "https://token.actions.githubusercontent.com";

    fn read_value(document: &Value) -> Result<IssuerMetadata, String> {
        read(document.as_object().expect("an object"), GITHUB).map_err(|unusable| unusable.reason)
    }

    #[test]
    fn issuer_metadata_need_only_issuer_and_keys() {
        let document = json!({
            "issuer": GITHUB,
            "jwks_uri": format!("{GITHUB}/.well-known/jwks"),
            "subject_types_supported": ["public", "pairwise"],
            "response_types_supported": ["id_token"],
            "claims_supported": ["sub", "aud", "repository_id", 7],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid"],
        });
        let metadata = read_value(&document).expect("metadata");
        assert_eq!(metadata.claims, ["sub", "aud", "repository_id"]);
        assert_eq!(metadata.signs_with_allowed, Some(true));
        let sparse =
            read_value(&json!({"issuer": GITHUB, "jwks_uri": "https://keys.test/"})).expect("metadata");
        assert!(sparse.claims.is_empty() && sparse.signs_with_allowed.is_none());
    }

    #[test]
    fn issuer_metadata_of_other_or_without_keys_are_rejected() {
        let keys = "https://keys.test/";
        for document in [
            json!({"issuer": format!("{GITHUB}/"), "jwks_uri": keys}),
            json!({"issuer": "https://evil.test", "jwks_uri": keys}),
            json!({"issuer": [GITHUB], "jwks_uri": keys}),
            json!({"jwks_uri": keys}),
            json!({"issuer": GITHUB}),
            json!({"issuer": GITHUB, "jwks_uri": "http://keys.test/"}),
            json!({"issuer": GITHUB, "jwks_uri": "http://127.0.0.1/"}),
            json!({"issuer": GITHUB, "jwks_uri": "file:///etc/passwd"}),
            json!({"issuer": GITHUB, "jwks_uri": "https://user@keys.test/"}),
            json!({"issuer": GITHUB, "jwks_uri": [keys]}),
        ] {
            assert!(read_value(&document).is_err(), "{document}");
        }
    }
}
