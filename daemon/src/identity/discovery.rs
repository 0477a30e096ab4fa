//! Provider metadata (OpenID Connect Discovery §4), fetched on demand and cached for an hour.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::endpoints::Endpoints;
use super::fetch_cache::FetchCache;
use super::metadata::{self, Metadata};
use super::unusable::{self, Unusable};
use super::{IdentityError, ProviderSettings, json, unavailable, within};
use crate::outbound::{Authorization, Outbound, OutboundResponse};

const MAX_BYTES: usize = 256 * 1024;
/// How long metadata are used before they are fetched again.
pub(super) const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// The metadata of one provider, and the policy for its endpoints.
pub(super) struct Discovery {
    cache: Mutex<FetchCache<Metadata>>,
    pub(super) endpoints: Endpoints,
    fetch_timeout: Duration,
}

impl Discovery {
    pub(super) fn new(endpoints: Endpoints, fetch_timeout: Duration) -> Self {
        Self { cache: Mutex::default(), endpoints, fetch_timeout }
    }

    pub(super) async fn metadata(
        &self,
        outbound: &Outbound,
        settings: &ProviderSettings,
        now: Timestamp,
    ) -> Result<Arc<Metadata>, IdentityError> {
        let asked_at = Instant::now();
        let mut cache = self.cache.lock().await;
        if let Some(found) = cache.find(asked_at, now) {
            return found;
        }
        let fetching = async {
            let metadata = fetch(outbound, settings).await?;
            self.endpoints.check(&metadata, settings, outbound).await?;
            Ok((metadata, FRESH))
        };
        let fetched = within(self.fetch_timeout, "discovery: the request timed out", fetching).await;
        if let Ok((metadata, _)) = &fetched {
            self.endpoints.remember(metadata, settings, now).await;
        }
        cache.store(fetched, now).or_else(|error| {
            let stale = cache.stale(now).ok_or_else(|| error.clone())?;
            tracing::warn!(provider = settings.name, %error, "cannot renew provider metadata: using the cached copy");
            Ok(stale)
        })
    }
}

async fn fetch(outbound: &Outbound, settings: &ProviderSettings) -> Result<Metadata, IdentityError> {
    let document = fetch_document(outbound, &settings.issuer).await?;
    metadata::read(&document, settings).map_err(|unusable| unusable.within("discovery").into())
}

/// Fetches the metadata of an issuer, whose contents are not checked yet.
pub(super) async fn fetch_document(
    outbound: &Outbound,
    issuer: &str,
) -> Result<Map<String, Value>, IdentityError> {
    let response = request(outbound, issuer).await?;
    let elsewhere = |reason: String| Unusable::new(reason, unusable::COMPARE_ISSUER);
    match response.status {
        200 if json::is_json(response.content_type.as_deref()) => {}
        status @ (408 | 429 | 500..) => {
            return Err(IdentityError::Unavailable(format!("discovery: status {status} or not JSON")));
        }
        status => return Err(elsewhere(format!("discovery: status {status} or not JSON")).into()),
    }
    Ok(json::object(&response.body).ok_or_else(|| elsewhere("discovery: malformed".to_owned()))?)
}

/// Requests the metadata and returns any answer.
pub(super) async fn request(outbound: &Outbound, issuer: &str) -> Result<OutboundResponse, IdentityError> {
    // Discovery §4.1: remove a trailing slash of the issuer before adding the well-known path.
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let url = Url::parse(&url).map_err(|_| unavailable("the issuer is not a URL"))?;
    Ok(outbound.get(&url, Authorization::None, MAX_BYTES).await?)
}
