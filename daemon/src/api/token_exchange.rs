//! `POST /v1/tokens` with a form: exchanges a workload's token for an audience token (RFC 8693).
//!
//! The presented token is the only credential. Errors have the format of RFC 6749 §5.2.

use std::borrow::Cow;
use std::net::SocketAddr;

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use infra_shared::api::ProblemCode;
use secrecy::SecretString;
use serde::Serialize;
use tracing::Instrument;

use super::Api;
use super::body::{self, FORM};
use super::problem::{ProblemResponse, RETRY_AFTER, json_response, whole_seconds};
use crate::listener::request_id;
use crate::sessions::{ExchangeError, WorkloadToken};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// Platforms issue tokens of a few kilobytes. Many may wait for an issuer.
const MAX_SUBJECT_TOKEN: usize = 16 * 1024;
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// RFC 8693 §3: both name an ID token.
const SUBJECT_TOKEN_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"];

/// RFC 8693 §2.2.1.
#[derive(Serialize)]
struct Exchanged<'a> {
    access_token: &'a str,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: i64,
}

/// RFC 6749 §5.2, with a more precise reason and the ID that finds it in the daemon's log.
#[derive(Serialize)]
struct OAuthError<'a> {
    error: &'a str,
    error_description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(rename = "requestID")]
    request_id: &'a str,
}

/// An exchange as requested.
struct Wanted {
    subject_token: SecretString,
    audience: String,
}

/// A refusal, before the reason is known to the log.
struct Refusal {
    /// The OAuth error code.
    error: &'static str,
    /// As in the audit log.
    reason: Option<&'static str>,
    problem: ProblemResponse,
}

pub(super) async fn exchange(api: Api, from: SocketAddr, request: Request) -> Response {
    let wanted = match read(&api, request, from).await {
        Ok(wanted) => wanted,
        Err(refusal) => return respond(&refusal),
    };
    let request_id = request_id();
    // Finish even if the client disconnects, so that no token is used up without an event in the audit log.
    let exchanging = async move { run(&api, &wanted, from, &request_id).await };
    match tokio::spawn(exchanging.in_current_span()).await {
        Ok(Ok(issued)) => describe(&issued),
        Ok(Err(error)) => respond(&Refusal::of(&error)),
        Err(_) => {
            let problem = ProblemResponse::new(ProblemCode::Unavailable, &"the exchange panicked");
            respond(&Refusal { error: "temporarily_unavailable", reason: None, problem })
        }
    }
}

async fn read(api: &Api, request: Request, from: SocketAddr) -> Result<Wanted, Refusal> {
    if let Err(wait) = api.rates.may_exchange(from) {
        return Err(refuse(api, &ExchangeError::RateLimited(wait)));
    }
    let of_body = |problem: ProblemResponse| {
        let is_away = problem.code() == ProblemCode::Unavailable;
        let error = if is_away { "temporarily_unavailable" } else { "invalid_request" };
        Refusal { error, reason: None, problem }
    };
    if request.uri().query().is_some() {
        let error = ExchangeError::Malformed("parameters in the query");
        return Err(refuse(api, &error).detailed("send all parameters in the body, never in a URL"));
    }
    if request.headers().contains_key(header::AUTHORIZATION) {
        let error = ExchangeError::Malformed("the request has an Authorization header");
        return Err(refuse(api, &error)
            .detailed("leave out `Authorization`: the subject token is the only credential"));
    }
    let (_, bytes) = body::read(request, api, FORM).await.map_err(of_body)?;
    // Others may have failed meanwhile.
    api.rates.may_exchange(from).map_err(|wait| refuse(api, &ExchangeError::RateLimited(wait)))?;
    parse(&bytes).map_err(|(code, reason)| {
        let refusal = refuse(api, &ExchangeError::Malformed(reason)).detailed(reason);
        Refusal { error: code, ..refusal }
    })
}

