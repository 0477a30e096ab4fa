//! Audience tokens of a CI job or a pod without a session: exchanges the ID token of the platform (RFC 8693).

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use infra_shared::http::{Limits, Trust, Way, blocking_client_with, read_body_blocking};
use infra_shared::origin::Origin;
use infra_shared::token_text::is_signed_token;
use reqwest::blocking::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

use super::Context;
use super::audience::{TokenRequest, ValidToken};
use crate::daemon_client::{self, DaemonError};
use crate::failure::{Exit, Failure};
use crate::proxy::{self, Route};
use crate::settings::{self, IDTokenSource};

/// Far above any ID token: the daemon accepts 16 KiB.
const MAX_BYTES: usize = 64 * 1024;
const LIMITS: Limits = Limits { connect: Duration::from_secs(5), total: Duration::from_secs(15) };

/// The answer of GitHub Actions.
#[derive(Deserialize)]
struct Issued {
    value: SecretString,
}

/// Returns a token for the service if the environment has an ID token, and `None` if it has none. A session comes first: the
/// token of a person, stored or in `INFRA_TOKEN`.
pub(super) fn obtain(context: &Context, request: &TokenRequest<'_>) -> Result<Option<ValidToken>, Failure> {
    if context.settings.token.is_some() {
        return Ok(None);
    }
    let state = context.home.read()?;
    let Some(origin) = context.server(request.server, &state)? else { return Ok(None) };
    if state.sessions.sessions.contains_key(&origin) {
        return Ok(None);
    }
    let Some(source) = settings::id_token_source()? else { return Ok(None) };
    let id_token = read(&source, &origin)?;
    // So that a wrong file stays on this machine.
    if !is_signed_token(id_token.expose_secret()) {
        return Err(Failure::new(Exit::Usage, "the ID token of this job is not a signed token (JWT)").hint(
            "check INFRA_ID_TOKEN or INFRA_ID_TOKEN_FILE: the token has three parts with dots between them",
        ));
    }
    let before = context.now();
    let connection = context.connect(&origin, &state).map_err(|error| error.to_failure(&origin))?;
    let (token, left) =
        connection.client.exchange_id_token(&id_token, request.audience).map_err(|error| {
            let what = format!("{origin} does not issue this job a token");
            match error.exit() {
                Exit::LoginFailed | Exit::Failed => {
                    let reason =
                        if let DaemonError::Problem { problem, .. } = &error { &problem.title } else { "" };
                    let hint = remedy(reason, &origin, request.audience);
                    Failure::new(error.exit(), what).because(&error).hint(hint)
                }
                _ => error.to_failure(&origin),
            }
        })?;
    if left < request.min_left {
        let failure = Failure::new(Exit::Failed, format!("the token is valid for {} s only", left.as_secs()));
        return Err(
            failure.hint("a smaller `--min-left`: the token lasts no longer than the ID token of this job")
        );
    }
    let expires_at = before.checked_add(left).unwrap_or(before);
    Ok(Some(ValidToken { token, expires_at, origin, state }))
}

/// What to try, by the daemon's reason.
fn remedy(reason: &str, origin: &Origin, audience: &str) -> String {
    match reason {
        "token_used" => "get a new ID token for each call".to_owned(),
        "token_rejected" => format!(
            "get a new ID token for each call; if it was new, ask the operator of {origin} for the cause in the daemon's log, and \
             show this message"
        ),
        "wrong_audience" => format!(
            "request the ID token for an audience of the daemon's `workloads`, usually {origin} (`aud` in GitLab, `audience` in \
             Kubernetes)"
        ),
        "unknown_issuer" => {
            format!("ask the operator of {origin} to add a rule for this issuer to `workloads`")
        }
        "target_denied" => {
            format!(
                "ask the operator of {origin} to add {audience} to `services` of this job's rule in `workloads`"
            )
        }
        _ => format!(
            "ask the operator of {origin} to compare `workloads` with the claims of this job, and show this message"
        ),
    }
}

/// A CI job needs an ID token instead of a sign-in.
pub(super) fn explain_missing(failure: Failure) -> Failure {
    if failure.exit() != Exit::LoginNeeded || !settings::is_ci_job() {
        return failure;
    }
    failure.hint(
        "give this job an ID token: `permissions: {id-token: write}` in GitHub Actions, `id_tokens` with INFRA_ID_TOKEN in \
         GitLab, INFRA_ID_TOKEN_FILE elsewhere",
    )
}

fn read(source: &IDTokenSource, origin: &Origin) -> Result<SecretString, Failure> {
    match source {
        IDTokenSource::Variable(token) => Ok(token.clone()),
        IDTokenSource::File(path) => read_file(path),
        IDTokenSource::GitHub { url, token } => request(url, token, origin).map_err(|error| {
            Failure::new(error.exit(), "cannot get the ID token of this job from GitHub Actions")
                .because(&error)
                .hint("again; if it keeps failing, check `permissions: {id-token: write}` of the job")
        }),
    }
}

fn read_file(path: &Path) -> Result<SecretString, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot read {} (INFRA_ID_TOKEN_FILE)", path.display()))
            .because(&error)
    };
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_BYTES as u64).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim().into())
}

/// Asks for a token for the daemon. The job's own token proves it to GitHub, whose certificate the system's authorities prove.
fn request(url: &Url, token: &SecretString, origin: &Origin) -> Result<SecretString, DaemonError> {
    let mut url = url.clone();
    url.query_pairs_mut().append_pair("audience", &origin.to_string());
    let way = match proxy::route(&url) {
        Route::Direct => Way::Direct,
        Route::Through(_) => Way::Proxy,
        Route::Barred(error) => return Err(DaemonError::Proxy(error)),
    };
    let client: Client = blocking_client_with(&Trust::System, LIMITS, true, (way, settings::key_exchange()))?;
    let response = client.get(url).bearer_auth(token.expose_secret()).send();
    let response = response.map_err(|error| daemon_client::failure(&error))?;
    if !response.status().is_success() {
        return Err(DaemonError::Unreachable(format!(
            "it answered with status {}",
            response.status().as_u16()
        )));
    }
    let unusable = || DaemonError::Unreachable("its answer has no token".to_owned());
    let body = read_body_blocking(response, MAX_BYTES).map_err(|_| unusable())?;
    serde_json::from_slice::<Issued>(&body).map(|issued| issued.value).map_err(|_| unusable())
}
