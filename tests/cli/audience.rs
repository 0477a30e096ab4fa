//! `infra token --audience` and `infra exec`: tokens that only one service accepts.

use std::fs;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{Ran, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::services::{self, introspect, verify};
use infra_shared::clock::{Clock, SystemClock};
use infra_shared::token_text::SessionToken;
use serde_json::{Value, json};

const WIKI: &str = "https://wiki.example.test";

fn daemon(provider: &Provider) -> Daemon {
    services::daemon(
        provider,
        &[
            &format!("{{name: wiki, audience: {WIKI}, credentials: [CREDENTIAL], allow: everyone}}"),
            "{name: payroll, allow: [{provider: okta, groups: [nobody]}]}",
        ],
    )
}

fn printed(user: &User, audience: &str) -> String {
    user.infra(["token", "--audience", audience]).run().expect(0).stdout.trim_end().to_owned()
}

/// The number of audience tokens that the daemon issued.
fn issued(daemon: &Daemon) -> usize {
    daemon.complete_log().matches("issued an audience token").count()
}

#[test]
fn login_helps_a_user_who_lost_access_to_a_service() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let kept = printed(&alice, WIKI);
    daemon.change(|configuration| {
        let nobody = "allow: [{provider: okta, groups: [nobody]}]";
        configuration.more = configuration.more.replace("allow: everyone", nobody);
    });
    daemon.restart();
    // The token is kept, and the service rejects it.
    assert_eq!(printed(&alice, WIKI), kept);
    assert_eq!(introspect(&daemon.api(), "wiki", &kept).json(), json!({"active": false}));
    assert_eq!(verify(&daemon.api(), "wiki", &kept).status, 403);
    let ran = alice.infra(["login"]).run().expect(0).stdout_is_empty();
    ran.stderr_contains(&["already signed in", "the next `infra token --audience` gets a new one"]);
    let ran = alice.infra(["token", "--audience", WIKI]).run().expect(1).stdout_is_empty();
    ran.stderr_contains(&["does not admit you"]);
}

/// Changes the stored session.
fn change_session(user: &User, change: impl Fn(&mut Value)) {
    let path = user.home().join(".infra/sessions.json");
    let mut stored: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a file")).expect("JSON");
    stored
        .get_mut("sessions")
        .and_then(Value::as_object_mut)
        .expect("an object")
        .values_mut()
        .for_each(change);
    fs::write(&path, stored.to_string()).expect("a file of the test");
}

#[test]
fn audience_token_is_cached_and_renewed_before_expiry() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    let api = daemon.api();
    login::succeed(&alice, &daemon, &provider);
    let first = printed(&alice, WIKI);
    assert_eq!(introspect(&api, "wiki", &first).json()["active"], true);
    assert_eq!(printed(&alice, WIKI), first);
    assert_eq!(issued(&daemon), 1, "the second one comes from here");
    // A cached token needs no request.
    alice.infra(["token", "--audience", WIKI, "--min-left", "5m"]).run().expect(0);
    assert_eq!(issued(&daemon), 1);

    let soon = SystemClock.now() + jiff::SignedDuration::from_secs(50);
    change_session(&alice, |session| session["audienceTokens"][WIKI]["expiresAt"] = json!(soon.to_string()));
    let second = printed(&alice, WIKI);
    assert_ne!(second, first);
    assert_eq!((verify(&api, "wiki", &first).status, verify(&api, "wiki", &second).status), (200, 200));

    // A sign-out removes the cached token here, and revokes it at the daemon.
    alice.infra(["logout"]).run().expect(0);
    let stored = fs::read_to_string(alice.home().join(".infra/sessions.json")).expect("a file");
    assert!(!stored.contains("infra_aud_"), "{stored}");
    assert_eq!(verify(&api, "wiki", &second).status, 401);
    let refused = alice.infra(["token", "--audience", WIKI]).run().expect(3);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("infra login"), "{refused:?}");
}

