//! Access to AWS, and its two services for secrets as backends.

mod chain;
mod failures;
mod parameter_store;
mod secrets_manager;

use infra_shared::clock::{Clock, SystemClock};
use infra_shared::http::NoClient;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::sync::OnceCell;
use url::Url;

use super::{Backends, PATIENCE, Reference, unusable_credential};
use crate::outbound::{AWSCredentials, AWSOperation, AWSSigner, BackendError, Outbound, OutboundResponse};
use chain::Chain;
use failures::Failures;

pub(super) use parameter_store::ParameterStore;
pub(super) use secrets_manager::SecretsManager;

/// A secret has at most 64 kB.
const MAX_BYTES: usize = 512 * 1024;

/// The AWS region, endpoint and credentials. Unset values come from the standard AWS chain.
#[derive(Debug, Clone, Default)]
pub struct AWSSettings {
    pub region: Option<String>,
    /// Replaces the service's standard endpoint.
    pub endpoint: Option<Url>,
    /// A profile of the shared configuration files. Replaces the chain's default profile.
    pub profile: Option<String>,
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Replaces the standard chain.
    pub access_key: Option<AWSAccessKey>,
}

/// An access key. Each part is a reference to a built-in backend.
#[derive(Debug, Clone)]
pub struct AWSAccessKey {
    pub access_key_id: Reference,
    pub secret_access_key: Reference,
    pub session_token: Option<Reference>,
}

/// Access to AWS under one set of credentials.
#[derive(Debug)]
pub struct AWSAccess {
    settings: AWSSettings,
    outbound: Outbound,
    built_in: Backends,
    chain: OnceCell<Chain>,
    failures: Failures,
}

impl AWSAccess {
    pub fn new(settings: AWSSettings) -> Result<Self, NoClient> {
        Ok(Self {
            outbound: Outbound::new(settings.authorities.clone())?,
            settings,
            built_in: Backends::built_in(),
            chain: OnceCell::new(),
            failures: Failures::default(),
        })
    }

    /// Calls an operation and returns the JSON object in its response. One timeout covers the search for credentials
    /// and the call.
    pub async fn call(&self, operation: AWSOperation, body: &Value) -> Result<Value, BackendError> {
        let call = self.call_unbounded(operation, body);
        tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| {
            let (service, seconds) = (operation.service, PATIENCE.as_secs());
            let cause = self.failures.of_metadata().unwrap_or_else(|| {
                format!("{service}: no response within {seconds} s, including the search for credentials")
            });
            Err(BackendError::Unreachable(cause))
        })
    }

    async fn call_unbounded(&self, operation: AWSOperation, body: &Value) -> Result<Value, BackendError> {
        let region = self.region().await?;
        let credentials = self.credentials().await?;
        let service = operation.service;
        let endpoint = match &self.settings.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => standard_endpoint(service, &region)?,
        };
        let signer = AWSSigner { credentials: &credentials, region: &region, now: SystemClock.now() };
        let request = signer.request(operation, &endpoint, body).ok_or_else(|| {
            BackendError::Unexpected(
                "the region or the access key contains characters that a request cannot carry".to_owned(),
            )
        })?;
        read(service, &self.outbound.send(&request, MAX_BYTES).await?)
    }

    async fn region(&self) -> Result<String, BackendError> {
        if let Some(region) = &self.settings.region {
            return Ok(region.clone());
        }
        self.chain().await.region().ok_or_else(|| match self.failures.of_metadata() {
            Some(cause) => BackendError::Unreachable(format!("no AWS region is set, and {cause}")),
            None => BackendError::Credential(
                "no AWS region is set: write `config: {region: us-west-2}`, or set AWS_REGION for infrad"
                    .to_owned(),
            ),
        })
    }

    async fn credentials(&self) -> Result<AWSCredentials, BackendError> {
        let Some(key) = &self.settings.access_key else { return self.chain().await.credentials().await };
        let read = async |reference| self.built_in.resolve(reference).await.map_err(unusable_credential);
        let access_key_id = read(&key.access_key_id).await?;
        let session_token = match &key.session_token {
            Some(reference) => Some(read(reference).await?),
            None => None,
        };
        Ok(AWSCredentials {
            access_key_id: secrecy::ExposeSecret::expose_secret(&access_key_id).to_owned(),
            secret_access_key: read(&key.secret_access_key).await?,
            session_token,
        })
    }

    async fn chain(&self) -> &Chain {
        self.chain.get_or_init(|| Chain::load(&self.outbound, &self.settings, &self.failures)).await
    }
}

fn standard_endpoint(service: &str, region: &str) -> Result<Url, BackendError> {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let url = region
        .bytes()
        .all(plain)
        .then(|| format!("https://{service}.{region}.{suffix}/").parse().ok())
        .flatten();
    url.ok_or_else(|| {
        BackendError::Unexpected("the AWS region is malformed: write, for example, `us-west-2`".to_owned())
    })
}

