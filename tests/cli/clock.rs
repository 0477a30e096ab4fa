//! Different clocks: the remaining time follows the daemon's clock, and `infra` reports a wrong local clock.

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::https::{Answer, Server};
use infra_harness::program::User;
use infra_harness::provider::Provider;
use infra_harness::{login, peers};
use infra_shared::api::ProblemCode;
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::token_text::{AudienceToken, SessionToken};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

#[test]
fn time_left_is_the_daemons_and_wrong_clock_is_reported() {
    for (year, direction) in [("2016", "ahead of"), ("2056", "behind")] {
        let authority = Authority::new();
        let server = Server::start(authority.issue(), move |_| {
            let at = |time: &str| format!("{year}-01-01T{time}Z");
            let session = json!({
                "id": "3De8gPGcmq", "createdAt": at("08:00:00"), "expiresAt": at("20:00:00"),
                "idleExpiresAt": at("12:00:00"),
            });
            let user = json!({
                "name": null, "email": null, "groups": [], "provider": "okta",
                "issuer": "https://okta.test", "subject": "00u1",
            });
            std::future::ready(Answer::json(
                200,
                &json!({"session": session, "user": user, "now": at("11:00:00")}),
            ))
        });
        let user = User::new();
        let call = |arguments: &[&str]| {
            user.infra(arguments)
                .env("INFRA_SERVER", format!("https://127.0.0.1:{}", server.port()))
                .env("INFRA_FINGERPRINT", authority.pin().to_string())
                .env("INFRA_TOKEN", SessionToken::mint().expose())
                .run()
                .expect(0)
        };
        let json = call(&["status", "--json"]).stderr_contains(&[direction, "the server's"]).json();
        assert_eq!(json["session"]["secondsLeft"], 3600, "{json}");
        let offset = json["clockOffsetSeconds"].as_i64().expect("a number");
        assert_eq!(offset < 0, year == "2016", "{json}");
        let text = call(&["status"]).stdout;
        assert!(text.contains("(1 h left)"), "{text}");
    }
}

#[test]
fn stored_session_expires_by_the_daemons_clock() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    daemon.stop();
    let hour = SignedDuration::from_hours(1);
    // By the local clock one hour is left; by the daemon's, two hours ahead, the session expired an hour ago.
    set(&alice, 7200, hour);
    alice.infra(["token"]).run().expect(3).stdout_is_empty();
    assert_eq!(offline(&alice, 3)["state"], "expired");
    // The reverse case.
    set(&alice, -7200, -hour);
    alice.infra(["token"]).run().expect(0);
    let left = offline(&alice, 0)["session"]["secondsLeft"].as_i64().expect("a number");
    assert!((3000..=3600).contains(&left), "{left} s");
}

#[test]
fn offline_logout_survives_a_fast_clock() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    daemon.stop();
    // By the local clock, two hours ahead of the daemon's, the session expired an hour ago.
    set(&alice, -7200, -SignedDuration::from_hours(1));
    alice.infra(["logout"]).run().expect(7);
    daemon.start_again();
    alice.infra(["status"]).run().expect(3);
    assert_eq!(daemon.api().get_as("/v1/session", &token).problem().code, ProblemCode::SessionRevoked);
}

#[test]
fn kubernetes_token_expires_by_the_local_clock() {
    for year in ["2016", "2056"] {
        let authority = Authority::new();
        let server = Server::start(authority.issue(), move |_| {
            let at = |time: &str| format!("{year}-01-01T{time}Z");
            let token = AudienceToken::mint();
            std::future::ready(Answer::json(
                201,
                &json!({
                    "token": token.expose(), "audience": "prod", "expiresAt": at("11:10:00"), "now": at("11:00:00"),
                }),
            ))
        });
        let user = User::new();
        let call = user
            .infra(["kubernetes", "token", "--cluster", "prod"])
            .env("INFRA_SERVER", format!("https://127.0.0.1:{}", server.port()))
            .env("INFRA_FINGERPRINT", authority.pin().to_string())
            .env("INFRA_TOKEN", SessionToken::mint().expose());
        let credential = call.run().expect(0).json();
        let expires = credential["status"]["expirationTimestamp"].as_str().expect("a time");
        let expires: Timestamp = expires.parse().expect("a time");
        let left = expires.duration_since(SystemClock.now()).as_secs();
        assert!((1..=600).contains(&left), "{left} s");
    }
}

#[test]
fn offset_that_a_wrong_clock_measured_is_forgotten() {
    if peers::find_program("faketime").is_none() {
        return;
    }
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let hour = SignedDuration::from_hours(1);
    for wrong in ["+10d", "+3h"] {
        let call = alice.infra(["status", "--json"]).under(["faketime", "-f", wrong]);
        let status = call.run().expect(0).stderr_contains(&["ahead of the server's"]).json();
        assert!(status["clockOffsetSeconds"].as_i64().is_some_and(|offset| offset < -10_000), "{status}");
        let kept = alice.file("sessions.json").expect("a session");
        assert!(!kept.contains("\"clockOffsetSeconds\":0"), "the offset is not stored\n{kept}");
        daemon.stop();
        // The clock is right again: what ended an hour ago has ended.
        end_at(&alice, -hour);
        alice.infra(["token"]).run().expect(3).stdout_is_empty();
        let shown = offline(&alice, 3);
        assert_eq!(
            (shown["state"].as_str(), shown["clockOffsetSeconds"].as_i64()),
            (Some("expired"), Some(0))
        );
        // And the other way round, while a right offset is stored.
        end_at(&alice, hour);
        alice.infra(["token"]).run().expect(0);
        daemon.start_again();
        alice.infra(["status"]).run().expect(0);
    }
}

fn offline(alice: &User, code: i32) -> Value {
    alice.infra(["status", "--offline", "--json"]).run().expect(code).json()
}

/// Stores that the daemon's clock is `offset` seconds ahead, and that both limits are `left` from now by the
/// local clock.
fn set(alice: &User, offset: i64, left: SignedDuration) {
    end_at(alice, left);
    alice.edit_session(|session| session["clockOffsetSeconds"] = offset.into());
}

/// Stores that both limits are `left` after the session was opened, a moment ago.
fn end_at(alice: &User, left: SignedDuration) {
    alice.edit_session(|session| {
        let created = session.pointer("/session/createdAt").and_then(Value::as_str).expect("a time");
        let now: Timestamp = created.parse().expect("a time");
        let end = now.checked_add(left).expect("a time").to_string();
        for limit in ["/session/expiresAt", "/session/idleExpiresAt"] {
            *session.pointer_mut(limit).expect("a limit") = end.as_str().into();
        }
    });
}
