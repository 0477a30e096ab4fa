//! Requests to servers with Vault's HTTP interface: HashiCorp Vault, OpenBao.

use infra_shared::http::NoClient;
use infra_shared::printable::printable;
use reqwest::Method;
use reqwest::header::{HeaderName, LOCATION};
use rustls::pki_types::CertificateDer;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;

use super::{BackendError, Outbound, OutboundResponse, Request};

/// Above the largest secret of a key-value engine (512 kB in Vault), and small enough for memory.
const MAX_BYTES: usize = 1024 * 1024;

/// A Vault server, without a login.
#[derive(Debug)]
pub struct VaultClient {
    outbound: Outbound,
    address: Url,
    namespace: Option<String>,
}

impl VaultClient {
    /// Trusts `authorities`, or the operating system's CA certificates if `None`.
    pub fn new(
        address: Url,
        namespace: Option<String>,
        authorities: Option<Vec<CertificateDer<'static>>>,
    ) -> Result<Self, NoClient> {
        Ok(Self { outbound: Outbound::new(authorities)?, address, namespace })
    }

    /// The server's address, for messages.
    pub fn address(&self) -> &Url {
        &self.address
    }

    /// Calls `/v1/PATH`, escaping its segments, and returns the JSON object.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretString>,
        body: Option<&Value>,
    ) -> Result<Value, BackendError> {
        let mut request = Request::new(method, self.url(path));
        // Distinguishes clients from server-side request forgery through an agent (Vault's `require_request_header`).
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
        let response = self.outbound.send(&request, MAX_BYTES).await?;
        let host = self.address.host_str().unwrap_or_default();
        match response.status {
            200..=299 => match serde_json::from_slice(&response.body) {
                Ok(value @ Value::Object(_)) => Ok(value),
                _ => Err(BackendError::Unexpected(format!(
                    "{host}: the response to {path} is not a JSON object"
                ))),
            },
            400 => Err(BackendError::Rejected(format!("{host} rejects this request at {path}"))),
            401 | 403 => Err(BackendError::NotAllowed(format!(
                "{host} denies access to {path}: the token has expired, or its policies do not allow this"
            ))),
            404 => Err(BackendError::NotFound(format!("{host} has nothing at {path}"))),
            _ => Err(unavailable(host, path, &response)),
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

/// Interprets a status that concerns the server and not the request.
fn unavailable(host: &str, path: &str, response: &OutboundResponse) -> BackendError {
    // https://developer.hashicorp.com/vault/api-docs#http-status-codes and /system/health
    let what = match response.status {
        307 => format!(
            "is a standby, and redirects to {}: set `address` to the active node, or to a load balancer that finds it",
            redirect_target(response)
        ),
        412 => "is a standby that is behind the active node".to_owned(),
        429 => "limits the rate of requests, or is a standby".to_owned(),
        472 => "is a standby for disaster recovery".to_owned(),
        473 => "is a performance standby".to_owned(),
        503 => "is sealed, or down for maintenance".to_owned(),
        500..=599 => "failed".to_owned(),
        status @ 300..=399 => {
            let target = redirect_target(response);
            return BackendError::Unexpected(format!(
                "{host} redirects {path} to {target} (status {status}), but infrad follows no redirects"
            ));
        }
        status => return BackendError::Unexpected(format!("{host} answered {path} with status {status}")),
    };
    BackendError::Unreachable(format!("{host} {what} (status {})", response.status))
}

/// Scheme, host and port only, because the rest of the address is untrusted text.
fn redirect_target(response: &OutboundResponse) -> String {
    let location = response.headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let url = location.and_then(|location| Url::parse(location).ok()).filter(Url::has_host);
    url.map_or_else(
        || "another address".to_owned(),
        |url| printable(&url.origin().ascii_serialization(), 200),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_stays_below_server_address() {
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

    #[test]
    fn unavailable_server_is_named_in_error() {
        let answered = |status, location: Option<&str>| {
            let mut headers = reqwest::header::HeaderMap::new();
            if let Some(location) = location {
                headers.insert(LOCATION, location.parse().expect("a header"));
            }
            unavailable(
                "vault.test",
                "secret/okta",
                &OutboundResponse { status, content_type: None, headers, body: Vec::new() },
            )
        };
        for (status, word) in [
            (307, "standby"),
            (412, "standby"),
            (429, "limits the rate"),
            (472, "disaster recovery"),
            (473, "performance standby"),
            (500, "failed"),
            (502, "failed"),
            (503, "sealed"),
        ] {
            let BackendError::Unreachable(cause) = answered(status, None) else { panic!("{status}") };
            assert!(cause.starts_with("vault.test ") && cause.contains(word), "{cause}");
            assert!(cause.ends_with(&format!("(status {status})")), "{cause}");
        }
        let standby = answered(307, Some("https://active.test:8200/v1/secret?canary#canary")).to_string();
        assert!(standby.contains("redirects to https://active.test:8200:") && !standby.contains("canary"));
        for status in [301, 302, 308, 404, 418] {
            assert!(matches!(answered(status, Some("/relative")), BackendError::Unexpected(_)), "{status}");
        }
    }
}
