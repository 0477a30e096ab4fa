//! The cluster in which the daemon runs, as an issuer. Its API server says which issuer its tokens have; it may be an address
//! that only the cluster knows.

use serde_json::Value;

use super::issuer::{self, IssuerMetadata};
use crate::identity::unusable::{self, Unusable};
use crate::identity::{IdentityError, json, unavailable};
use crate::secrets::KubernetesSettings;

const MAX_BYTES: usize = 256 * 1024;

pub(super) async fn fetch_metadata(account: &KubernetesSettings) -> Result<IssuerMetadata, IdentityError> {
    let response = account.get(&[".well-known", "openid-configuration"], MAX_BYTES).await;
    let response = response.map_err(|error| IdentityError::Unavailable(format!("discovery: {error}")))?;
    if response.status != 200 {
        let reason = format!("discovery: the API server answered with status {}", response.status);
        return Err(IdentityError::Unavailable(reason));
    }
    let document = json::object(&response.body).ok_or_else(|| unavailable("discovery: malformed"))?;
    // The connection proves the API server, so its issuer counts.
    let issuer = document.get("issuer").and_then(Value::as_str).filter(|issuer| !issuer.is_empty());
    let issuer = issuer.ok_or_else(|| Unusable::new("discovery: no issuer", unusable::CORRECT_METADATA))?;
    Ok(issuer::read(&document, issuer).map_err(|error| error.within("discovery"))?)
}