#[test]
fn signed_token_is_cached_and_printed_like_opaque_one() {
    let (provider, alice) = (Provider::start(), User::new());
    let service =
        format!("{{name: wiki, audience: {WIKI}, credentials: [CREDENTIAL], allow: everyone, tokens: jwt}}");
    let daemon = services::daemon(&provider, &[&service]);
    let api = daemon.api();
    login::succeed(&alice, &daemon, &provider);
    let signed = printed(&alice, WIKI);
    assert_eq!((signed.split('.').count(), signed.starts_with("eyJ")), (3, true), "{signed}");
    assert_eq!(introspect(&api, "wiki", &signed).json()["active"], true);
    assert_eq!(
        (printed(&alice, WIKI), issued(&daemon)),
        (signed.clone(), 1),
        "the second one comes from here"
    );
    let headers = alice.infra(["token", "--audience", WIKI, "--format", "headers"]).run().expect(0).json();
    assert_eq!(headers, json!({ "Authorization": format!("Bearer {signed}") }));
    let ran = alice.infra(["exec", "--audience", WIKI, "--", "printenv", "INFRA_AUDIENCE_TOKEN"]).run();
    assert_eq!(ran.expect(0).stdout.trim_end(), signed);
    let secret = signed.rsplit('.').next().expect("a signature");
    let shown = alice.infra(["token", "--audience", WIKI, "-v"]).run().expect(0);
    assert!(!shown.stderr.contains(secret) && !daemon.complete_log().contains(secret), "{shown}");

    let as_session = alice.infra(["status"]).env("INFRA_TOKEN", &signed).env("INFRA_SERVER", daemon.origin());
    let refused = as_session.run().expect(2);
    assert!(refused.stderr.contains("signed token (JWT)") && !refused.stderr.contains(secret), "{refused}");

    alice.infra(["logout"]).run().expect(0);
    let stored = fs::read_to_string(alice.home().join(".infra/sessions.json")).expect("a file");
    assert!(!stored.contains(secret), "{stored}");
    assert_eq!(verify(&api, "wiki", &signed).status, 401);
    alice.infra(["token", "--audience", WIKI]).run().expect(3).stdout_is_empty();
}

#[test]
fn each_audience_failure_has_its_exit_code() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let run = |audience: &str, exit| {
        let ran = alice.infra(["token", "--audience", audience]).run().expect(exit);
        assert!(ran.stdout.is_empty(), "{ran:?}");
        ran.stderr
    };
    assert!(run("nobody", 1).contains("no service with that audience"));
    assert!(run("payroll", 1).contains("does not admit you"));
    let too_long = alice.infra(["token", "--audience", WIKI, "--min-left", "11m"]).run().expect(2);
    assert!(too_long.stderr.contains("10 minutes"), "{too_long:?}");
    daemon.stop();
    assert!(run(WIKI, 4).contains("cannot be reached"));
    daemon.start_again();
    // After the session is revoked elsewhere, the daemon reports that.
    let session = login::token(&alice);
    assert_eq!(daemon.api().delete_as("/v1/session", &session).status, 204);
    assert!(run(WIKI, 3).contains("infra login"));
}

#[test]
fn cached_token_is_not_printed_after_remote_revocation() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let kept = printed(&alice, WIKI);
    // An unreachable daemon cannot report a revocation.
    daemon.stop();
    assert_eq!(printed(&alice, WIKI), kept);
    daemon.start_again();
    assert_eq!(printed(&alice, WIKI), kept);
    assert_eq!(daemon.api().delete_as("/v1/session", &login::token(&alice)).status, 204);
    let ran = alice.infra(["token", "--audience", WIKI]).run().expect(3);
    assert!(ran.stdout.is_empty() && ran.stderr.contains("infra login"), "{ran}");
}

#[test]
fn token_limit_is_reported_as_limit_not_as_outage() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let (api, session) = (daemon.api(), login::token(&alice));
    let kept = printed(&alice, WIKI);
    while services::request_token(&api, &session, "wiki").status == 201 {}
    // A script has got them, and keeps none.
    let script = |words: &[&str]| {
        let call = alice.infra(words).env("INFRA_TOKEN", &session).env("INFRA_SERVER", daemon.origin());
        let ran = call.run().expect(4).stdout_is_empty();
        let ran =
            ran.stderr_contains(&["issues no more tokens", "use each token for its ten minutes", "again in"]);
        assert!(!ran.stderr.contains("cannot be reached"), "{ran}");
    };
    script(&["token", "--audience", WIKI]);
    script(&["exec", "--audience", WIKI, "--", "true"]);
    script(&["kubernetes", "token", "--cluster", "wiki"]);
    assert_eq!(printed(&alice, WIKI), kept, "a kept token still works");
}

#[test]
fn environment_token_gets_audience_token_without_caching() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let script = User::new();
    let ran = script
        .infra(["token", "--audience", "wiki"])
        .env("INFRA_TOKEN", login::token(&alice))
        .env("INFRA_SERVER", daemon.origin())
        .env("INFRA_FINGERPRINT", daemon.fingerprint())
        .run()
        .expect(0);
    assert_eq!(introspect(&daemon.api(), "wiki", ran.stdout.trim_end()).json()["active"], true);
    assert!(!script.home().join(".infra/sessions.json").exists());
}

