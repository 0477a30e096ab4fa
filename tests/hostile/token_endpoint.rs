//! Invalid token responses (RFC 6749 §5, OpenID Connect Core §3.1.3.3), and unusual ones that are accepted.

use infra_harness::https::Answer;
use infra_harness::provider::{Endpoint, Misbehaviour};
use serde_json::{Value, json};

use crate::fixture::Expected::{Accepted, ClientRefused, Refused, Unavailable};
use crate::fixture::{Case, Expected, Fixture, case};

fn answer(id: &'static str, expected: Expected, edit: fn(&mut Answer)) -> Case {
    case(id, expected, Misbehaviour::default().answer(Endpoint::Token, edit))
}

fn member(id: &'static str, expected: Expected, name: &'static str, value: Value) -> Case {
    let misbehaviour = Misbehaviour::default().json(Endpoint::Token, move |body| {
        let members = body.as_object_mut().expect("an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value.clone());
        }
    });
    case(id, expected, misbehaviour)
}

fn error(id: &'static str, expected: Expected, status: u16, error: &'static str) -> Case {
    let body =
        json!({"error": error, "error_description": "canary\u{1b}[31m", "error_uri": "https://evil.example"});
    let edit = move |answer: &mut Answer| *answer = Answer::json(status, &body);
    case(id, expected, Misbehaviour::default().answer(Endpoint::Token, edit))
}

#[test]
fn invalid_token_responses_are_refused() {
    let malformed = Unavailable("token endpoint: malformed");
    let fixture = Fixture::new();
    let count = fixture.run([
        member("TE-01 no ID token", Refused("no id_token"), "id_token", json!(null)),
        member("TE-02 ID token not a text", Refused("no id_token"), "id_token", json!({"a": 1})),
        member("TE-03 ID token empty", Refused("no id_token"), "id_token", json!("")),
        member("TE-04 no access token", Refused("no access_token"), "access_token", json!(null)),
        member("TE-05 no type", Refused("token_type is not Bearer"), "token_type", json!(null)),
        member("TE-05 mac", Refused("token_type is not Bearer"), "token_type", json!("mac")),
        member("TE-05 DPoP", Refused("token_type is not Bearer"), "token_type", json!("DPoP")),
        member("TE-05 types", Refused("token_type is not Bearer"), "token_type", json!(["Bearer"])),
        member(
            "TE-06 another access token",
            Refused("access_token_hash_mismatch"),
            "access_token",
            json!("other"),
        ),
        error("TE-10 invalid_grant", Refused("invalid_grant"), 400, "invalid_grant"),
        error("TE-11 an error of its own", Refused("status 400"), 400, "canary\u{1b}[31m"),
        error("TE-11 unauthorized_client", Refused("unauthorized_client"), 400, "unauthorized_client"),
        error("TE-12 invalid_client", ClientRefused, 401, "invalid_client"),
        error("TE-12 too many", Unavailable("status 429"), 429, "slow_down"),
        error("TE-12 broken", Unavailable("status 500"), 500, "server_error"),
        error("TE-12 away", Unavailable("status 503"), 503, "temporarily_unavailable"),
        answer("TE-13 redirect", Unavailable("not JSON"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/token");
        }),
        answer("TE-13 307", Unavailable("not JSON"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/token");
            answer.status = 307;
        }),
        answer("TE-14 another authentication method", Refused("status 401"), |answer| {
            *answer = Answer::json(401, &json!({"error": "use_client_secret_post"}));
            answer.set_header("www-authenticate", "Basic realm=\"provider\"");
        }),
        answer("TE-16 HTML", Unavailable("not JSON"), |answer| {
            answer.set_header("content-type", "text/html");
        }),
        answer("TE-16 no type of content", Unavailable("not JSON"), |answer| answer.headers.clear()),
        answer("TE-17 empty", malformed, |answer| answer.body.clear()),
        answer("TE-17 a list", malformed, |answer| answer.body = b"[{}]".to_vec()),
        answer("TE-17 cut off", malformed, |answer| answer.body.truncate(40)),
        answer("TE-17 more after it", malformed, |answer| answer.body.extend(b"{}")),
        answer("TE-17 a mark before it", malformed, |answer| {
            answer.body.splice(0..0, *b"\xef\xbb\xbf");
        }),
        answer("TE-17 not UTF-8", malformed, |answer| {
            answer.body.splice(1..1, b"\"a\":\"\xff\xfe\",".iter().copied());
        }),
        answer("TE-17 UTF-16", malformed, |answer| {
            answer.body =
                String::from_utf8_lossy(&answer.body).encode_utf16().flat_map(u16::to_le_bytes).collect();
        }),
        answer("TE-17 a member twice", malformed, |answer| {
            answer.body.splice(1..1, b"\"id_token\":\"a.b.c\",".iter().copied());
        }),
        answer("TE-17 deep", malformed, |answer| {
            let deep = format!("\"a\":{}{},", "[".repeat(5000), "]".repeat(5000));
            answer.body.splice(1..1, deep.into_bytes());
        }),
        answer("TE-17 compressed, it says", malformed, |answer| {
            answer.set_header("content-encoding", "gzip");
            answer.body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        }),
        answer("TE-08 1e309", malformed, |answer| {
            answer.body.splice(1..1, b"\"x\":1e309,".iter().copied());
        }),
        answer("TE-18 1.1 MB", Unavailable("is larger than"), |answer| {
            let long = format!("\"a\":\"{}\",", "a".repeat(1_100_000));
            answer.body.splice(1..1, long.into_bytes());
        }),
        answer("TE-19 201", Unavailable("status 201"), |answer| answer.status = 201),
        answer("TE-19 204", Unavailable("not JSON"), |answer| {
            answer.status = 204;
            answer.body.clear();
            answer.headers.clear();
        }),
    ]);
    assert_eq!(count, 35);
}

#[test]
fn unusual_token_responses_are_accepted() {
    Fixture::new().run([
        member("TE-05 bEaReR", Accepted, "token_type", json!("bEaReR")),
        member(
            "TE-07 an unrequested refresh token",
            Accepted,
            "refresh_token",
            json!("canary-refresh-token"),
        ),
        member("TE-08 no expires_in", Accepted, "expires_in", json!(null)),
        member("TE-08 negative", Accepted, "expires_in", json!(-5)),
        member("TE-08 in words", Accepted, "expires_in", json!("soon")),
        member("TE-09 no scope", Accepted, "scope", json!(null)),
        member("TE-09 a wider scope", Accepted, "scope", json!("openid admin root")),
        member("TE-20 unknown members", Accepted, "session_state", json!({"a": []})),
        answer("TE-16 a parameter of the type", Accepted, |answer| {
            answer.set_header("content-type", "application/json; charset=UTF-8");
        }),
    ]);
}
