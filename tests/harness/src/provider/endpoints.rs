//! The provider's endpoints: discovery, keys, authorization, token, userinfo.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use url::Url;

use super::refresh;
use super::signing::encode;
use super::{
    CLIENT_ID, CLIENT_SECRET, ClientAuthentication, Endpoint, IDTokenDraft, Inner, Key, Person, Settings,
    Signed, State,
};
use crate::https::{Answer, Request, parameter};

/// The grant behind an authorization code.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) user: String,
    pub(super) nonce: Option<String>,
    pub(super) is_offline: bool,
    pub(super) auth_time: i64,
    code_challenge: String,
    redirect_uri: String,
}

pub(super) fn answer(state: &State, request: &Request) -> Answer {
    let settings = &state.settings;
    let path = request.path.strip_prefix(settings.issuer_path.as_str()).unwrap_or_default().to_owned();
    let endpoint = match (request.method.as_str(), path.as_str()) {
        ("GET", "/.well-known/openid-configuration") => Endpoint::Discovery,
        ("GET", "/v1/keys") => Endpoint::Keys,
        ("GET", "/v1/authorize") => Endpoint::Authorization,
        ("POST", "/v1/token") => Endpoint::Token,
        ("GET", "/v1/userinfo") if settings.has_userinfo => Endpoint::UserInfo,
        ("POST", "/v1/revoke") => Endpoint::Revocation,
        _ => return Answer::text(404, "not here"),
    };

    let mut inner = state.lock();
    inner.requests.push((endpoint, request.clone()));
    if let Some(status) = inner.misbehaviour.is_out_of_order(endpoint) {
        return Answer::json(status, &json!({"error": "temporarily_unavailable"}));
    }
    let mut answer = match endpoint {
        Endpoint::Discovery => Answer::json(200, &discovery(&inner.issuer, settings)),
        Endpoint::Keys => Answer::json(200, &inner.keys.published()),
        Endpoint::Authorization => authorization(&mut inner, request),
        Endpoint::Token => token(&mut inner, settings, request),
        Endpoint::UserInfo => userinfo(&inner, request),
        Endpoint::Revocation => refresh::revoke(&mut inner, settings, request),
    };
    inner.misbehaviour.edit_answer(endpoint, &mut answer);
    answer
}

/// OpenID Connect Discovery 1.0 §3.
fn discovery(issuer: &str, settings: &Settings) -> Value {
    let mut metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/v1/authorize"),
        "token_endpoint": format!("{issuer}/v1/token"),
        "jwks_uri": format!("{issuer}/v1/keys"),
        "revocation_endpoint": format!("{issuer}/v1/revoke"),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": ["openid", "email", "profile", "groups", "offline_access"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
    });
    if settings.has_userinfo {
        metadata["userinfo_endpoint"] = json!(format!("{issuer}/v1/userinfo"));
    }
    metadata
}

fn authorization(inner: &mut Inner, request: &Request) -> Answer {
    let query = request.query_parameters();
    let value = |name: &str| parameter(&query, name).unwrap_or_default();
    let redirect_uri = value("redirect_uri");
    let is_loopback = redirect_uri.starts_with("http://127.0.0.1:") && redirect_uri.ends_with("/callback");
    // RFC 6749 §4.1.2.1: never redirect for an unknown client or redirect URI.
    if value("client_id") != CLIENT_ID || !is_loopback {
        return Answer::text(400, "unknown client or redirect address");
    }

    let honest = value("response_type") == "code"
        && value("scope").split(' ').any(|scope| scope == "openid")
        && value("code_challenge_method") == "S256"
        && value("code_challenge").len() == 43;
    let result = match (&inner.person, honest) {
        (_, false) => ("error", "invalid_request".to_owned()),
        (Person::Cancels, true) => ("error", "access_denied".to_owned()),
        (Person::SignsIn(user), true) => {
            let code = infra_shared::random::alphanumeric(32);
            let grant = Grant {
                user: user.clone(),
                nonce: parameter(&query, "nonce"),
                is_offline: value("scope").split(' ').any(|scope| scope == "offline_access"),
                auth_time: now(inner),
                code_challenge: value("code_challenge"),
                redirect_uri: redirect_uri.clone(),
            };
            inner.codes.insert(code.clone(), grant);
            ("code", code)
        }
    };
    let mut location = Url::parse(&redirect_uri).expect("a loopback address was checked");
    location
        .query_pairs_mut()
        .append_pair(result.0, &result.1)
        .append_pair("state", &value("state"))
        .append_pair("iss", &inner.issuer);
    Answer::redirect(location.as_str())
}

