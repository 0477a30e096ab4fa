//! Provider metadata (OpenID Connect Discovery §3, §4) that is rejected before a login starts. The next login fetches
//! it again.

use infra_harness::https::{Answer, Delivery};
use infra_harness::provider::{Endpoint, Misbehaviour};
use serde_json::{Value, json};

use crate::fixture::Expected::{Accepted, NotStarted};
use crate::fixture::{Case, Expected, Fixture, case};

fn member(id: &'static str, expected: Expected, name: &'static str, value: Value) -> Case {
    let misbehaviour = Misbehaviour::default().json(Endpoint::Discovery, move |metadata| {
        let members = metadata.as_object_mut().expect("an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value.clone());
        }
    });
    case(id, expected, misbehaviour)
}

fn answer(id: &'static str, expected: Expected, edit: fn(&mut Answer)) -> Case {
    case(id, expected, Misbehaviour::default().answer(Endpoint::Discovery, edit))
}

#[test]
fn metadata_with_wrong_issuer_or_endpoints_starts_no_login() {
    let internal = NotStarted("which is not a public address");
    let no_url = NotStarted("an endpoint is not a URL");
    let not_https = NotStarted("an endpoint does not use HTTPS");
    let sets = NotStarted("authorization_endpoint contains reserved query parameters");
    Fixture::new().run_with_restarts([
        member(
            "DS-01 another issuer",
            NotStarted("issuer differs"),
            "issuer",
            json!("https://other.example"),
        ),
        member("DS-01 no issuer", NotStarted("issuer differs"), "issuer", json!(null)),
        member("DS-01 issuers", NotStarted("issuer differs"), "issuer", json!(["https://127.0.0.1"])),
        member("DS-02 http", not_https, "token_endpoint", json!("http://127.0.0.1:9/token")),
        member(
            "DS-02 http for the browser",
            not_https,
            "authorization_endpoint",
            json!("http://127.0.0.1:9/a"),
        ),
        member("DS-03 javascript", not_https, "authorization_endpoint", json!("javascript:alert(1)")),
        member("DS-03 file", not_https, "jwks_uri", json!("file:///etc/passwd")),
        member("DS-03 data", not_https, "jwks_uri", json!("data:application/json,{}")),
        member("DS-16 metadata service", internal, "token_endpoint", json!("https://169.254.169.254/token")),
        member("DS-16 as an integer", internal, "token_endpoint", json!("https://2852039166/token")),
        member("DS-16 in hexadecimal", internal, "jwks_uri", json!("https://0xa9fea9fe/keys")),
        member("DS-16 this machine", internal, "token_endpoint", json!("https://localhost:9/token")),
        member("DS-16 private", internal, "userinfo_endpoint", json!("https://10.0.0.1/userinfo")),
        member("DS-16 private, short", internal, "revocation_endpoint", json!("https://10.1/revoke")),
        member("DS-16 mapped", internal, "token_endpoint", json!("https://[::ffff:10.0.0.1]/token")),
        member("DS-16 for the browser", internal, "authorization_endpoint", json!("https://192.168.0.1/a")),
        member("DS-17 line breaks", no_url, "token_endpoint", json!("https://127.0.0.1:9/to\r\nken")),
        member("DS-17 a tab in the host", no_url, "jwks_uri", json!("https://127.0.\t0.1:9/keys")),
        member("DS-17 a space before it", no_url, "token_endpoint", json!(" https://127.0.0.1:9/token")),
        member("DS-17 a backslash", no_url, "authorization_endpoint", json!("https:\\\\127.0.0.1:9/a")),
        member("DS-04 no token endpoint", NotStarted("no token_endpoint"), "token_endpoint", json!(null)),
        member(
            "DS-04 no authorization endpoint",
            NotStarted("no authorization_endpoint"),
            "authorization_endpoint",
            json!(null),
        ),
        member("DS-04 no keys", NotStarted("no jwks_uri"), "jwks_uri", json!(null)),
        member("DS-04 not a text", NotStarted("an endpoint is not text"), "token_endpoint", json!(7)),
        member("DS-04 not a URL", NotStarted("an endpoint is not a URL"), "token_endpoint", json!("/token")),
        member(
            "DS-07 a user in it",
            NotStarted("a user"),
            "token_endpoint",
            json!("https://a:b@127.0.0.1:9/"),
        ),
        member(
            "DS-08 a fragment",
            NotStarted("fragment"),
            "authorization_endpoint",
            json!("https://127.0.0.1:9/a#b"),
        ),
        member(
            "DS-09 a redirect URI of its own",
            sets,
            "authorization_endpoint",
            json!("https://127.0.0.1:9/a?redirect_uri=https://evil.example"),
        ),
        member(
            "DS-09 another client",
            sets,
            "authorization_endpoint",
            json!("https://127.0.0.1:9/a?client_id=x"),
        ),
        member(
            "DS-13 no PKCE",
            NotStarted("the provider offers no PKCE with S256"),
            "code_challenge_methods_supported",
            json!(null),
        ),
        member(
            "DS-13 plain",
            NotStarted("the provider offers no PKCE with S256"),
            "code_challenge_methods_supported",
            json!(["plain"]),
        ),
        member(
            "DS-13 a text",
            NotStarted("the provider offers no PKCE with S256"),
            "code_challenge_methods_supported",
            json!("S256"),
        ),
        member(
            "DS-14 no code",
            NotStarted("the provider offers no response type"),
            "response_types_supported",
            json!(["id_token"]),
        ),
        member(
            "DS-15 another authentication method",
            NotStarted("clientAuthentication"),
            "token_endpoint_auth_methods_supported",
            json!(["private_key_jwt"]),
        ),
    ]);
}

