//! What each endpoint answers to a session of a login, and to a session that it delegated.

use axum::body::to_bytes;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_shared::api::{DelegationResponse, LoginMethod, Problem, ProblemCode, User};
use infra_shared::clock::Clock;
use infra_shared::token_text::SessionToken;
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::identity::{Provider, ProviderSettings};
use crate::store::{ClientInfo, NewSession, TokenHash};

/// What an endpoint answers to a session of a login, and to a delegated one.
const ANSWERS: [(&str, &str, [u16; 2]); 12] = [
    ("GET", "/v1/session", [200, 200]),
    ("*", "/v1/verify/{service}", [200, 200]),
    ("*", "/v1/verify/{service}/", [200, 200]),
    ("*", "/v1/verify/{service}/{*rest}", [200, 200]),
    ("POST", "/v1/introspect", [200, 200]),
    ("POST", "/v1/kubernetes/{cluster}/tokenreview", [200, 200]),
    ("DELETE", "/v1/session", [204, 204]),
    ("GET", "/v1/sessions", [200, 403]),
    ("DELETE", "/v1/sessions", [200, 403]),
    ("DELETE", "/v1/sessions/{id}", [204, 403]),
    ("POST", "/v1/tokens", [201, 201]),
    ("POST", "/v1/delegations", [201, 403]),
];

/// The API with a provider, and its store.
struct Fixture {
    router: Router,
    store: Store,
    _directory: TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let provider =
            Provider::new(ProviderSettings::unreachable(), Backends::built_in(), Arc::new(SystemClock));
        let (router, store, directory) = api_with(vec![provider.expect("a provider")]).await;
        Self { router, store, _directory: directory }
    }

    /// A session as a login opens it.
    async fn open_session(&self) -> SessionToken {
        let (token, now) = (SessionToken::mint(), SystemClock.now());
        let settings = ProviderSettings::unreachable();
        let session = NewSession {
            id: token.id().clone(),
            token_hash: TokenHash::of(&token),
            user: User {
                name: Some("Alice".to_owned()),
                email: Some("alice@example.com".to_owned()),
                groups: Vec::new(),
                provider: settings.name,
                issuer: settings.issuer,
                subject: "00u1".to_owned(),
            },
            email_verified: true,
            client_info: ClientInfo { login_method: LoginMethod::Browser, ..ClientInfo::default() },
            refresh_token: None,
            delegation: None,
            created_at: now,
            expires_at: now + SignedDuration::from_hours(12),
        };
        self.store.open_session(session, 48).await.expect("stored");
        token
    }

    async fn send(&self, request: axum::http::request::Builder, body: &str) -> Response {
        let request = request.extension(PeerAddress((std::net::Ipv4Addr::LOCALHOST, 1).into()));
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        self.router.clone().oneshot(request).await.expect("a response")
    }

    async fn delegate(&self, token: &SessionToken, body: &Value) -> Response {
        let request = Request::builder().method("POST").uri("/v1/delegations");
        let request = request.header("authorization", format!("Bearer {}", token.expose()));
        self.send(request.header("content-type", "application/json"), &body.to_string()).await
    }

    /// A session that `parent` delegates for the service `wiki`.
    async fn delegated(&self, parent: &SessionToken) -> SessionToken {
        let response = self.delegate(parent, &wanted(&["wiki", "prod"])).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        let opened: DelegationResponse = serde_json::from_value(json_of(response).await).expect("a session");
        SessionToken::parse(opened.token.expose_secret()).expect("a session token")
    }

    /// Calls an endpoint with the token of a session. `other` is another session of the user.
    async fn call(&self, route: &Route, token: &SessionToken, other: &SessionToken) -> Response {
        let path = route.path.replace("{service}", "wiki").replace("{cluster}", "prod");
        let path = path.replace("{*rest}", "a/b").replace("{id}", other.id().as_str());
        let query = if path == "/v1/sessions" && route.method == "DELETE" { "?which=others" } else { "" };
        let method = if route.method == "*" { "GET" } else { route.method };
        let request = Request::builder().method(method).uri(format!("{path}{query}"));
        let of_user = format!("Bearer {}", token.expose());
        let (authorization, kind, body) = match route.path {
            "/v1/introspect" => {
                let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("wiki:{CREDENTIAL}")));
                (basic, "application/x-www-form-urlencoded", format!("token={}", token.expose()))
            }
            path if path.ends_with("/tokenreview") => {
                let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                                    "spec": {"token": token.expose()}});
                (format!("Bearer {CREDENTIAL}"), "application/json", review.to_string())
            }
            "/v1/tokens" => (of_user, "application/json", json!({"audience": "wiki"}).to_string()),
            "/v1/delegations" => (of_user, "application/json", wanted(&["wiki"]).to_string()),
            _ => (of_user, "text/plain", String::new()),
        };
        self.send(request.header("authorization", authorization).header("content-type", kind), &body).await
    }
}

fn wanted(audiences: &[&str]) -> Value {
    json!({"audiences": audiences, "lifetimeSeconds": 600, "label": "agent"})
}