fn token(inner: &mut Inner, settings: &Settings, request: &Request) -> Answer {
    let form = request.form_parameters();
    let value = |name: &str| parameter(&form, name).unwrap_or_default();
    if !is_our_client(settings.client_authentication, request, &form) {
        let mut answer = Answer::json(401, &json!({"error": "invalid_client"}));
        answer.set_header("www-authenticate", "Basic realm=\"provider\"");
        return answer;
    }
    if value("grant_type") == "refresh_token" {
        return refresh::refresh(inner, settings, &value("refresh_token"));
    }
    let code = value("code");
    let Some(grant) = inner.codes.remove(&code) else {
        let description = if inner.spent_codes.contains(&code) { "used before" } else { "unknown" };
        return Answer::json(400, &json!({"error": "invalid_grant", "error_description": description}));
    };
    inner.spent_codes.insert(code);
    // RFC 7636 §4.6.
    let challenge = encode(&Sha256::digest(value("code_verifier").as_bytes()));
    let matches = value("grant_type") == "authorization_code"
        && challenge == grant.code_challenge
        && value("redirect_uri") == grant.redirect_uri;
    if !matches {
        return Answer::json(400, &json!({"error": "invalid_grant", "error_description": "another login's"}));
    }

    let access_token = infra_shared::random::alphanumeric(40);
    let id_token = id_token(inner, settings, &grant, &access_token);
    inner.access_tokens.insert(access_token.clone(), grant.user.clone());
    inner.last_id_token = Some(id_token.clone());
    let mut tokens = json!({"access_token": access_token, "token_type": "Bearer", "expires_in": 3600,
                            "id_token": id_token, "scope": "openid email profile groups"});
    if grant.is_offline {
        tokens["refresh_token"] = json!(refresh::issue(inner, &grant));
    }
    Answer::json(200, &tokens)
}

pub(super) fn is_our_client(
    method: ClientAuthentication,
    request: &Request,
    form: &[(String, String)],
) -> bool {
    let (id, secret) = match method {
        // RFC 6749 §2.3.1: both are form-encoded before they are joined.
        ClientAuthentication::Basic => {
            let credentials = request
                .header("authorization")
                .and_then(|value| value.strip_prefix("Basic "))
                .and_then(|value| BASE64_STANDARD.decode(value).ok())
                .and_then(|value| String::from_utf8(value).ok())
                .unwrap_or_default();
            let (id, secret) = credentials.split_once(':').unwrap_or_default();
            (Some(id.to_owned()), Some(secret.to_owned()))
        }
        ClientAuthentication::Post => (parameter(form, "client_id"), parameter(form, "client_secret")),
    };
    id.as_deref() == Some(CLIENT_ID) && secret.as_deref() == Some(CLIENT_SECRET)
}

pub(super) fn id_token(inner: &mut Inner, settings: &Settings, grant: &Grant, access_token: &str) -> String {
    let now = now(inner);
    // OpenID Connect Core §3.1.3.6: the left half of the hash that matches the algorithm.
    let hash = Sha256::digest(access_token.as_bytes());
    let mut claims = person_claims(&grant.user);
    for (name, value) in [
        ("iss", json!(inner.issuer)),
        ("aud", json!(CLIENT_ID)),
        ("iat", json!(now)),
        ("exp", json!(now + 3600)),
        ("auth_time", json!(grant.auth_time)),
        ("at_hash", json!(encode(hash.get(..16).expect("a hash has 32 bytes")))),
    ] {
        claims[name] = value;
    }
    if settings.algorithm == super::Algorithm::EdDSA {
        // Ed25519 requires SHA-512, which nothing else here uses. The claim is optional.
        claims.as_object_mut().expect("claims are an object").remove("at_hash");
    }
    if let Some(nonce) = &grant.nonce {
        claims["nonce"] = json!(nonce);
    }

    let algorithm = settings.algorithm;
    let header = json!({"alg": algorithm.name(), "kid": inner.keys.id(algorithm), "typ": "JWT"});
    let mut draft = IDTokenDraft { header, claims, key: Key::Published(algorithm) };
    inner.misbehaviour.edit_id_token(&mut draft);
    let misbehaviour = inner.misbehaviour.clone();
    sign(inner, &draft, |signed| misbehaviour.edit_signed(signed))
}

/// A token of any claims, changed before and after it is signed.
pub(super) fn other_token(
    inner: &Inner,
    settings: &Settings,
    claims: &Value,
    before: impl FnOnce(&mut IDTokenDraft),
    after: impl FnOnce(&mut Signed),
) -> String {
    let algorithm = settings.algorithm;
    let header = json!({"alg": algorithm.name(), "kid": inner.keys.id(algorithm), "typ": "JWT"});
    let mut draft = IDTokenDraft { header, claims: claims.clone(), key: Key::Published(algorithm) };
    before(&mut draft);
    sign(inner, &draft, after)
}

fn sign(inner: &Inner, draft: &IDTokenDraft, after: impl FnOnce(&mut Signed)) -> String {
    let (header, claims) = (draft.header.to_string().into_bytes(), draft.claims.to_string().into_bytes());
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let signature = inner.keys.sign(&draft.key, message.as_bytes());
    let mut signed = Signed { header, claims, signature };
    after(&mut signed);
    format!("{}.{}.{}", encode(&signed.header), encode(&signed.claims), encode(&signed.signature))
}

fn userinfo(inner: &Inner, request: &Request) -> Answer {
    let user = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .and_then(|token| inner.access_tokens.get(token));
    match user {
        Some(user) => Answer::json(200, &person_claims(user)),
        None => Answer::json(401, &json!({"error": "invalid_token"})),
    }
}

/// The provider's time, in seconds.
fn now(inner: &Inner) -> i64 {
    (SystemClock.now() + inner.clock).as_second()
}

/// The provider's claims about a user, in the ID token and at userinfo.
fn person_claims(user: &str) -> Value {
    let mut name = user.to_owned();
    if let Some(first) = name.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    json!({"sub": format!("sub-{user}"), "name": name, "email": format!("{user}@example.test"),
           "email_verified": true, "groups": ["Everyone", "engineering"]})
}