/// Reads the form. RFC 6749 §3.2: no parameter twice, empty ones count as missing, unknown ones are ignored.
fn parse(form: &[u8]) -> Result<Wanted, (&'static str, &'static str)> {
    let invalid = |reason| ("invalid_request", reason);
    let one = |name: &str| -> Result<Option<Cow<'_, str>>, (&'static str, &'static str)> {
        let mut values =
            url::form_urlencoded::parse(form).filter(|(key, _)| key == name).map(|(_, value)| value);
        let first = values.next();
        if values.next().is_some() {
            return Err(invalid("a parameter was given twice"));
        }
        Ok(first.filter(|value| !value.is_empty()))
    };
    match one("grant_type")?.as_deref() {
        Some(GRANT_TYPE) => {}
        None => return Err(invalid("`grant_type` is missing")),
        Some(_) => {
            return Err((
                "unsupported_grant_type",
                "`grant_type` must be `urn:ietf:params:oauth:grant-type:token-exchange`",
            ));
        }
    }
    if !one("subject_token_type")?.is_some_and(|it| SUBJECT_TOKEN_TYPES.contains(&&*it)) {
        return Err(invalid(
            "`subject_token_type` must be `urn:ietf:params:oauth:token-type:jwt` or `…:id_token`",
        ));
    }
    if one("requested_token_type")?.is_some_and(|it| it != ACCESS_TOKEN) {
        return Err(invalid(
            "`requested_token_type` must be `urn:ietf:params:oauth:token-type:access_token`",
        ));
    }
    for name in ["actor_token", "actor_token_type"] {
        if one(name)?.is_some() {
            return Err(invalid("`actor_token` is not supported"));
        }
    }
    if one("resource")?.is_some() {
        return Err(("invalid_target", "`resource` is not supported: name a service in `audience`"));
    }
    if one("scope")?.is_some() {
        return Err(("invalid_scope", "`scope` is not supported"));
    }
    let subject_token = one("subject_token")?.ok_or(invalid("`subject_token` is missing"))?;
    if subject_token.len() > MAX_SUBJECT_TOKEN {
        return Err(invalid("`subject_token` is longer than 16 KiB"));
    }
    let audience = one("audience")?.ok_or(invalid("`audience` must name exactly one service"))?;
    Ok(Wanted { subject_token: subject_token.into_owned().into(), audience: audience.into_owned() })
}

/// Exchanges the token, and records the outcome in the audit log and the metrics.
async fn run(
    api: &Api,
    wanted: &Wanted,
    from: SocketAddr,
    request_id: &str,
) -> Result<WorkloadToken, ExchangeError> {
    let mut rule = None;
    let issued = issue(api, wanted, from, &mut rule).await;
    if let Err(error) = &issued {
        if error.counts_toward_rate_limit() {
            api.rates.count_failed_exchange(from);
        }
        api.sessions.record_refused_exchange(rule.as_deref(), error, request_id);
    }
    issued
}

fn describe(WorkloadToken { minted, issued_at, .. }: &WorkloadToken) -> Response {
    let body = Exchanged {
        access_token: minted.token.expose(),
        issued_token_type: ACCESS_TOKEN,
        token_type: "Bearer",
        expires_in: minted.expires_at.as_second() - issued_at.as_second(),
    };
    json_response(StatusCode::OK, &body)
}

/// Verifies the token first, so that only workloads learn which services there are. Sets `rule` to the rule that counts.
async fn issue(
    api: &Api,
    wanted: &Wanted,
    from: SocketAddr,
    rule: &mut Option<String>,
) -> Result<WorkloadToken, ExchangeError> {
    let workload = api.sessions.identify_workload(&wanted.subject_token, from.ip()).await?;
    *rule = workload.rules().first().map(|first| first.name.clone());
    let found = api.services.find_for_workload(&workload, &wanted.audience);
    let (matching, service) = found.ok_or(ExchangeError::Target)?;
    *rule = Some(matching.name.clone());
    api.rates.may_issue_workload_token(&matching.name).map_err(ExchangeError::RateLimited)?;
    let settings = service.settings();
    let target = (settings.audience.as_str(), &settings.tokens);
    let issued = api.sessions.issue_workload_token(&workload, matching, target, from.ip()).await?;
    api.rates.count_workload_token(&matching.name);
    Ok(issued)
}

/// Refuses a request whose token was not read.
fn refuse(api: &Api, error: &ExchangeError) -> Refusal {
    api.sessions.record_refused_exchange(None, error, &request_id());
    Refusal::of(error)
}

