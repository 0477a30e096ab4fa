//! Records HTTP failures during the AWS library's search. The library hides them: a silent metadata service is
//! reported as missing credentials.

use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use crate::outbound::OutboundError;

/// The last failed request of a search, shared by the connector and the chain.
#[derive(Debug, Clone, Default)]
pub(in crate::secrets) struct Failures(Arc<Mutex<Option<Failure>>>);

#[derive(Debug, Clone)]
struct Failure {
    cause: String,
    /// Whether the request timed out. A rejection or an unreachable network would fail at once.
    is_silent: bool,
    /// Whether the request went to the instance metadata service.
    is_metadata: bool,
}

impl Failures {
    /// Records that a request to `url` failed.
    pub(super) fn note(&self, url: &str, error: &OutboundError) {
        let url = Url::parse(url).ok();
        // Every request to the instance metadata service has this path prefix.
        let is_metadata = url.is_some_and(|url| url.path().starts_with("/latest/"));
        let is_silent = matches!(error, OutboundError::TimedOut { .. });
        *self.lock() = Some(Failure { cause: error.to_string(), is_silent, is_metadata });
    }

    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Explains the failure if the instance metadata service did not respond.
    pub(super) fn of_metadata(&self) -> Option<String> {
        let failure = self.lock().clone().filter(|failure| failure.is_metadata && failure.is_silent)?;
        Some(format!(
            "the instance metadata service {}: on EC2, if infrad runs in a container, raise the hop limit of the instance to 2 \
             (`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID`); elsewhere give infrad \
             a profile, or `accessKeyID` and `secretAccessKey`",
            failure.cause
        ))
    }

    /// Returns the last failure of any kind.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().clone().map(|failure| failure.cause)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