async fn json_of(response: Response) -> Value {
    let bytes = to_bytes(response.into_body(), 1 << 16).await.expect("a body");
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// A new endpoint needs a decision here.
#[tokio::test]
async fn delegated_session_is_refused_by_each_endpoint_of_owner() {
    let fixture = Fixture::new().await;
    for Endpoint { route, .. } in ENDPOINTS.iter().filter(|it| it.route.requires_credentials) {
        let name = format!("{} {}", route.method, route.path);
        let answers = ANSWERS.iter().find(|(method, path, _)| (*method, *path) == (route.method, route.path));
        let (_, _, [of_login, of_delegated]) = answers.unwrap_or_else(|| panic!("{name} is not decided"));
        let (parent, other) = (fixture.open_session().await, fixture.open_session().await);
        let delegated = fixture.delegated(&parent).await;
        // First, because some requests end the sessions.
        let response = fixture.call(route, &delegated, &other).await;
        assert_eq!(response.status().as_u16(), *of_delegated, "{name}, delegated");
        if *of_delegated == 403 {
            let problem: Problem = serde_json::from_value(json_of(response).await).expect("a problem");
            assert_eq!(problem.code, ProblemCode::Delegated, "{name}");
            for session in [&parent, &delegated, &other] {
                let stored = fixture.store.find_session(session.id()).await.expect("an answer");
                assert!(stored.expect("a row").ended.is_none(), "{name}");
            }
        }
        let response = fixture.call(route, &parent, &other).await;
        assert_eq!(response.status().as_u16(), *of_login, "{name}, of a login");
    }
}

#[tokio::test]
async fn delegated_session_is_refused_tokens_for_other_services() {
    let fixture = Fixture::new().await;
    let parent = fixture.open_session().await;
    let response = fixture.delegate(&parent, &wanted(&["prod"])).await;
    let opened: DelegationResponse = serde_json::from_value(json_of(response).await).expect("a session");
    let delegated = SessionToken::parse(opened.token.expose_secret()).expect("a session token");
    let find = |path: &str| ENDPOINTS.iter().find(|it| it.route.path == path).expect("an endpoint").route;
    let response = fixture.call(&find("/v1/tokens"), &delegated, &parent).await;
    let problem: Problem = serde_json::from_value(json_of(response).await).expect("a problem");
    assert_eq!((problem.status, problem.code), (403, ProblemCode::Delegated));
    // Nor does the service accept the session itself.
    let response = fixture.call(&find("/v1/verify/{service}"), &delegated, &parent).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn services_learn_who_acts_for_the_user() {
    let fixture = Fixture::new().await;
    let parent = fixture.open_session().await;
    let delegated = fixture.delegated(&parent).await;
    let find = |method: &str, path: &str| {
        let endpoint = ENDPOINTS.iter().find(|it| (it.route.method, it.route.path) == (method, path));
        endpoint.expect("an endpoint").route
    };
    let introspect = find("POST", "/v1/introspect");
    let of_login = json_of(fixture.call(&introspect, &parent, &parent).await).await;
    assert_eq!((&of_login["active"], &of_login["act"]), (&json!(true), &Value::Null), "{of_login}");
    let shown = json_of(fixture.call(&introspect, &delegated, &parent).await).await;
    assert_eq!(shown["act"], json!({"sub": "delegate:agent", "sid": delegated.id()}), "{shown}");
    assert_eq!((&shown["sub"], &shown["sid"]), (&json!("00u1"), &json!(delegated.id())), "{shown}");

    let verify = find("*", "/v1/verify/{service}");
    for (token, actor) in [(&parent, ""), (&delegated, "delegate%3Aagent")] {
        let response = fixture.call(&verify, token, &parent).await;
        assert_eq!(response.headers().get("x-infra-actor").expect("a header"), actor);
    }
    let review = find("POST", "/v1/kubernetes/{cluster}/tokenreview");
    let extra = |review: &Value| review["status"]["user"]["extra"].clone();
    let of_login = json_of(fixture.call(&review, &parent, &parent).await).await;
    assert_eq!(extra(&of_login), json!({"infra.session/id": [parent.id()]}), "{of_login}");
    let shown = json_of(fixture.call(&review, &delegated, &parent).await).await;
    let expected = json!({"infra.session/actor": ["delegate:agent"], "infra.session/id": [delegated.id()]});
    assert_eq!(extra(&shown), expected, "{shown}");
}

#[tokio::test]
async fn delegation_needs_known_services_a_label_and_a_lifetime() {
    let fixture = Fixture::new().await;
    let parent = fixture.open_session().await;
    let many: Vec<String> = vec!["wiki".to_owned(); 17];
    for (body, code) in [
        (wanted(&["nowhere"]), ProblemCode::NotFound),
        (wanted(&["wiki", "nowhere"]), ProblemCode::NotFound),
        (wanted(&[]), ProblemCode::BadRequest),
        (json!({"audiences": many, "lifetimeSeconds": 600, "label": "agent"}), ProblemCode::BadRequest),
        (json!({"audiences": ["wiki"], "lifetimeSeconds": 0, "label": "agent"}), ProblemCode::BadRequest),
        (json!({"audiences": ["wiki"], "lifetimeSeconds": -1, "label": "agent"}), ProblemCode::BadRequest),
        (json!({"audiences": ["wiki"], "lifetimeSeconds": 600, "label": "a b"}), ProblemCode::BadRequest),
        (json!({"audiences": ["wiki"], "lifetimeSeconds": 600, "label": ""}), ProblemCode::BadRequest),
        (json!({"audiences": ["wiki"], "lifetimeSeconds": 600}), ProblemCode::BadRequest),
        (
            json!({"audiences": ["wiki"], "lifetimeSeconds": 600, "label": "agent", "parent": "x"}),
            ProblemCode::BadRequest,
        ),
    ] {
        let response = fixture.delegate(&parent, &body).await;
        let problem: Problem = serde_json::from_value(json_of(response).await).expect("a problem");
        assert_eq!(problem.code, code, "{body}");
    }
    let response = fixture.delegate(&parent, &wanted(&["wiki", "wiki"])).await;
    let opened = json_of(response).await;
    let delegation = json!({"parent": parent.id(), "audiences": ["wiki"], "label": "agent"});
    assert_eq!(opened["session"]["delegation"], delegation, "{opened}");
}
