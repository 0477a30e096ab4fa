//! Why a secret could not be read, and what an operator can do about it.

use crate::outbound::BackendError;

/// Why a secret could not be read. Messages name the reference (hidden for `plaintext`), never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    #[error("the secret does not exist: {0}")]
    NotFound(String),
    #[error("access to the secret is denied: {0}")]
    NotAllowed(String),
    /// The daemon's own credential for the backend is missing, invalid or rejected.
    #[error("cannot authenticate to the secret backend: {0}")]
    Credential(String),
    /// The backend is unreachable, sealed, a standby, or throttling. A retry may succeed.
    #[error("the secret backend is unavailable: {0}")]
    Unreachable(String),
    /// The response is neither the secret nor any error above.
    #[error("the secret backend did not return the secret: {0}")]
    Unexpected(String),
    #[error("the secret cannot be used: {0}")]
    Malformed(String),
}

impl ReadError {
    /// Whether the error may resolve without a change by the operator.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "correct the reference, or create the secret that it names",
            Self::NotAllowed(_) => {
                "allow infrad to read it: the file's owner and mode, or the role and policy of its token"
            }
            Self::Credential(_) => "correct the credential that infrad uses at the backend",
            Self::Unreachable(_) => {
                "check the backend, its address and the network; infrad reads the secret again at its next use"
            }
            Self::Unexpected(_) => "check the address of the backend, and which server responds there",
            Self::Malformed(_) => {
                "store the secret again as one line of UTF-8 text, without spaces around it"
            }
        }
    }
}

impl From<BackendError> for ReadError {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::NotFound(cause) => Self::NotFound(cause),
            BackendError::NotAllowed(cause) => Self::NotAllowed(cause),
            BackendError::Unreachable(cause) => Self::Unreachable(cause),
            BackendError::Credential(cause) => Self::Credential(cause),
            BackendError::Rejected(cause) | BackendError::Unexpected(cause) => Self::Unexpected(cause),
        }
    }
}

/// Converts a failure to read one of the daemon's own credentials.
pub(super) fn unusable_credential(error: ReadError) -> BackendError {
    match error {
        ReadError::Unreachable(cause) => BackendError::Unreachable(cause),
        ReadError::Credential(cause) => BackendError::Credential(cause),
        error => BackendError::Credential(error.to_string()),
    }
}
