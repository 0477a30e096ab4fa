//! `POST /v1/delegations`: opens a session for a command.

use infra_shared::api::{DelegationRequest, DelegationResponse, Session};
use infra_shared::token_text::SessionToken;
use jiff::Timestamp;
use reqwest::blocking::Client;
use secrecy::ExposeSecret;

use super::responses::{CheckedResponse, is_session};
use super::trust_anchors::Attempts;
use super::{DaemonClient, DaemonError};

/// A delegated session, with its expiry by the daemon's clock.
#[derive(Debug)]
pub struct DelegatedSession {
    pub token: SessionToken,
    pub session: Session,
    pub now: Timestamp,
}

impl CheckedResponse for DelegationResponse {
    fn is_valid(&self) -> bool {
        let token = SessionToken::parse(self.token.expose_secret());
        token.is_some_and(|token| *token.id() == self.session.id)
            && self.session.delegation.is_some()
            && is_session(&self.session)
    }
}

impl DaemonClient {
    /// Opens a session of the token's user that is limited to some services. One attempt, because a second one would open
    /// another session.
    pub fn delegate(
        &self,
        token: &SessionToken,
        request: &DelegationRequest,
    ) -> Result<DelegatedSession, DaemonError> {
        let url = self.origin.url("/v1/delegations");
        let request = |client: &Client| client.post(url.clone()).bearer_auth(token.expose()).json(request);
        let opened: DelegationResponse = self.read(request, Attempts::Once)?;
        let token = SessionToken::parse(opened.token.expose_secret()).ok_or(DaemonError::NotADaemon)?;
        Ok(DelegatedSession { token, session: opened.session, now: opened.now })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn delegated_session_must_have_its_token_and_its_limits() {
        let token = SessionToken::mint();
        let is_valid = |change: &dyn Fn(&mut Value)| {
            let mut response = json!({
                "token": token.expose(), "now": "2026-11-23T08:00:00Z",
                "session": {"id": token.id(), "createdAt": "2026-11-23T08:00:00Z",
                            "expiresAt": "2026-11-23T09:00:00Z", "idleExpiresAt": "2026-11-23T09:00:00Z",
                            "delegation": {"parent": SessionToken::mint().id(), "audiences": ["wiki"],
                                           "label": "agent"}},
            });
            change(&mut response);
            serde_json::from_value::<DelegationResponse>(response).is_ok_and(|response| response.is_valid())
        };
        assert!(is_valid(&|_| ()));
        assert!(!is_valid(&|response| response["token"] = json!(SessionToken::mint().expose())));
        assert!(!is_valid(&|response| response["session"]["delegation"] = Value::Null));
        assert!(!is_valid(&|response| response["session"]["delegation"]["parent"] = json!("$(id)")));
        assert!(!is_valid(&|response| response["session"]["delegation"]["label"] = json!("a\u{1b}[2J")));
        let many = json!(vec!["a"; 17]);
        assert!(!is_valid(&|response| response["session"]["delegation"]["audiences"] = many.clone()));
    }
}
