//! Errors on the wire: RFC 9457 problem details with a stable code.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`] (RFC 9457 §3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, as a caller may know it. The precise reason is in the daemon's log under `request_id`.
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
    /// What to do about it, where there is something to say beyond the title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// The codes that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// 410: the login was not finished in time, or was finished before.
    LoginExpired,
    /// 403: the identity provider, the policy or a check refused the login.
    LoginRefused,
    /// 502: the identity provider did not answer, or not sensibly.
    ProviderUnavailable,
    /// 503: the daemon cannot do this now.
    Unavailable,
    /// 401: no token, or none that is good.
    NotAuthenticated,
    /// 401: the right token of a session that ended by itself.
    SessionExpired,
    /// 401: the right token of a session that was ended.
    SessionRevoked,
    /// 429: too often; the `Retry-After` header says when again.
    TooManyRequests,
    /// 400: the request is not one.
    BadRequest,
    /// 403: the caller is known, and may not do this.
    Forbidden,
    /// 404: no such resource.
    NotFound,
    /// 405: not with this method.
    MethodNotAllowed,
    /// 413: the body is larger than any that is expected.
    BodyTooLarge,
    /// A code that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ProblemCode {
    /// The HTTP status that goes with the code.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NotAuthenticated | Self::SessionExpired | Self::SessionRevoked => 401,
            Self::LoginRefused | Self::Forbidden => 403,
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
    /// As it stands on the wire.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_as_it_stands_on_the_wire() {
        assert_eq!(ProblemCode::SessionRevoked.to_string(), "session_revoked");
    }

    #[test]
    fn a_code_of_a_later_version_is_read_as_unknown() {
        let problem: Problem = serde_json::from_str(
            r#"{"type":"about:blank","title":"t","status":418,"code":"brewed_tea","requestID":"r","later":1}"#,
        )
        .expect("a problem");
        assert_eq!((problem.code, problem.status), (ProblemCode::Unknown, 418));
    }
}