impl Refusal {
    /// RFC 8693 §2.2.2: a token that is invalid or refused by policy is an `invalid_request`.
    fn of(error: &ExchangeError) -> Self {
        use crate::identity::WorkloadError as Workload;
        let reason = Some(error.reason());
        let unavailable = |problem| Self { error: "temporarily_unavailable", reason, problem };
        let (code, detail) = match error {
            ExchangeError::RateLimited(wait) => {
                let detail = "too many token exchanges: wait, then try again";
                return unavailable(ProblemResponse::rate_limited(*wait, detail));
            }
            ExchangeError::Workload(Workload::QueueFull) => {
                let detail = "too many token exchanges are waiting: wait, then try again";
                return unavailable(ProblemResponse::rate_limited(RETRY_AFTER, detail));
            }
            ExchangeError::Workload(Workload::Unavailable { .. }) => {
                let detail = "the daemon cannot get the keys of the token's issuer: try again later, or ask your operator";
                return unavailable(
                    ProblemResponse::new(ProblemCode::Unavailable, error).with_detail(detail),
                );
            }
            ExchangeError::Store(store) => {
                let problem = ProblemResponse::new(ProblemCode::Unavailable, error);
                return unavailable(problem.with_cause_in_store(store));
            }
            ExchangeError::Malformed(_) => ("invalid_request", "the request is malformed"),
            ExchangeError::Workload(Workload::UnknownIssuer) => {
                ("invalid_request", "the daemon has no workload with the issuer of this token")
            }
            ExchangeError::Workload(Workload::Rejected(_)) => (
                "invalid_request",
                "the token is invalid or expired: get a new one; your operator finds the reason in the daemon's log",
            ),
            ExchangeError::Workload(Workload::Audience) => (
                "invalid_request",
                "the token is for another audience: request one for an audience of `workloads`",
            ),
            ExchangeError::Workload(Workload::Claims(_)) => (
                "invalid_request",
                "no rule of the daemon matches the token's claims: your operator finds the first difference in the audit log",
            ),
            ExchangeError::Target => (
                "invalid_target",
                "this workload may not use that service: ask your operator to add it to the rule",
            ),
            ExchangeError::TokenUsed => {
                ("invalid_request", "the token was already exchanged: get a new one for each exchange")
            }
            ExchangeError::Revoked => ("invalid_request", "an operator revoked the token"),
        };
        Self {
            error: code,
            reason,
            problem: ProblemResponse::new(ProblemCode::BadRequest, error).with_detail(detail),
        }
    }

    fn detailed(self, detail: &'static str) -> Self {
        Self { problem: self.problem.with_detail(detail), ..self }
    }
}

fn respond(Refusal { error, reason, problem }: &Refusal) -> Response {
    let status = StatusCode::from_u16(problem.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = OAuthError {
        error,
        error_description: problem.detail.unwrap_or("the request was refused"),
        reason: *reason,
        request_id: &problem.request_id,
    };
    let mut response = json_response(status, &body);
    if let Some(wait) = problem.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(wait));
    }
    response
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const GOOD: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=a.b.c\
                        &subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=https%3A%2F%2Fwiki.test";

    #[test]
    fn exchange_form_is_read() {
        for form in [GOOD.to_owned(), format!("{GOOD}&unknown=1&unknown=2&scope=&actor_token=")] {
            let wanted = parse(form.as_bytes()).unwrap_or_else(|(_, reason)| panic!("{reason}"));
            assert_eq!(wanted.subject_token.expose_secret(), "a.b.c");
            assert_eq!(wanted.audience, "https://wiki.test");
        }
    }

    #[test]
    fn malformed_exchange_form_has_error_of_standard() {
        let access = "urn:ietf:params:oauth:token-type:access_token";
        for (form, expected) in [
            (String::new(), "invalid_request"),
            (GOOD.replace("token-exchange", "token-exchang"), "unsupported_grant_type"),
            (GOOD.replace("grant_type=", "grant_type=password&x="), "unsupported_grant_type"),
            (GOOD.replace("subject_token=", "x="), "invalid_request"),
            (GOOD.replace("token-type:jwt", "token-type:access_token"), "invalid_request"),
            (GOOD.replace("token-type:jwt", "token-type:JWT"), "invalid_request"),
            (GOOD.replace("audience=", "audiences="), "invalid_request"),
            (format!("{GOOD}&audience=other"), "invalid_request"),
            (format!("{GOOD}&subject_token=a.b.c"), "invalid_request"),
            (format!("{GOOD}&grant_type=x"), "invalid_request"),
            (
                format!("{GOOD}&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token"),
                "invalid_request",
            ),
            (format!("{GOOD}&actor_token=a"), "invalid_request"),
            (format!("{GOOD}&resource=https%3A%2F%2Fwiki.test"), "invalid_target"),
            (format!("{GOOD}&scope=all"), "invalid_scope"),
        ] {
            let refused = parse(form.as_bytes()).err().map(|(code, _)| code);
            assert_eq!(refused, Some(expected), "{form}");
        }
        assert!(parse(format!("{GOOD}&requested_token_type={access}").as_bytes()).is_ok());
    }
}
