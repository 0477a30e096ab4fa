//! Requests to a server with Vault's HTTP interface: HashiCorp Vault, OpenBao.

use infra_shared::http::NoClient;
use reqwest::Method;
use reqwest::header::HeaderName;
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::{Outbound, OutboundError, Request};

/// Larger than any secret of a key-value engine can be (512 kB in Vault), smaller than what would hurt.
const MAX_BYTES: usize = 1024 * 1024;

/// Why a server did not do what it was asked. `Display` names the path, never what the server said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotAllowed(String),
    /// Not reached, sealed, or too busy: worth another try.
    #[error("{0}")]
    Unreachable(String),
    /// The server looked at what it was given, and does not take it.
    #[error("{0}")]
    NotTaken(String),
    /// Anything else: also an answer of somebody in between.
    #[error("{0}")]
    Refused(String),
}

/// A server, not logged in to.
#[derive(Debug)]
pub struct VaultClient {
    outbound: Outbound,
    address: Url,
    namespace: Option<String>,
}

impl VaultClient {
    /// Trusts `authorities`, or the operating system's where there are none.
    pub fn new(
        address: Url,
        namespace: Option<String>,
        authorities: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Self, NoClient> {
        Ok(Self { outbound: Outbound::new(authorities)?, address, namespace })
    }

    /// Where the server is, for people.
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// Calls `/v1/PATH`, whose segments are escaped here, and answers the JSON object that came back.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretString>,
        body: Option<&Value>,
    ) -> Result<Value, VaultError> {
        let mut request = Request::new(method, self.url(path));
        // Tells the agent of a server-side request forgery from a client (Vault's `require_request_header`).
        request = request.header(HeaderName::from_static("x-vault-request"), "true");
        if let Some(token) = token {
            request = request.header(HeaderName::from_static("x-vault-token"), token.expose_secret());
        }
        if let Some(namespace) = &self.namespace {
            request = request.header(HeaderName::from_static("x-vault-namespace"), namespace);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.outbound.send(&request, MAX_BYTES).await.map_err(|error| match error {
            OutboundError::TooLarge { .. } => VaultError::Refused(error.to_string()),
            _ => VaultError::Unreachable(error.to_string()),
        })?;
        let host = self.address.host_str().unwrap_or_default();
        match answer.status {
            200..=299 => match serde_json::from_slice(&answer.body) {
                Ok(value @ Value::Object(_)) => Ok(value),
                _ => Err(VaultError::Refused(format!("{host}: the answer to {path} is not a JSON object"))),
            },
            400 => Err(VaultError::NotTaken(format!("{host} does not take this request at {path}"))),
            401 | 403 => Err(VaultError::NotAllowed(format!(
                "{host} denies {path}: the token has expired, or its policies do not allow this"
            ))),
            404 => Err(VaultError::NotFound(format!("{host} has nothing at {path}"))),
            // https://developer.hashicorp.com/vault/api-docs#http-status-codes
            503 => Err(VaultError::Unreachable(format!("{host} is sealed, or down for maintenance"))),
            status @ (429 | 472 | 473 | 500..=599) => {
                Err(VaultError::Unreachable(format!("{host} answered with status {status}")))
            }
            status => Err(VaultError::Refused(format!("{host} answered {path} with status {status}"))),
        }
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path.split('/').filter(|segment| !segment.is_empty()));
        }
        url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_address_whatever_is_in_it() {
        for (address, path, url) in [
            ("https://vault.test", "secret/data/okta", "https://vault.test/v1/secret/data/okta"),
            ("https://vault.test:8200/", "/secret//a b", "https://vault.test:8200/v1/secret/a%20b"),
            ("https://gate.test/vault/", "a?b#c%2f", "https://gate.test/vault/v1/a%3Fb%23c%252f"),
        ] {
            let address = address.parse().expect("an address");
            let client = VaultClient::new(address, None, Some(Vec::new())).expect("a client");
            assert_eq!(client.url(path).as_str(), url);
        }
    }
}
