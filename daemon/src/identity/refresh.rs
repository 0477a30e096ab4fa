//! Asking a provider again about somebody who signed in (RFC 6749 §6, OpenID Connect Core §12), and giving back what it
//! gave for that (RFC 7009).

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::discovery::Metadata;
use super::id_token::{Expected, Occasion, seconds};
use super::{IdentityError, Provider, VerifiedIdentity, code_exchange, json, refused, unavailable};
use crate::outbound::Answer;
use crate::secrets::{ReadReason, Reference};

/// For each of the things that are asked without a person waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a provider can be asked with again. It has no `Serialize`: it is kept sealed, or not at all.
#[derive(Debug, Clone)]
pub struct HeldGrant {
    pub refresh_token: SecretString,
    /// Those of the login, which a later ID token must not contradict.
    pub nonce: SecretString,
    pub auth_time: Option<i64>,
    pub subject: String,
}

/// What the provider answered. That it answered is its *yes*; nothing else of it is proven yet.
pub struct Answered {
    id_token: Option<SecretString>,
    access_token: SecretString,
    /// The refresh token that counts from now on, where it is another one.
    pub refresh_token: Option<SecretString>,
}

/// Why a session is not confirmed. `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The provider's *no*, or an answer about somebody else: the session ends.
    #[error("{0}")]
    No(String),
    /// Nobody knows: the session goes on, and the provider is asked again.
    #[error("{0}")]
    Unknown(String),
}

/// The errors by which a provider says that this person may not go on without signing in again (RFC 6749 §5.2, OpenID
/// Connect Core §3.1.2.6). Every other one speaks of the request or of the client, and is an operator's to correct.
const NO: [&str; 5] =
    ["invalid_grant", "access_denied", "login_required", "interaction_required", "consent_required"];

impl Provider {
    /// Asks with the refresh token, once. What it answers with must be stored before anything else is done: the token
    /// that it was asked with may be spent.
    pub async fn refresh(&self, held: &HeldGrant) -> Result<Answered, RefreshError> {
        let asking = async {
            let metadata = self.metadata().await?;
            let fields =
                [("grant_type", "refresh_token"), ("refresh_token", held.refresh_token.expose_secret())];
            let reading = (&self.backends, ReadReason::Refresh);
            let endpoint = &metadata.token_endpoint;
            let answer =
                code_exchange::post(&self.outbound, endpoint, &self.settings, reading, &fields).await?;
            Ok::<_, IdentityError>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(unavailable("asking again took too long")))
            .map_err(|error| RefreshError::Unknown(error.to_string()))?;
        read(&answer, &self.settings.client_secret)
    }

    /// Who the answer is about, completely verified; `None` where it does not say, which it need not (OpenID Connect Core
    /// §12.2).
    pub async fn judge(
        &self,
        held: &HeldGrant,
        answered: &Answered,
    ) -> Result<Option<VerifiedIdentity>, RefreshError> {
        tokio::time::timeout(PATIENCE, self.judge_in_time(held, answered))
            .await
            .unwrap_or_else(|_| Err(unavailable("judging the answer took too long")))
            .map_err(|error| match error {
                IdentityError::Refused(reason) => RefreshError::No(reason),
                other => RefreshError::Unknown(other.to_string()),
            })
    }

    async fn judge_in_time(
        &self,
        held: &HeldGrant,
        answered: &Answered,
    ) -> Result<Option<VerifiedIdentity>, IdentityError> {
        let metadata = self.metadata().await?;
        let claims = match &answered.id_token {
            Some(id_token) => self.claims_of(held, answered, id_token, &metadata).await?,
            None if metadata.userinfo_endpoint.is_some() => Map::new(),
            None => return Ok(None),
        };
        self.identity(&held.subject, &claims, &metadata, &answered.access_token).await.map(Some)
    }

    async fn claims_of(
        &self,
        held: &HeldGrant,
        answered: &Answered,
        id_token: &SecretString,
        metadata: &Metadata,
    ) -> Result<Map<String, Value>, IdentityError> {
        let expected = Expected {
            issuer: &self.settings.issuer,
            client_id: &self.settings.client_id,
            nonce: &held.nonce,
            occasion: Occasion::Refresh,
            algorithms: &self.settings.signing_algorithms,
            access_token: &answered.access_token,
            now: self.clock.now(),
        };
        let verified = self.verify(id_token, &expected, &metadata.jwks_uri).await?;
        // Core §12.2: the same person, and where it is told, the same moment of signing in.
        if verified.subject != held.subject {
            return Err(refused("refreshed ID token: subject_differs"));
        }
        let auth_time = seconds(&verified.claims, "auth_time");
        if held.auth_time.is_some() && auth_time.is_some() && auth_time != held.auth_time {
            return Err(refused("refreshed ID token: auth_time_differs"));
        }
        Ok(verified.claims)
    }

