//! The development provider rejects what a real one rejects.

use infra_shared::clock::SystemClock;

use super::*;

const REDIRECT_URI: &str = "http://127.0.0.1:8301/callback";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// The challenge of the verifier above (RFC 7636 appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn provider() -> Provider {
    let client = Client {
        id: "client".to_owned(),
        secret: SecretString::from("s+cret:%"),
        redirect_uris: vec![REDIRECT_URI.to_owned()],
    };
    Provider::new("http://127.0.0.1:1".to_owned(), client, Arc::new(SystemClock))
}

fn get(provider: &mut Provider, path: &str, query: &str, authorization: Option<&str>) -> Answer {
    let authorization = authorization.map(str::to_owned);
    provider.answer(&Asked { method: "GET", path, query, authorization, body: "" })
}

fn post(provider: &mut Provider, path: &str, authorization: Option<&str>, body: &[(&str, &str)]) -> Answer {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(body).finish();
    let authorization = authorization.map(str::to_owned);
    provider.answer(&Asked { method: "POST", path, query: "", authorization, body: &body })
}

fn request() -> String {
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("client_id", "client"),
            ("redirect_uri", REDIRECT_URI),
            ("response_type", "code"),
            ("scope", "openid offline_access"),
            ("state", "s"),
            ("nonce", "n"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ])
        .finish()
}

fn location(answer: &Answer) -> Parameters {
    let location = answer.headers.iter().find(|(name, _)| *name == "Location").expect("a redirect");
    parameters(Url::parse(&location.1).expect("a URL").query().expect("a query")).expect("no doubles")
}

/// Signs in and returns the response's parameters.
fn sign_in(provider: &mut Provider, field: (&str, &str)) -> Parameters {
    let page = get(provider, "/v1/authorize", &request(), None);
    let html = String::from_utf8(page.body).expect("text");
    let (_, rest) = html.split_once("name=\"request\" value=\"").expect("the hidden field");
    let (name, _) = rest.split_once('"').expect("its end");
    location(&post(provider, "/sign-in", None, &[("request", name), field]))
}

fn exchange(provider: &mut Provider, code: &str, changes: &[(&'static str, &'static str)]) -> (u16, Value) {
    let mut form = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", REDIRECT_URI),
        ("code_verifier", VERIFIER),
        ("client_id", "client"),
        ("client_secret", "s+cret:%"),
    ];
    for (name, value) in changes {
        form.retain(|(other, _)| other != name);
        form.push((name, value));
    }
    let answer = post(provider, "/v1/token", None, &form);
    (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
}

#[test]
fn code_is_exchanged_once_and_refresh_token_rotates() {
    let mut provider = provider();
    let response = sign_in(&mut provider, ("user", "bob"));
    assert_eq!((response["state"].as_str(), response["iss"].as_str()), ("s", "http://127.0.0.1:1"));
    let (status, tokens) = exchange(&mut provider, &response["code"], &[]);
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(exchange(&mut provider, &response["code"], &[]).0, 400);

    let bearer = format!("Bearer {}", tokens["access_token"].as_str().expect("a token"));
    let user = get(&mut provider, "/v1/userinfo", "", Some(&bearer));
    let user: Value = serde_json::from_slice(&user.body).expect("JSON");
    assert_eq!((user["sub"].as_str(), user["groups"][1].as_str()), (Some("dev-bob"), Some("support")));
    assert_eq!(get(&mut provider, "/v1/userinfo", "", Some("Bearer x")).status, 401);

    let refresh = tokens["refresh_token"].as_str().expect("a refresh token");
    // RFC 6749 §2.3.1: `s+cret:%` form-encoded.
    let basic = format!("Basic {}", BASE64_STANDARD.encode("client:s%2Bcret%3A%25"));
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    assert_eq!(post(&mut provider, "/v1/token", Some(&basic), &form).status, 200);
    assert_eq!(post(&mut provider, "/v1/token", Some(&basic), &form).status, 400);
}

#[test]
fn cancelled_sign_in_is_denied() {
    let response = sign_in(&mut provider(), ("cancel", "1"));
    assert_eq!(response["error"], "access_denied");
    assert_eq!(sign_in(&mut provider(), ("user", "mallory"))["error"], "access_denied");
}

#[test]
fn exchange_with_any_wrong_field_is_rejected() {
    for (change, status) in [
        (("code_verifier", "another"), 400),
        (("redirect_uri", "http://127.0.0.1:8302/callback"), 400),
        (("client_secret", "wrong"), 401),
        (("client_id", "other"), 401),
        (("grant_type", "password"), 400),
        (("code", "guessed"), 400),
    ] {
        let mut provider = provider();
        let response = sign_in(&mut provider, ("user", "alice"));
        assert_eq!(exchange(&mut provider, &response["code"], &[change]).0, status, "{change:?}");
    }
}

#[test]
fn request_with_unknown_redirect_uri_is_not_redirected() {
    let query = request().replace("8301", "8302");
    let answer = get(&mut provider(), "/v1/authorize", &query, None);
    assert_eq!(answer.status, 400);
    assert!(answer.headers.iter().all(|(name, _)| *name != "Location"));
    for (from, to, error) in [
        ("response_type=code", "response_type=token", "unsupported_response_type"),
        ("S256", "plain", "invalid_request"),
        ("scope=openid", "scope=x", "invalid_scope"),
    ] {
        let answer = get(&mut provider(), "/v1/authorize", &request().replace(from, to), None);
        assert_eq!(location(&answer)["error"], error);
    }
    assert_eq!(get(&mut provider(), "/v1/authorize", &format!("{}&state=x", request()), None).status, 400);
}
