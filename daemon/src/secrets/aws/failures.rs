//! What failed while AWS's library looked for a region and credentials. It keeps the reasons to itself: of a metadata service
//! that does not answer it says that there are no credentials.

use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use crate::outbound::OutboundError;

/// The last request of the search that failed, shared between who sends and who reports.
#[derive(Debug, Clone, Default)]
pub(in crate::secrets) struct Failures(Arc<Mutex<Option<Failure>>>);

#[derive(Debug, Clone)]
struct Failure {
    cause: String,
    /// Whether nobody answered, where a refusal or an unreachable network would have come at once.
    is_silent: bool,
    /// Whether it was to the metadata service of an instance.
    is_metadata: bool,
}

impl Failures {
    /// Notes that a request to `url` failed.
    pub(super) fn note(&self, url: &str, error: &OutboundError) {
        let url = Url::parse(url).ok();
        // The paths of an instance's metadata, which is not asked for any others.
        let is_metadata = url.is_some_and(|url| url.path().starts_with("/latest/"));
        let is_silent = matches!(error, OutboundError::TooSlow { .. });
        *self.lock() = Some(Failure { cause: error.to_string(), is_silent, is_metadata });
    }

    /// Forgets what failed before.
    pub(super) fn clear(&self) {
        *self.lock() = None;
    }

    /// Why the search came to nothing, if the metadata service of the instance did not answer.
    pub(super) fn of_metadata(&self) -> Option<String> {
        let failure = self.lock().clone().filter(|failure| failure.is_metadata && failure.is_silent)?;
        Some(format!(
            "the instance metadata service {}: on EC2, if infrad runs in a container, raise the hop limit of the instance to 2 \
             (`aws ec2 modify-instance-metadata-options --http-put-response-hop-limit 2 --instance-id ID`); elsewhere give infrad \
             a profile, or `accessKeyID` and `secretAccessKey`",
            failure.cause
        ))
    }

    /// What failed last, whatever it was.
    pub(super) fn last(&self) -> Option<String> {
        self.lock().clone().map(|failure| failure.cause)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