#[test]
fn empty_variable_never_uses_the_stored_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let commands = [
        &["token"][..],
        &["token", "--audience", WIKI],
        &["exec", "--audience", WIKI, "--", "true"],
        &["kubernetes", "token", "--cluster", "wiki"],
        &["status"],
        &["sessions"],
        &["logout"],
        &["login"],
    ];
    for variable in ["INFRA_TOKEN", "INFRA_SERVER", "INFRA_FINGERPRINT", "INFRA_CA_FILE"] {
        for words in commands {
            let ran = alice.infra(words).env("INFRA_SERVER", daemon.origin()).env(variable, "").run();
            ran.expect(2)
                .stdout_is_empty()
                .stderr_contains(&[&format!("{variable} is set, but empty"), "unset it"]);
        }
    }
    for words in [
        &["token", "--audience", ""][..],
        &["exec", "--audience", "", "--", "true"],
        &["kubernetes", "token", "--cluster", ""],
    ] {
        let ran = alice.infra(words).run().expect(2).stdout_is_empty();
        ran.stderr_contains(&["empty"]);
    }
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn headers_are_one_json_object_with_an_audience_token() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let headers = ["token", "--audience", WIKI, "--format", "headers"];
    let printed = alice.infra(headers).run().expect(0).stdout;
    let object: Value = serde_json::from_str(&printed).expect("JSON");
    let token = object["Authorization"].as_str().and_then(|value| value.strip_prefix("Bearer "));
    let token = token.expect("a token");
    assert_eq!(object, json!({"Authorization": format!("Bearer {token}")}));
    assert!(printed.ends_with("}\n") && printed.lines().count() == 1, "{printed}");
    assert_eq!(introspect(&daemon.api(), "wiki", token).json()["active"], true);

    // The session token has no such format.
    let ran = alice.infra(["token", "--format", "headers"]).run().expect(2).stdout_is_empty();
    ran.stderr_contains(&["--audience"]);
    alice.infra(["token", "--format", "text"]).run().expect(0);
    alice.infra(["logout"]).run().expect(0);
    alice.infra(headers).run().expect(3).stdout_is_empty().stderr_contains(&["infra login"]);
}

#[test]
fn exec_passes_audience_token_but_no_session_token() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let session = login::token(&alice);
    let as_script = |words: &[&str]| {
        alice.infra(words).env("INFRA_TOKEN", &session).env("INFRA_SERVER", daemon.origin()).run()
    };
    let ran = as_script(&["exec", "--audience", "wiki", "--", "env"]).expect(0);
    let of = |name: &str| ran.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let token = of("INFRA_AUDIENCE_TOKEN").expect("a token");
    assert_eq!(introspect(&daemon.api(), "wiki", token).json()["active"], true);
    assert!(!ran.stdout.contains(&session), "the command has the session's token");

    let ran =
        alice.infra(["exec", "--audience", "wiki", "--variable", "TOKEN", "--", "printenv", "TOKEN"]).run();
    assert!(ran.expect(0).stdout.starts_with("infra_aud_"));
    let ran = alice.infra(["exec", "--audience", "wiki", "--", "sh", "-c", "exit 42"]).run();
    ran.expect(42);
    let ran = alice.infra(["exec", "--audience", "wiki", "--", "no-such-program"]).run().expect(1);
    assert!(ran.stderr.contains("no-such-program"), "{ran:?}");
    alice.infra(["exec", "--audience", "wiki"]).run().expect(2);
    for variable in ["INFRA_TOKEN", "PATH"] {
        alice.infra(["exec", "--audience", "wiki", "--variable", variable, "--", "env"]).run().expect(2);
    }
    let ran = alice.infra(["exec", "--audience", "nobody", "--", "touch", "ran"]).run().expect(1);
    assert!(ran.stdout.is_empty() && !alice.home().join("ran").exists(), "it ran without a token");
}

