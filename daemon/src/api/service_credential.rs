//! Authenticates services: HTTP Basic with name and credential (RFC 6749 §2.3.1), or if the path names the service,
//! the credential as a bearer token.

use std::fmt::Display;
use std::sync::Arc;

use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::api::ProblemCode;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::Api;
use super::body::credentials;
use super::problem::ProblemResponse;
use crate::services::{Service, ServiceSettings};

/// How a service authenticates at a route of all services.
const BY_BASIC: &str = "authenticate with the service's name and one of its `credentials` by HTTP Basic";
/// How it authenticates at a route of its own.
const BY_BEARER: &str = "authenticate with one of the service's `credentials` as a bearer token";
const CHALLENGE: &str = "Basic realm=\"infra\", charset=\"UTF-8\"";

pub(super) async fn authenticate_any_service<'a>(
    api: &'a Api,
    headers: &HeaderMap,
) -> Result<&'a Service, ProblemResponse> {
    let (service, secret) = named_service(api, headers).map_err(|reason| rejected(&reason, BY_BASIC))?;
    verify_secret(api, service, &secret, BY_BASIC).await
}

/// Like [`authenticate_any_service`], but from the cache only and without waiting. `None` means not cached, not wrong.
pub(super) fn authenticate_any_service_cached<'a>(
    api: &'a Api,
    headers: &HeaderMap,
) -> Option<&'a Arc<Service>> {
    let (service, secret) = named_service(api, headers).ok()?;
    api.services.verify_credential_cached(service, &secret).then_some(service)
}

/// Finds the service that HTTP Basic names, and its unverified secret.
fn named_service<'a>(
    api: &'a Api,
    headers: &HeaderMap,
) -> Result<(&'a Arc<Service>, Zeroizing<Vec<u8>>), &'static str> {
    let (name, secret) = basic(headers).ok_or("the request has no service credential")?;
    let service = api.services.find(&name).ok_or("unknown service")?;
    Ok((service, secret))
}

pub(super) async fn authenticate_service<'a>(
    api: &'a Api,
    service: &'a Service,
    headers: &HeaderMap,
) -> Result<&'a Service, ProblemResponse> {
    let secret = match (credentials(headers, "bearer"), basic(headers)) {
        (Some(secret), _) => Zeroizing::new(secret.as_bytes().to_vec()),
        (None, Some((name, secret))) if name == service.settings().name => secret,
        _ => {
            let reason =
                format!("the request has no credential of the service `{}`", service.settings().name);
            return Err(rejected(&reason, BY_BEARER));
        }
    };
    verify_secret(api, service, &secret, BY_BEARER).await
}

async fn verify_secret<'a>(
    api: &Api,
    service: &'a Service,
    secret: &[u8],
    how: &'static str,
) -> Result<&'a Service, ProblemResponse> {
    let unavailable = |error| {
        ProblemResponse::new(ProblemCode::Unavailable, &error).with_detail(
            "the daemon cannot read the service's credential: ask the daemon's operator to check its secret backend",
        )
    };
    let mut is_valid = api.services.verify_credential(service, secret).await.map_err(unavailable)?;
    if !is_valid && secret.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        // RFC 6749 §2.3.1 requires form-encoding of both parts. Accept clients that skip it too.
        let spaced: Vec<u8> = secret.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let decoded = Zeroizing::new(percent_decode(&Zeroizing::new(spaced)).collect::<Vec<u8>>());
        is_valid = api.services.verify_credential(service, &decoded).await.map_err(unavailable)?;
    }
    if is_valid {
        return Ok(service);
    }
    let ServiceSettings { name, credentials, .. } = service.settings();
    let reason = if credentials.is_empty() {
        format!("the service `{name}` has no `credentials` in the configuration")
    } else {
        format!("this is not a credential of the service `{name}`")
    };
    Err(rejected(&reason, how))
}

/// Parses name and secret of HTTP Basic (RFC 7617 §2).
fn basic(headers: &HeaderMap) -> Option<(String, Zeroizing<Vec<u8>>)> {
    let decoded = Zeroizing::new(BASE64_STANDARD.decode(credentials(headers, "basic")?).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (name, secret) = decoded.split_at_checked(colon)?;
    Some((std::str::from_utf8(name).ok()?.to_owned(), Zeroizing::new(secret.get(1..)?.to_vec())))
}

fn rejected(reason: &dyn Display, how: &'static str) -> ProblemResponse {
    ProblemResponse::new(ProblemCode::NotAuthenticated, reason).with_challenge(CHALLENGE).with_detail(how)
}
