//! Which service asks: HTTP Basic with its name and a credential (RFC 6749 §2.3.1), or for one that the path names, the
//! credential as a bearer token.

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::api::ProblemCode;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::Api;
use super::body::credentials;
use super::problem::Refusal;
use crate::services::Service;

const CHALLENGE: &str = "Basic realm=\"infra\", charset=\"UTF-8\"";

/// The service that `headers` prove to be the one that asks.
pub(super) async fn any_service<'a>(api: &'a Api, headers: &HeaderMap) -> Result<&'a Service, Refusal> {
    let (name, secret) = basic(headers).ok_or_else(|| refused("no credentials of a service"))?;
    let service = api.services.find(&name).ok_or_else(|| refused("no such service"))?;
    prove(api, service, &secret).await
}

/// The name of the service that `headers` prove to be the one that asks, as far as that is known without a wait.
pub(super) fn known_service(api: &Api, headers: &HeaderMap) -> Option<String> {
    let (name, secret) = basic(headers)?;
    let service = api.services.find(&name)?;
    api.services.proves_at_once(service, &secret).then_some(name)
}

/// Has `headers` prove that it is `service` that asks.
pub(super) async fn this_service<'a>(
    api: &'a Api,
    service: &'a Service,
    headers: &HeaderMap,
) -> Result<&'a Service, Refusal> {
    let secret = match (credentials(headers, "bearer"), basic(headers)) {
        (Some(secret), _) => Zeroizing::new(secret.as_bytes().to_vec()),
        (None, Some((name, secret))) if name == service.settings().name => secret,
        _ => return Err(refused("no credentials of the service")),
    };
    prove(api, service, &secret).await
}

async fn prove<'a>(api: &Api, service: &'a Service, secret: &[u8]) -> Result<&'a Service, Refusal> {
    let away = |error| {
        Refusal::new(ProblemCode::Unavailable, &error)
            .with_detail("the service's credential cannot be read: an operator has to look at its backend")
    };
    let mut proven = api.services.proves(service, secret).await.map_err(away)?;
    if !proven && secret.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        // RFC 6749 §2.3.1 has both parts encoded as in a form, and clients are of two minds about it.
        let spaced: Vec<u8> = secret.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let decoded = Zeroizing::new(percent_decode(&Zeroizing::new(spaced)).collect::<Vec<u8>>());
        proven = api.services.proves(service, &decoded).await.map_err(away)?;
    }
    if proven { Ok(service) } else { Err(refused("not a credential of the service")) }
}

/// The name and the secret of HTTP Basic (RFC 7617 §2).
fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, secret) = decoded.split_at_checked(colon)?;
    Some((std::str::from_utf8(name).ok()?.to_owned(), Zeroizing::new(secret.get(1..)?.to_vec())))
}

fn refused(reason: &'static str) -> Refusal {
    Refusal::new(ProblemCode::NotAuthenticated, &reason)
        .with_challenge(CHALLENGE)
        .with_detail("a service proves itself with its name and one of its `credentials`, by HTTP Basic")
}
