//! Errors of the services that store secrets or wrap keys.

use super::OutboundError;

/// Why a request to a secret backend or a key service failed. `Display` names what was requested, never the response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    NotAllowed(String),
    /// The daemon's own credential is missing, unusable or rejected.
    #[error("{0}")]
    Credential(String),
    /// The service is unreachable, sealed, a standby, or throttling. A retry may succeed.
    #[error("{0}")]
    Unreachable(String),
    /// The service processed the request and rejected its content.
    #[error("{0}")]
    Rejected(String),
    /// Any other failure, including answers from intermediaries.
    #[error("{0}")]
    Unexpected(String),
}

impl From<OutboundError> for BackendError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TooLarge { .. } => Self::Unexpected(error.to_string()),
            _ => Self::Unreachable(error.to_string()),
        }
    }
}
