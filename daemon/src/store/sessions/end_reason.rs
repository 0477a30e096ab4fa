//! That a session was ended, and why.

use jiff::Timestamp;

use super::StoreError;

/// That a session was ended, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub at: Timestamp,
    pub reason: EndReason,
}

/// Why a session was ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    Logout,
    /// Its user ended it from another session.
    Revoked,
    /// An administrator ended it.
    Administrator,
    /// An operator of the daemon ended it.
    Operator,
    /// The user opened more sessions than `maxPerUser`.
    TooMany,
    /// Its provider, asked again, said that this person may not go on, or spoke of another one.
    ProviderRefused,
    /// An answer of its provider was lost, and the refresh token counted no more when it was asked again.
    AnswerLost,
    /// What its provider says of the user now is not admitted by the policy.
    NotAdmitted,
    /// The provider or the user left the configuration.
    ConfigurationChanged,
    /// It reached one of its limits, and somebody was told so: neither a later configuration nor a clock that steps back
    /// may take that back.
    Expired,
    /// The store was restored from a backup, or rolled back.
    Restored,
}

impl EndReason {
    pub const ALL: [Self; 11] = [
        Self::Logout,
        Self::Revoked,
        Self::Administrator,
        Self::Operator,
        Self::TooMany,
        Self::ProviderRefused,
        Self::AnswerLost,
        Self::NotAdmitted,
        Self::ConfigurationChanged,
        Self::Expired,
        Self::Restored,
    ];

    /// The word that the database and the audit log keep; it never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Revoked => "revoked",
            Self::Administrator => "administrator",
            Self::Operator => "operator",
            Self::TooMany => "too_many",
            Self::ProviderRefused => "provider_refused",
            Self::AnswerLost => "answer_lost",
            Self::NotAdmitted => "not_admitted",
            Self::ConfigurationChanged => "configuration_changed",
            Self::Expired => "expired",
            Self::Restored => "restored",
        }
    }

    pub(super) fn parse(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or(StoreError::UnexpectedRow("end reason"))
    }
}