#[test]
fn token_of_the_environment_that_is_rejected_is_to_be_replaced() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let audience_token = printed(&alice, WIKI);
    let revoked = login::token(&alice);
    assert_eq!(daemon.api().delete_as("/v1/session", &revoked).status, 204);
    let unknown = SessionToken::mint().expose().to_owned();
    let commands = [
        &["status"][..],
        &["status", "--all"],
        &["status", "--quiet"],
        &["token", "--min-left", "1m"],
        &["token", "--audience", WIKI],
        &["exec", "--audience", WIKI, "--", "true"],
        &["kubernetes", "token", "--cluster", "wiki"],
        &["sessions"],
        &["sessions", "revoke", "--others"],
        &["sessions", "revoke", "f3Kd9sQ1Zx"],
    ];
    for token in [&revoked, &unknown] {
        for words in commands {
            let call = alice.infra(words).env("INFRA_TOKEN", token).env("INFRA_SERVER", daemon.origin());
            let ran = call.run().expect(3);
            let output = format!("{}{}", ran.stdout, ran.stderr);
            assert!(output.contains("set INFRA_TOKEN to") && output.contains("or unset it and"), "{ran}");
            let reason = if *token == revoked { "was revoked" } else { "INFRA_TOKEN is not valid" };
            assert!(output.contains(reason), "the reason is not `{reason}`\n{ran}");
            // The server received the token, and may be the wrong one.
            let revocation = SessionToken::parse(&unknown).expect("a token");
            let revocation = format!("`infra sessions revoke {}`", revocation.id());
            assert_eq!(output.contains(&revocation), *token == unknown, "{ran}");
        }
    }
    // A token for one service is none of a session, and is called what it is.
    for words in commands.iter().chain(&[&["logout"][..], &["login"]]) {
        let call = alice.infra(*words).env("INFRA_TOKEN", &audience_token);
        let ran = call.env("INFRA_SERVER", daemon.origin()).run().expect(2).stdout_is_empty();
        let ran = ran.stderr_contains(&["an audience token (`infra_aud_…`)", "unset"]);
        assert!(!ran.to_string().contains(&audience_token), "{ran}");
    }
}

#[test]
fn time_that_no_session_lasts_for_is_told_with_the_longest() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let exec =
        |duration| alice.infra(["exec", "--audience", WIKI, "--min-left", duration, "--", "true"]).run();
    exec("9m").expect(0);
    exec("10m")
        .expect(2)
        .stderr_contains(&["an audience token is valid for at most 10 minutes", "--min-left 9m"]);
    let ran = alice.infra(["token", "--min-left", "12h"]).run().expect(2).stdout_is_empty();
    let ran = ran.stderr_contains(&["no session at", "lasts 12 h", "each expires 12 h after the sign-in"]);
    assert!(!ran.stderr.contains("infra login"), "{ran}");
    // One that the daemon has to be asked about.
    let token = login::token(&alice);
    let call = alice.infra(["token", "--min-left", "1000h"]).env("INFRA_TOKEN", token);
    call.env("INFRA_SERVER", daemon.origin())
        .run()
        .expect(2)
        .stderr_contains(&["each expires 12 h after the sign-in"]);

    daemon
        .change(|configuration| configuration.sessions = "{lifetime: 5m, inactivityTimeout: 5m}".to_owned());
    daemon.restart();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    alice.infra(["login", "--force", "--no-keyring"]).browser(&browser).run().expect(0);
    exec("9m").expect(2).stderr_contains(&["lasts 9 min", "each expires 5 min after the sign-in"]);
    exec("2m").expect(0);
}

#[test]
fn min_left_beyond_the_inactivity_timeout_is_wrong_usage() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    daemon
        .change(|configuration| configuration.sessions = "{lifetime: 12h, inactivityTimeout: 4h}".to_owned());
    daemon.restart();
    login::succeed(&alice, &daemon, &provider);
    let refused = |ran: Ran| {
        let ran = ran.expect(2).stdout_is_empty().stderr_contains(&["no unused session at", "within 4 h of"]);
        assert!(!ran.stderr.contains("infra login"), "a sign-in does not help\n{ran}");
    };
    refused(alice.infra(["token", "--min-left", "5h"]).run());
    refused(alice.infra(["token", "--min-left", "4h"]).run());
    let token = login::token(&alice);
    let call = alice.infra(["token", "--min-left", "5h"]).env("INFRA_TOKEN", token);
    refused(call.env("INFRA_SERVER", daemon.origin()).run());
    alice.infra(["token", "--min-left", "3h"]).run().expect(0);
}

#[test]
fn word_after_token_is_suggested_as_a_service() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let suggestion = "`infra token --audience wiki` if that is a service";
    alice.infra(["token", "wiki"]).run().expect(3).stderr_contains(&[suggestion]);
    let ran = alice.infra(["token", "wiki"]).env("INFRA_SERVER", daemon.origin()).run().expect(2);
    ran.stderr_contains(&[suggestion]);
    let ran = alice.infra(["token", "wiki.example.test"]).run().expect(3);
    assert!(!ran.stderr.contains("--audience"), "{ran}");
}
