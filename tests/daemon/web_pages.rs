//! Web pages in a user's browser cannot make the daemon do anything. Browsers send the page's origin in `Origin`.

use infra_daemon::api::routes;
use infra_harness::api::Answered;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_harness::services::{CREDENTIAL, credential_in, token};
use infra_shared::api::ProblemCode;
use serde_json::json;

/// Routes that reveal nothing, or that a reverse proxy calls with the headers of the request that it checks.
/// Each with its status, which is the same without an origin.
const OPEN: [(&str, u16); 8] = [
    ("/v1/server", 200),
    ("/v1/jwks", 200),
    ("/.well-known/openid-configuration", 200),
    ("/v1/verify/{service}", 200),
    ("/v1/verify/{service}/", 200),
    ("/v1/verify/{service}/{*rest}", 200),
    ("/healthz", 204),
    ("/readyz", 204),
];

#[test]
fn web_pages_are_refused_and_leave_no_browser_state() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let credential = credential_in(daemon.directory());
    daemon.change(|configuration| {
        configuration.more = format!(
            "services:\n- {{name: wiki, credentials: ['{credential}'], allow: everyone}}\n\
             - {{name: prod, kind: kubernetes, tokens: jwt, credentials: ['{credential}'], allow: everyone}}\n"
        );
    });
    daemon.restart();
    let api = daemon.api();
    let session = login::over_http(&daemon, &provider);
    // The session is cached, so the fast path answers.
    assert_eq!(api.get_as("/v1/session", &session).status, 200);
    let for_wiki = token(&api, &session, "wiki");
    let mut refused = 0;
    for route in routes() {
        let method = if route.method == "*" { "GET" } else { route.method };
        let path =
            route.path.replace("{service}", "wiki").replace("{*rest}", "a").replace("{cluster}", "prod");
        let path = path.replace("{id}", "0123456789");
        let mut request = api.request(method, &path).header("origin", "https://page.test");
        request = match route.path {
            "/v1/introspect" => request.basic_auth("wiki", Some(CREDENTIAL)).form(&[("token", &session)]),
            path if path.starts_with("/v1/verify/") => request.bearer_auth(&for_wiki),
            path if path.ends_with("tokenreview") => request.bearer_auth(CREDENTIAL).json(&json!({})),
            _ if method == "POST" => request.bearer_auth(&session).json(&json!({})),
            _ => request.bearer_auth(&session),
        };
        let answered = Answered::of(request);
        let names: Vec<&str> = answered.headers.keys().map(reqwest::header::HeaderName::as_str).collect();
        let is_browser_state = |name: &&str| *name == "set-cookie" || name.starts_with("access-control-");
        assert!(!names.iter().any(is_browser_state), "{method} {path}: {names:?}");
        if let Some((_, status)) = OPEN.iter().find(|(path, _)| *path == route.path) {
            assert_eq!(answered.status, *status, "{method} {path}: {answered:?}");
            continue;
        }
        assert_eq!(answered.problem().code, ProblemCode::BadRequest, "{method} {path}");
        refused += 1;
    }
    assert_eq!(refused + OPEN.len(), routes().count());
    assert_eq!(api.get_as("/v1/session", &session).status, 200, "a page ended the session");
    // A preflight request (Fetch, "CORS-preflight request") is not granted either.
    let preflight = api.request("OPTIONS", "/v1/session").header("origin", "https://page.test");
    let answered = Answered::of(preflight.header("access-control-request-method", "DELETE"));
    assert_eq!((answered.status, answered.header("access-control-allow-origin")), (405, None));
}
