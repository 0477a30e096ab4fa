//! The development provider's endpoints: discovery, sign-in, token, keys, userinfo (OpenID Connect Core §3.1).

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use infra_shared::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::{Url, form_urlencoded};

use super::grants::{ACCESS_LIFETIME, AuthorizationRequest, Grant, Grants, Person};
use super::sign_in_page;
use super::signing::Signing;

const ID_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_mins(5);
/// The form's response redirects to a loopback listener on any port.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'self' http://127.0.0.1:*";

pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: SecretString,
    pub(super) redirect_uris: Vec<String>,
}

pub(super) struct Provider {
    issuer: String,
    client: Client,
    clock: Arc<dyn Clock>,
    signing: Signing,
    grants: Grants,
}

pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) authorization: Option<String>,
    pub(super) body: &'a str,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

type Parameters = HashMap<String, String>;

impl Provider {
    pub(super) fn new(issuer: String, client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { issuer, client, clock, signing: Signing::new(), grants: Grants::default() }
    }

    pub(super) fn answer(&mut self, asked: &Asked<'_>) -> Answer {
        match (asked.method, asked.path) {
            ("GET", "/.well-known/openid-configuration") => Answer::json(200, &self.metadata()),
            ("GET", "/v1/keys") => Answer::json(200, &self.signing.public_keys()),
            ("GET", "/v1/authorize") => self.authorize(asked.query),
            ("POST", "/sign-in") => self.sign_in(asked.body),
            ("POST", "/v1/token") => self.token(asked),
            ("GET", "/v1/userinfo") => self.user_info(asked),
            _ => Answer::page(404, "nothing here"),
        }
    }

    /// Returns the provider metadata (OpenID Connect Discovery §3).
    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer,
            "authorization_endpoint": at("/v1/authorize"),
            "token_endpoint": at("/v1/token"),
            "userinfo_endpoint": at("/v1/userinfo"),
            "jwks_uri": at("/v1/keys"),
            "response_types_supported": ["code"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "email", "profile", "groups", "offline_access"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Core §3.1.2. An unknown client or redirect URI gets an error page instead of a redirect.
    fn authorize(&mut self, query: &str) -> Answer {
        let Some(parameters) = parameters(query) else {
            return Answer::page(400, "a parameter is given twice");
        };
        let text = |name: &str| parameters.get(name).map_or("", String::as_str);
        let redirect_uri = text("redirect_uri").to_owned();
        if text("client_id") != self.client.id || !self.client.redirect_uris.contains(&redirect_uri) {
            return Answer::page(400, "unknown client_id or redirect_uri");
        }
        let request = AuthorizationRequest {
            redirect_uri,
            state: parameters.get("state").cloned(),
            nonce: parameters.get("nonce").cloned(),
            code_challenge: text("code_challenge").to_owned(),
            scope: text("scope").to_owned(),
        };
        if text("response_type") != "code" {
            return self.respond(&request, "error", "unsupported_response_type");
        }
        if request.code_challenge.is_empty() || text("code_challenge_method") != "S256" {
            return self.respond(&request, "error", "invalid_request");
        }
        if !request.scope.split(' ').any(|scope| scope == "openid") {
            return self.respond(&request, "error", "invalid_scope");
        }
        let request = self.grants.keep_request(request, self.clock.now());
        let mut page =
            Answer::new(200, "text/html; charset=utf-8", sign_in_page::html(&request).into_bytes());
        page.headers.push(("Content-Security-Policy", POLICY.to_owned()));
        page
    }

    fn sign_in(&mut self, body: &str) -> Answer {
        let now = self.clock.now();
        let form = parameters(body).unwrap_or_default();
        let request = form.get("request").and_then(|request| self.grants.requests.take(request, now));
        let Some(request) = request else { return Answer::page(400, "this sign-in is over: start again") };
        match form.get("user").map(|user| Person::parse(user)) {
            Some(Some(person)) => {
                let grant = Grant { person, signed_in_at: now, request: request.clone() };
                let code = self.grants.keep_code(grant, now);
                self.respond(&request, "code", &code)
            }
            _ => self.respond(&request, "error", "access_denied"),
        }
    }

    /// Redirects to the client with a result (Core §3.1.2.5, RFC 9207 §2).
    fn respond(&self, request: &AuthorizationRequest, name: &str, value: &str) -> Answer {
        let mut url = Url::parse(&request.redirect_uri).expect("a registered redirect URI");
        url.query_pairs_mut().append_pair(name, value).append_pair("iss", &self.issuer);
        if let Some(state) = &request.state {
            url.query_pairs_mut().append_pair("state", state);
        }
        let mut answer = Answer::new(303, "text/plain", Vec::new());
        answer.headers.push(("Location", url.into()));
        answer
    }

    /// Exchanges a code or refresh token (Core §3.1.3, §12).
    fn token(&mut self, asked: &Asked<'_>) -> Answer {
        let now = self.clock.now();
        let Some(form) = parameters(asked.body) else { return error(400, "invalid_request") };
        if !self.is_client(asked.authorization.as_deref(), &form) {
            return error(401, "invalid_client");
        }
        let text = |name: &str| form.get(name).map_or("", String::as_str);
        let (grant, is_first) = match text("grant_type") {
            "authorization_code" => {
                let grant = self.grants.codes.take(text("code"), now).filter(|grant| {
                    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(text("code_verifier")));
                    grant.request.redirect_uri == text("redirect_uri")
                        && grant.request.code_challenge == challenge
                });
                (grant, true)
            }
            // RFC 9700 §4.14.2: each refresh token is valid once.
            "refresh_token" => (self.grants.refresh_tokens.take(text("refresh_token"), now), false),
            _ => return error(400, "unsupported_grant_type"),
        };
        match grant {
            Some(grant) => self.issue(grant, is_first, now),
            None => error(400, "invalid_grant"),
        }
    }

