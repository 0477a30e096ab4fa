//! Error responses: RFC 9457 problem details with a stable code.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`] (RFC 9457 §3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An error as the client may see it. The daemon logs the precise reason under `request_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub code: ProblemCode,
    #[serde(rename = "requestID")]
    pub request_id: String,
    /// What to do, if there is more to say than the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Error codes that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// 410: the login expired or was already finished.
    LoginExpired,
    /// 403: the identity provider, the policy or a check refused the login.
    LoginRejected,
    /// 502: the identity provider did not respond, or its response was unusable.
    ProviderUnavailable,
    /// 503: the daemon is temporarily unable to handle the request.
    Unavailable,
    /// 401: the token is missing or not valid.
    NotAuthenticated,
    /// 401: the token is correct, but its session expired.
    SessionExpired,
    /// 401: the token is correct, but its session was revoked.
    SessionRevoked,
    /// 429: rate limit exceeded; the `Retry-After` header says when to retry.
    TooManyRequests,
    /// 400: the request is malformed.
    BadRequest,
    /// 403: the caller is authenticated but not authorized.
    Forbidden,
    /// 403: the session was delegated to a command, and not for this.
    Delegated,
    /// 404: no such resource.
    NotFound,
    /// 405: the resource does not support this method.
    MethodNotAllowed,
    /// 413: the body exceeds the size limit.
    BodyTooLarge,
    /// A code unknown to this version.
    #[serde(other)]
    Unknown,
}

impl ProblemCode {
    /// HTTP status of the code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotAuthenticated | Self::SessionExpired | Self::SessionRevoked => 401,
            Self::LoginRejected | Self::Forbidden | Self::Delegated => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::LoginExpired => 410,
            Self::BodyTooLarge => 413,
            Self::TooManyRequests => 429,
            Self::ProviderUnavailable => 502,
            Self::Unavailable => 503,
            Self::Unknown => 500,
        }
    }
}

impl fmt::Display for ProblemCode {
    /// Writes the code as it appears in JSON.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_displayed_as_in_json() {
        assert_eq!(ProblemCode::SessionRevoked.to_string(), "session_revoked");
    }

    #[test]
    fn code_of_later_version_is_read_as_unknown() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"about:blank","title":"t","status":418,"code":"brewed_tea","requestID":"r","later":1}"#,
        )
        .expect("a problem");
        assert_eq!((problem.code, problem.status), (ProblemCode::Unknown, 418));
    }
}
