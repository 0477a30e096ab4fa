//! UserInfo responses (OpenID Connect Core §5.3). The daemon requests userinfo only for claims that the ID token lacks.

use infra_harness::https::Answer;
use infra_harness::provider::{Endpoint, Misbehaviour};
use serde_json::{Value, json};

use crate::fixture::Expected::{Accepted, Refused, Unavailable};
use crate::fixture::{Case, Expected, Fixture, case};

/// Removes the e-mail from the ID token, so that the daemon requests userinfo.
fn userinfo_needed() -> Misbehaviour {
    Misbehaviour::default().claim("email", json!(null))
}

fn member(id: &'static str, expected: Expected, name: &'static str, value: Value) -> Case {
    let misbehaviour = userinfo_needed().json(Endpoint::UserInfo, move |body| {
        let members = body.as_object_mut().expect("an object");
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.to_owned(), value.clone());
        }
    });
    case(id, expected, misbehaviour)
}

fn answer(id: &'static str, expected: Expected, edit: fn(&mut Answer)) -> Case {
    case(id, expected, userinfo_needed().answer(Endpoint::UserInfo, edit))
}

#[test]
fn userinfo_of_other_subject_or_malformed_is_refused() {
    let differs = Refused("userinfo: subject differs");
    let malformed = Unavailable("userinfo: malformed");
    Fixture::new().run([
        member("UI-01 another subject", differs, "sub", json!("sub-bob")),
        member("UI-01 no subject", differs, "sub", json!(null)),
        member("UI-01 subjects", differs, "sub", json!(["sub-alice"])),
        member("UI-01 in capitals", differs, "sub", json!("SUB-ALICE")),
        member("UI-01 with a space", differs, "sub", json!("sub-alice ")),
        answer("UI-02 signed, but not requested", Unavailable("userinfo: a signed response"), |answer| {
            answer.set_header("content-type", "application/jwt");
            answer.body = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJzdWItYWxpY2UifQ.".to_vec();
        }),
        answer("UI-03 HTML", Unavailable("userinfo: not JSON"), |answer| {
            answer.set_header("content-type", "text/html");
        }),
        answer("UI-04 a subject twice", malformed, |answer| {
            answer.body.splice(1..1, b"\"sub\":\"sub-bob\",".iter().copied());
        }),
        answer("UI-04 a list", malformed, |answer| answer.body = b"[]".to_vec()),
        answer("UI-04 not UTF-8", malformed, |answer| answer.body = b"{\"sub\":\"\xff\"}".to_vec()),
        answer("UI-05 redirect", Unavailable("status 302"), |answer| {
            *answer = Answer::redirect("https://127.0.0.1:9/userinfo");
        }),
        answer("UI-06 401", Unavailable("status 401"), |answer| answer.status = 401),
        answer("UI-06 500", Unavailable("status 500"), |answer| answer.status = 500),
        answer("UI-07 300 kB", Unavailable("is larger than"), |answer| {
            let long = format!("\"a\":\"{}\",", "a".repeat(300_000));
            answer.body.splice(1..1, long.into_bytes());
        }),
    ]);
}

#[test]
fn userinfo_of_same_subject_is_used_without_unsafe_values() {
    Fixture::new().run([
        case("honest: userinfo is asked", Accepted, userinfo_needed()),
        member("CL-01 an e-mail that is not verified", Accepted, "email_verified", json!(false)),
        member(
            "CL-02 an e-mail with an escape is ignored",
            Accepted,
            "email",
            json!("a\u{1b}[2J@example.test"),
        ),
        member("CL-04 an e-mail that is a list is ignored", Accepted, "email", json!(["alice@example.test"])),
        member("CL-10 aggregated claims", Accepted, "_claim_sources", json!({"a": {"JWT": "e30.e30."}})),
    ]);
}