    fn issue(&mut self, grant: Grant, is_first: bool, now: Timestamp) -> Answer {
        let access_token = self.grants.keep_access_token(grant.clone(), now);
        let half = Sha256::digest(&access_token);
        let mut claims = claims(grant.person);
        claims.extend([
            ("iss".to_owned(), json!(self.issuer)),
            ("aud".to_owned(), json!(self.client.id)),
            ("iat".to_owned(), json!(now.as_second())),
            ("exp".to_owned(), json!((now + ID_TOKEN_LIFETIME).as_second())),
            ("auth_time".to_owned(), json!(grant.signed_in_at.as_second())),
            // Core §3.1.3.6: the left half of the hash.
            (
                "at_hash".to_owned(),
                json!(BASE64_URL_SAFE_NO_PAD.encode(half.get(..16).expect("SHA-256 has 32 bytes"))),
            ),
        ]);
        // Core §12.2: a refreshed ID token needs no nonce.
        if let Some(nonce) = grant.request.nonce.as_ref().filter(|_| is_first) {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
        let wants_refresh = grant.request.scope.split(' ').any(|scope| scope == "offline_access");
        let mut answer = Map::from_iter([
            ("token_type".to_owned(), json!("Bearer")),
            ("access_token".to_owned(), json!(access_token)),
            ("expires_in".to_owned(), json!(ACCESS_LIFETIME.as_secs())),
            ("scope".to_owned(), json!(grant.request.scope)),
            ("id_token".to_owned(), json!(self.signing.sign(&claims))),
        ]);
        if wants_refresh {
            answer.insert("refresh_token".to_owned(), json!(self.grants.keep_refresh_token(grant, now)));
        }
        let answer = Value::Object(answer);
        Answer::json(200, &answer)
    }

    /// Returns the user's claims (Core §5.3).
    fn user_info(&self, asked: &Asked<'_>) -> Answer {
        let token = asked.authorization.as_deref().and_then(|value| value.strip_prefix("Bearer "));
        if let Some(grant) = token.and_then(|token| self.grants.access_tokens.look(token, self.clock.now())) {
            Answer::json(200, &Value::Object(claims(grant.person)))
        } else {
            let mut answer = error(401, "invalid_token");
            answer.headers.push(("WWW-Authenticate", "Bearer error=\"invalid_token\"".to_owned()));
            answer
        }
    }

    /// Accepts `client_secret_basic` or `client_secret_post` (Core §9), never both.
    fn is_client(&self, authorization: Option<&str>, form: &Parameters) -> bool {
        let by_post =
            form.get("client_secret").map(|secret| (form.get("client_id").cloned(), secret.clone()));
        let given = match (authorization, by_post) {
            (Some(value), None) => basic(value).map(|(id, secret)| (Some(id), secret)),
            (None, by_post) => by_post,
            (Some(_), Some(_)) => None,
        };
        given.is_some_and(|(id, secret)| {
            let is_secret: bool =
                secret.as_bytes().ct_eq(self.client.secret.expose_secret().as_bytes()).into();
            is_secret && id.as_deref() == Some(self.client.id.as_str())
        })
    }
}

/// The claims of a user, for ID token and userinfo.
fn claims(person: Person) -> Map<String, Value> {
    let name = person.name();
    Map::from_iter([
        ("sub".to_owned(), json!(format!("dev-{name}"))),
        ("name".to_owned(), json!(person.display_name())),
        ("preferred_username".to_owned(), json!(name)),
        ("email".to_owned(), json!(format!("{name}@example.test"))),
        ("email_verified".to_owned(), json!(true)),
        ("groups".to_owned(), json!(["Everyone", person.group()])),
    ])
}

/// RFC 6749 §2.3.1: both parts are form-encoded before Basic encoding.
fn basic(value: &str) -> Option<(String, String)> {
    let bytes = BASE64_STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| {
        form_urlencoded::parse(format!("={text}").as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

/// Parses a query or form. Returns `None` if a parameter is given twice (RFC 6749 §3.1).
fn parameters(text: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    for (name, value) in form_urlencoded::parse(text.as_bytes()) {
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return None;
        }
    }
    Some(parameters)
}

/// Returns an OAuth error (RFC 6749 §5.2).
fn error(status: u16, name: &str) -> Answer {
    Answer::json(status, &json!({ "error": name }))
}

impl Answer {
    fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("Content-Type", content_type.to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
        ];
        Self { status, headers, body }
    }

    fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string().into_bytes())
    }

    pub(super) fn page(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
    }
}

#[cfg(test)]
mod tests;