    /// Gives the refresh token back, and with it all that was issued for it (RFC 7009 §2.1). `false` where the provider
    /// has no place for that.
    pub async fn revoke(&self, held: &HeldGrant) -> Result<bool, IdentityError> {
        let asking = async {
            let metadata = self.metadata().await?;
            let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(false) };
            let fields =
                [("token", held.refresh_token.expose_secret()), ("token_type_hint", "refresh_token")];
            let reading = (&self.backends, ReadReason::Revoke);
            let answer =
                code_exchange::post(&self.outbound, endpoint, &self.settings, reading, &fields).await?;
            match answer.status {
                200..=299 => Ok(true),
                401 | 403 | 408 | 429 | 500.. => {
                    Err(IdentityError::Unavailable(format!("revocation endpoint: status {}", answer.status)))
                }
                // RFC 7009 §2.2: a token that it does not know is answered with 200; asking again would not help.
                status => Err(IdentityError::Refused(format!("revocation endpoint: status {status}"))),
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .unwrap_or_else(|_| Err(unavailable("giving the tokens back took too long")))
    }
}

fn read(answer: &Answer, client_secret: &Reference) -> Result<Answered, RefreshError> {
    let document = match code_exchange::success(answer, client_secret) {
        Ok(document) => document,
        Err(IdentityError::Refused(reason)) => {
            let document = json::object(&answer.body).unwrap_or_default();
            let error = document.get("error").and_then(Value::as_str);
            let is_no = error.is_some_and(|error| NO.contains(&error)) && (400..500).contains(&answer.status);
            return Err(if is_no { RefreshError::No(reason) } else { RefreshError::Unknown(reason) });
        }
        Err(error) => return Err(RefreshError::Unknown(error.to_string())),
    };
    let token = |name| code_exchange::token(&document, name);
    Ok(Answered {
        access_token: token("access_token")
            .ok_or_else(|| RefreshError::Unknown("token endpoint: no access_token".to_owned()))?,
        id_token: token("id_token"),
        refresh_token: token("refresh_token"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Backends;

    fn read_json(status: u16, body: &str) -> Result<Answered, RefreshError> {
        let answer = Answer {
            status,
            content_type: Some("application/json".to_owned()),
            headers: reqwest::header::HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        read(&answer, &Backends::built_in().parse("env:SECRET").expect("a reference"))
    }

    #[test]
    fn an_answer_needs_neither_an_id_token_nor_a_new_refresh_token() {
        let answered = read_json(200, r#"{"access_token":"a","token_type":"bearer"}"#);
        assert!(matches!(answered, Ok(Answered { id_token: None, refresh_token: None, .. })));
    }

    #[test]
    fn a_no_about_the_person_is_told_from_everything_else() {
        for error in NO {
            let refused = read_json(400, &format!(r#"{{"error":"{error}"}}"#));
            assert!(matches!(refused, Err(RefreshError::No(_))), "{error}");
        }
        for (status, body) in [
            (400, r#"{"error":"invalid_request"}"#),
            (400, r#"{"error":"unauthorized_client"}"#),
            (400, r#"{"error":"unsupported_grant_type"}"#),
            (400, r#"{"error":["invalid_grant"]}"#),
            (400, "{}"),
            (401, r#"{"error":"invalid_client"}"#),
            (404, r#"{"error":"not_found"}"#),
            (429, r#"{"error":"invalid_grant"}"#),
            (500, r#"{"error":"invalid_grant"}"#),
            (503, r#"{"error":"temporarily_unavailable"}"#),
            (302, r#"{"error":"invalid_grant"}"#),
            (200, r#"{"error":"invalid_grant"}"#),
            (200, r#"{"access_token":"a","token_type":"DPoP"}"#),
            (200, "not JSON"),
        ] {
            assert!(matches!(read_json(status, body), Err(RefreshError::Unknown(_))), "{status} {body}");
        }
    }
}