fn read(service: &str, response: &OutboundResponse) -> Result<Value, BackendError> {
    let body: Option<Value> = serde_json::from_slice(&response.body).ok();
    if response.status == 200 {
        return body.filter(Value::is_object).ok_or_else(|| {
            BackendError::Unexpected(format!("{service}: the response is not a JSON object"))
        });
    }
    let code = body.as_ref().and_then(|body| body.get("__type")).and_then(Value::as_str);
    // The code may have a namespace: `com.amazonaws.kms#NotFoundException`.
    let code = code.and_then(|code| code.rsplit('#').next()).filter(|code| is_code(code));
    let reason = code.map_or_else(
        || format!("{service}: status {}", response.status),
        |code| format!("{service}: {code}"),
    );
    Err(match (response.status, code.unwrap_or_default()) {
        (
            _,
            "ResourceNotFoundException"
            | "ParameterNotFound"
            | "ParameterVersionNotFound"
            | "NotFoundException",
        ) => BackendError::NotFound(reason),
        (429 | 500..=599, _)
        | (
            _,
            // The codes that AWS's own SDKs treat as throttling or temporary.
            "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "EC2ThrottledException"
            | "RequestThrottled"
            | "RequestThrottledException"
            | "RequestLimitExceeded"
            | "LimitExceededException"
            | "BandwidthLimitExceeded"
            | "PriorRequestNotComplete"
            | "ProvisionedThroughputExceededException"
            | "SlowDown"
            | "TooManyRequestsException"
            | "TransactionInProgressException"
            | "ServiceUnavailable"
            | "ServiceUnavailableException"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "RequestExpired"
            | "InternalServiceError"
            | "InternalServerError"
            | "KMSInternalException"
            | "DependencyTimeoutException"
            | "KeyUnavailableException",
        ) => BackendError::Unreachable(reason),
        (
            _,
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignatureException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationTokenException"
            | "ExpiredToken"
            | "ExpiredTokenException",
        ) => BackendError::Credential(reason),
        (401 | 403, _)
        | (
            _,
            "AccessDeniedException" | "DecryptionFailure" | "DisabledException" | "KMSInvalidStateException",
        ) => BackendError::NotAllowed(reason),
        (400, code) if !code.is_empty() => BackendError::Rejected(reason),
        _ => BackendError::Unexpected(reason),
    })
}

/// Whether a text has the form of an error code.
fn is_code(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, body: &str) -> Result<Value, BackendError> {
        let body = body.as_bytes().to_vec();
        read(
            "kms",
            &OutboundResponse {
                status,
                content_type: None,
                headers: reqwest::header::HeaderMap::new(),
                body,
            },
        )
    }

    #[test]
    fn aws_errors_are_classified_and_hide_response_text() {
        assert!(outcome(200, r#"{"a":1}"#).is_ok());
        // A response without an error code, such as a proxy's, says nothing about the request.
        for (status, body) in [(200, "<html>"), (302, ""), (400, "<html>")] {
            assert!(matches!(outcome(status, body), Err(BackendError::Unexpected(_))), "{status} {body}");
        }
        let code = |code: &str| format!(r#"{{"__type":"com.amazonaws#{code}","message":"canary"}}"#);
        for (status, name) in [(400, "ResourceNotFoundException"), (400, "ParameterNotFound")] {
            assert!(matches!(outcome(status, &code(name)), Err(BackendError::NotFound(_))), "{name}");
        }
        for (status, name) in [(400, "AccessDeniedException"), (403, "Whatever")] {
            assert!(matches!(outcome(status, &code(name)), Err(BackendError::NotAllowed(_))), "{name}");
        }
        for (status, name) in [(400, "ExpiredTokenException"), (403, "InvalidSignatureException")] {
            assert!(matches!(outcome(status, &code(name)), Err(BackendError::Credential(_))), "{name}");
        }
        for (status, name) in [
            (400, "ThrottlingException"),
            (400, "TooManyRequestsException"),
            (400, "RequestLimitExceeded"),
            (400, "LimitExceededException"),
            (500, "InternalServiceError"),
            (503, "Whatever"),
            (429, "Whatever"),
        ] {
            assert!(matches!(outcome(status, &code(name)), Err(BackendError::Unreachable(_))), "{name}");
        }
        let error = outcome(400, &code("ValidationException")).expect_err("refused");
        assert_eq!(error, BackendError::Rejected("kms: ValidationException".to_owned()));
        // Some services return authentication errors as XML.
        let error =
            outcome(403, "<Error><Code>SignatureDoesNotMatch canary</Code></Error>").expect_err("refused");
        assert_eq!(error, BackendError::NotAllowed("kms: status 403".to_owned()));
    }

    #[test]
    fn region_cannot_redirect_to_other_host() {
        let host = |region| standard_endpoint("ssm", region).map(|url| url.to_string());
        assert_eq!(host("us-west-2").expect("a region"), "https://ssm.us-west-2.amazonaws.com/");
        assert_eq!(host("cn-north-1").expect("a region"), "https://ssm.cn-north-1.amazonaws.com.cn/");
        for region in ["evil.test/", "us west", "a@b", "US-WEST"] {
            assert!(host(region).is_err(), "{region}");
        }
    }
}
