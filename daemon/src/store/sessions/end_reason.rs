//! When and why a session ended.

use jiff::Timestamp;

use super::StoreError;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub reason: EndReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// The user revoked it from another session.
    Revoked,
    Administrator,
    Operator,
    /// The user opened more sessions than `maxPerUser`.
    SessionLimit,
    /// At revalidation, the provider refused the user or returned claims for a different subject.
    ProviderRejected,
    /// A provider response was lost, and the provider then rejected the refresh token.
    ResponseLost,
    /// The policy rejects the user's new claims.
    DeniedByPolicy,
    /// The provider or the user left the configuration.
    ConfigurationChanged,
    /// It reached one of its limits and was reported as expired. A later configuration or a clock that steps back
    /// cannot revive it.
    Expired,
    /// The store was restored from a backup or rolled back.
    Restored,
}

impl EndReason {
    pub const ALL: [Self; 11] = [
        Self::Logout,
        Self::Revoked,
        Self::Administrator,
        Self::Operator,
        Self::SessionLimit,
        Self::ProviderRejected,
        Self::ResponseLost,
        Self::DeniedByPolicy,
        Self::ConfigurationChanged,
        Self::Expired,
        Self::Restored,
    ];

    /// The stable name in the database and the audit log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::SessionLimit => "session_limit",
            Self::ProviderRejected => "provider_rejected",
            Self::ResponseLost => "response_lost",
            Self::DeniedByPolicy => "denied_by_policy",
            Self::ConfigurationChanged => "configuration_changed",
            Self::Expired => "expired",
            Self::Restored => "restored",
        }
    }

    pub(in crate::store) fn parse(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(StoreError::UnexpectedRow("end reason"))
    }
}
