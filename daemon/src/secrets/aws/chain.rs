//! Finds region and credentials through the standard AWS chain: environment, profile, web identity, container,
//! instance.
//!
//! Uses AWS's own library over the daemon's bounded HTTP client.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use aws_config::BehaviorVersion;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use infra_shared::clock::{Clock, SystemClock};
use reqwest::Method;
use reqwest::header::HeaderName;
use tokio::sync::Mutex;

use super::{AWSSettings, Failures, MAX_BYTES};
use crate::outbound::{AWSCredentials, BackendError, Outbound, OutboundError, Request};

/// Credentials are renewed this many seconds before they expire.
const TO_SPARE: i64 = 120;

/// The region and credentials found by the standard chain.
pub(super) struct Chain {
    provider: Option<SharedCredentialsProvider>,
    region: Option<String>,
    /// Cached temporary credentials and their expiry, in seconds since 1970.
    kept: Mutex<Option<(AWSCredentials, i64)>>,
    failures: Failures,
}

impl Chain {
    pub(super) async fn load(outbound: &Outbound, settings: &AWSSettings, failures: &Failures) -> Self {
        let (outbound, noted) = (outbound.clone(), failures.clone());
        let client = http_client_fn(move |settings, _| {
            // The library sets timeouts per service, such as one second for the metadata service.
            let patience = settings.connect_timeout().zip(settings.read_timeout());
            let patience = patience.map(|(connect, read)| connect + read);
            SharedHttpConnector::new(Connector {
                outbound: outbound.clone(),
                patience,
                failures: noted.clone(),
            })
        });
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(client);
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &settings.region {
            loader = loader.region(aws_config::Region::new(region.clone()));
        }
        let config = loader.load().await;
        Self {
            provider: config.credentials_provider(),
            region: config.region().map(ToString::to_string),
            kept: Mutex::new(None),
            failures: failures.clone(),
        }
    }

    pub(super) fn region(&self) -> Option<String> {
        self.region.clone()
    }

    pub(super) async fn credentials(&self) -> Result<AWSCredentials, BackendError> {
        let mut kept = self.kept.lock().await;
        let soon = SystemClock.now().as_second() + TO_SPARE;
        if let Some((credentials, _)) = kept.as_ref().filter(|(_, end)| soon < *end) {
            return Ok(credentials.clone());
        }
        let provider = self.provider.as_ref().ok_or_else(none_found)?;
        self.failures.clear();
        let found = provider.provide_credentials().await.map_err(|error| self.failure(&error))?;
        let credentials = AWSCredentials {
            access_key_id: found.access_key_id().to_owned(),
            secret_access_key: found.secret_access_key().into(),
            session_token: found.session_token().filter(|token| !token.is_empty()).map(Into::into),
        };
        let end = found.expiry().and_then(|end| end.duration_since(UNIX_EPOCH).ok());
        *kept = end.and_then(|end| Some((credentials.clone(), i64::try_from(end.as_secs()).ok()?)));
        Ok(credentials)
    }

    /// Does not repeat the library's message, because it may contain anything.
    fn failure(&self, error: &CredentialsError) -> BackendError {
        if let Some(cause) = self.failures.of_metadata() {
            return BackendError::Unreachable(format!("found no AWS credentials, and {cause}"));
        }
        let because = self.failures.last().map(|cause| format!(": {cause}")).unwrap_or_default();
        match error {
            CredentialsError::CredentialsNotLoaded(_) => none_found(),
            CredentialsError::ProviderTimedOut(_) => {
                BackendError::Unreachable(format!("the search for AWS credentials timed out{because}"))
            }
            CredentialsError::InvalidConfiguration(_) => BackendError::Credential(
                "infrad's AWS configuration (environment or profile) is invalid".to_owned(),
            ),
            _ => BackendError::Unreachable(format!(
                "the AWS credentials service returned no credentials{because}"
            )),
        }
    }
}

fn none_found() -> BackendError {
    BackendError::Credential(
        "found no AWS credentials: give infrad a role (instance, container or web identity), a profile, or \
         `accessKeyID` and `secretAccessKey`"
            .to_owned(),
    )
}

impl fmt::Debug for Chain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Chain").field("region", &self.region).finish_non_exhaustive()
    }
}

/// Runs the AWS library's requests through the daemon's HTTP client.
#[derive(Debug)]
struct Connector {
    outbound: Outbound,
    /// The library's timeout.
    patience: Option<Duration>,
    failures: Failures,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (outbound, failures, patience) = (self.outbound.clone(), self.failures.clone(), self.patience);
        HttpConnectorFuture::new(async move {
            let url = request.uri().to_owned();
            let request = translate(&request)
                .ok_or_else(|| ConnectorError::user("the request cannot be sent".into()))?;
            let sent = match patience {
                Some(patience) => outbound.send_within(&request, MAX_BYTES, patience).await,
                None => outbound.send(&request, MAX_BYTES).await,
            };
            let answer = sent.map_err(|error| {
                failures.note(&url, &error);
                match error {
                    OutboundError::TimedOut { .. } => ConnectorError::timeout(error.into()),
                    error => ConnectorError::io(error.into()),
                }
            })?;
            let status =
                answer.status.try_into().map_err(|_| ConnectorError::other("no such status".into(), None))?;
            let mut response = HttpResponse::new(status, SdkBody::from(answer.body));
            for (name, value) in &answer.headers {
                if let Ok(value) = value.to_str() {
                    response.headers_mut().append(name.as_str().to_owned(), value.to_owned());
                }
            }
            Ok(response)
        })
    }
}

/// Returns `None` for a streaming body.
fn translate(request: &HttpRequest) -> Option<Request> {
    let method = Method::from_bytes(request.method().as_bytes()).ok()?;
    let mut translated = Request::new(method, request.uri().parse().ok()?);
    for (name, value) in request.headers() {
        translated = translated.header(HeaderName::from_bytes(name.as_bytes()).ok()?, value);
    }
    Some(translated.bytes(request.body().bytes()?.to_vec()))
}