#[test]
fn unreadable_metadata_starts_no_login() {
    let malformed = NotStarted("discovery: malformed");
    Fixture::new().run_with_restarts([
        answer("DS-05 redirect", NotStarted("status 302"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/elsewhere");
        }),
        answer("DS-05 308", NotStarted("status 308"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/elsewhere");
            answer.status = 308;
        }),
        answer("DS-06 404", NotStarted("status 404"), |answer| answer.status = 404),
        answer("DS-06 206", NotStarted("status 206"), |answer| answer.status = 206),
        answer("DS-10 HTML", NotStarted("not JSON"), |answer| answer.set_header("content-type", "text/html")),
        answer("DS-10 no type of content", NotStarted("not JSON"), |answer| answer.headers.clear()),
        answer("DS-11 1 MB", NotStarted("is larger than"), |answer| answer.body = vec![b' '; 1_000_000]),
        answer("DS-11 without end", NotStarted("is larger than"), |answer| {
            answer.delivery = Delivery::Endless;
        }),
        answer("DS-12 deep", malformed, |answer| {
            answer.body = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000)).into_bytes();
        }),
        answer("DS-12 issuer twice", malformed, |answer| {
            answer.body.splice(1..1, b"\"issuer\":\"https://other.example\",".iter().copied());
        }),
        answer("DS-12 a mark before it", malformed, |answer| {
            answer.body.splice(0..0, *b"\xef\xbb\xbf");
        }),
        answer("DS-12 more after it", malformed, |answer| answer.body.extend(b" x")),
        answer("DS-12 not UTF-8", malformed, |answer| {
            answer.body.splice(1..1, b"\"a\":\"\xc3\x28\",".iter().copied());
        }),
        answer("DS-12 half a surrogate", malformed, |answer| {
            answer.body.splice(1..1, br#""a":"\ud800","#.iter().copied());
        }),
        answer("DS-12 empty", malformed, |answer| answer.body.clear()),
        answer("DS-12 null", malformed, |answer| answer.body = b"null".to_vec()),
    ]);
}

#[test]
fn unusual_metadata_is_accepted() {
    Fixture::new().run_with_restarts([
        member("honest: unknown members", Accepted, "x", json!({"a": [1]})),
        member(
            "honest: unused algorithms",
            Accepted,
            "id_token_signing_alg_values_supported",
            json!(["none", "HS256"]),
        ),
        member(
            "DS-15 no authentication methods",
            Accepted,
            "token_endpoint_auth_methods_supported",
            json!(null),
        ),
        member("honest: no userinfo", Accepted, "userinfo_endpoint", json!(null)),
        answer("honest: a parameter of the type", Accepted, |answer| {
            answer.set_header("content-type", "application/json;charset=utf-8");
        }),
    ]);
}
