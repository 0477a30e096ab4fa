//! Refresh tokens with rotation (RFC 6749 §6, RFC 9700 §4.14.2): reuse of one revokes all tokens of its
//! login. Also revocation (RFC 7009).

use infra_shared::random;
use serde_json::json;

use super::endpoints::{Grant, id_token, is_our_client};
use super::{Inner, Settings};
use crate::https::{Answer, Request, parameter};

/// An issued refresh token.
#[derive(Debug, Clone)]
pub(super) struct Issued {
    grant: Grant,
    /// Shared by all tokens of one login.
    family: String,
    counts: bool,
}

/// Issues the first refresh token of a login.
pub(super) fn issue(inner: &mut Inner, grant: &Grant) -> String {
    issue_in(inner, grant.clone(), random::alphanumeric(16))
}

fn issue_in(inner: &mut Inner, grant: Grant, family: String) -> String {
    let token = format!("refresh-canary-{}", random::alphanumeric(32));
    inner.refresh_tokens.insert(token.clone(), Issued { grant, family, counts: true });
    token
}

pub(super) fn live(inner: &Inner) -> Vec<String> {
    let counting = inner.refresh_tokens.iter().filter(|(_, issued)| issued.counts);
    counting.map(|(token, _)| token.clone()).collect()
}

pub(super) fn refresh(inner: &mut Inner, settings: &Settings, token: &str) -> Answer {
    let refused = |why: &str| Answer::json(400, &json!({"error": "invalid_grant", "error_description": why}));
    let Some(issued) = inner.refresh_tokens.get(token).cloned() else { return refused("unknown") };
    if !issued.counts {
        end_family(inner, &issued.family);
        return refused("used before");
    }
    if inner.inactive.contains(&issued.grant.user) {
        end_family(inner, &issued.family);
        return refused("inactive");
    }
    if let Some(issued) = inner.refresh_tokens.get_mut(token) {
        issued.counts = false;
    }
    let next = issue_in(inner, issued.grant.clone(), issued.family);
    let access_token = random::alphanumeric(40);
    // OpenID Connect Core §12.2: without a nonce.
    let mut grant = issued.grant;
    grant.nonce = None;
    let id_token = id_token(inner, settings, &grant, &access_token);
    inner.access_tokens.insert(access_token.clone(), grant.user);
    Answer::json(
        200,
        &json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "id_token": id_token,
                "refresh_token": next}),
    )
}

/// RFC 7009 §2.2: 200, also for an unknown token.
pub(super) fn revoke(inner: &mut Inner, settings: &Settings, request: &Request) -> Answer {
    let form = request.form_parameters();
    if !is_our_client(settings.client_authentication, request, &form) {
        return Answer::json(401, &json!({"error": "invalid_client"}));
    }
    let token = parameter(&form, "token").unwrap_or_default();
    if let Some(issued) = inner.refresh_tokens.get(&token).cloned() {
        end_family(inner, &issued.family);
    }
    inner.revoked.push(token);
    Answer::text(200, "")
}

fn end_family(inner: &mut Inner, family: &str) {
    let of_family = inner.refresh_tokens.values_mut().filter(|issued| issued.family == family);
    of_family.for_each(|issued| issued.counts = false);
}
