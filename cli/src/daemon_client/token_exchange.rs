//! `POST /v1/tokens` with a form: exchanges the ID token of a workload (RFC 8693).

use infra_shared::api::{Problem, ProblemCode};
use infra_shared::token_text::ServiceToken;
use jiff::SignedDuration;
use reqwest::blocking::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::responses::CheckedResponse;
use super::trust_anchors::Attempts;
use super::{DaemonClient, DaemonError};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// The daemon's own limit, in seconds.
const LONGEST: u32 = 15 * 60;

/// RFC 8693 §2.2.1.
#[derive(Deserialize)]
struct Exchanged {
    access_token: SecretString,
    expires_in: u32,
}

/// RFC 6749 §5.2, with the daemon's more precise reason and its request ID.
#[derive(Deserialize)]
struct OAuthError {
    error: String,
    error_description: String,
    #[serde(default)]
    reason: Option<String>,
    #[serde(rename = "requestID")]
    request_id: String,
}

impl CheckedResponse for Exchanged {
    fn is_valid(&self) -> bool {
        ServiceToken::parse(self.access_token.expose_secret()).is_some()
            && (1..=LONGEST).contains(&self.expires_in)
    }
}

impl DaemonClient {
    /// Exchanges an ID token for a token for the service with this audience or name. Returns how long it lasts. One attempt,
    /// because a second one would find the token used.
    pub fn exchange_id_token(
        &self,
        id_token: &SecretString,
        audience: &str,
    ) -> Result<(ServiceToken, SignedDuration), DaemonError> {
        let form = [
            ("grant_type", GRANT_TYPE),
            ("subject_token_type", ID_TOKEN),
            ("subject_token", id_token.expose_secret()),
            ("audience", audience),
        ];
        let url = self.origin.url("/v1/tokens");
        let request = |client: &Client| client.post(url.clone()).form(&form);
        let exchanged: Exchanged = self.read(request, Attempts::Once)?;
        let token =
            ServiceToken::parse(exchanged.access_token.expose_secret()).ok_or(DaemonError::NotADaemon)?;
        Ok((token, SignedDuration::from_secs(exchanged.expires_in.into())))
    }
}

/// Reads an OAuth error as a problem with the daemon's reason as its title, so that exit codes are those of people.
pub(super) fn problem(status: u16, body: &[u8]) -> Option<Problem> {
    let OAuthError { error, error_description, reason, request_id } = serde_json::from_slice(body).ok()?;
    let code = match (error.as_str(), status) {
        ("invalid_target", _) => ProblemCode::Forbidden,
        ("temporarily_unavailable", 429) => ProblemCode::TooManyRequests,
        ("temporarily_unavailable", _) => ProblemCode::Unavailable,
        ("invalid_request", _) => ProblemCode::LoginRejected,
        _ => ProblemCode::BadRequest,
    };
    let (kind, title, detail) = ("about:blank".to_owned(), reason.unwrap_or(error), Some(error_description));
    Some(Problem { kind, title, status, code, request_id, detail })
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::{AudienceToken, SessionToken, SignedToken};

    use crate::failure::Exit;

    use super::*;

    #[test]
    fn oauth_error_has_the_exit_code_of_a_person() {
        for (status, error, exit) in [
            (400, "invalid_request", Exit::LoginFailed),
            (400, "invalid_target", Exit::Failed),
            (400, "invalid_scope", Exit::Failed),
            (429, "temporarily_unavailable", Exit::Unreachable),
            (503, "temporarily_unavailable", Exit::Unreachable),
        ] {
            let body = format!(r#"{{"error":"{error}","error_description":"why","requestID":"r"}}"#);
            let problem = problem(status, body.as_bytes()).expect("an OAuth error");
            let error = DaemonError::Problem { problem: Box::new(problem), retry_after: None };
            assert_eq!(error.exit(), exit, "{status} {error}");
            assert_eq!(error.to_string(), "why (request r)");
        }
        assert!(problem(400, br#"{"type":"about:blank"}"#).is_none() && problem(400, b"<html>").is_none());
    }

    #[test]
    fn exchanged_token_must_be_an_audience_token() {
        let read =
            |token: &str, expires_in: u32| Exchanged { access_token: token.into(), expires_in }.is_valid();
        let token = AudienceToken::mint();
        assert!(read(token.expose(), 1) && read(token.expose(), LONGEST));
        assert!(!read(token.expose(), 0) && !read(token.expose(), LONGEST + 1));
        assert!(read("eyJ.a.b", 60), "a signed token");
        let long = format!("eyJ.a.{}", "b".repeat(SignedToken::MAX_BYTES));
        for text in ["infra_aud_x", "", "eyJ.a", "eyJ.a.b.c", "eyJ.a.b\n", "eyJ.a. b", &long] {
            assert!(!read(text, 60), "{text}");
        }
        assert!(!read(SessionToken::mint().expose(), 60), "a session token");
    }
}
