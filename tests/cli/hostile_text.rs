//! Hundreds of hostile texts in every field of a server or an identity provider: terminal, JSON, log and
//! browser page show them as plain text, without side effects.

use std::time::Duration;

use infra_harness::daemon::{Daemon, MANY_LOGINS};
use infra_harness::hostile_daemon::{Answers, HostileDaemon, Words};
use infra_harness::hostile_text::{all, assert_inert};
use infra_harness::login::Started;
use infra_harness::program::{Ran, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use regex_lite::Regex;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Each round starts with a text this many after the previous one, and later fields use the following texts.
const STEP: usize = 5;
/// One worker per core.
const WORKERS: usize = 2;

#[test]
fn server_texts_are_plain_in_terminal_json_and_page() {
    let texts = all();
    let tags = tags(&honest_page(&texts));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (texts, tags) = (&texts, &tags);
            scope.spawn(move || {
                let (daemon, alice) = (HostileDaemon::start(), User::new());
                for first in (worker * STEP..texts.len()).step_by(WORKERS * STEP) {
                    sign_in(&alice, &daemon, Words::from(texts, first), tags);
                    check_status(&alice, &daemon, &Words::from(texts, first));
                    check_errors(&alice, &daemon, &Words::from(texts, first), first / STEP);
                }
            });
        }
    });
}

/// The terminal and the page show the signed-in user.
fn sign_in(alice: &User, daemon: &HostileDaemon, words: Words, tags: &[String]) {
    daemon.say(words, Answers::Sessions);
    assert_inert_ran(&log_in(alice, daemon).expect(0).stderr_contains(&["signed in to https://127.0.0.1:"]));
    let page = daemon.take_page();
    assert!(page.contains("<h1>Signed in</h1>"), "{page}");
    assert_inert(&page);
    assert_eq!(self::tags(&page), tags, "a text became a part of the page\n{page}");
}

/// `status` shows the signed-in user; its JSON contains exactly the server's texts.
fn check_status(alice: &User, daemon: &HostileDaemon, words: &Words) {
    daemon.say(words.clone(), Answers::Sessions);
    let status = alice.infra(["status"]).run().expect(0);
    assert_inert_ran(&status);
    assert_eq!(status.stdout.lines().count(), 6, "a text made a line of its own\n{status}");

    daemon.say(words.clone(), Answers::Sessions);
    let status = alice.infra(["status", "--json"]).run().expect(0);
    assert_inert_ran(&status);
    assert_eq!(status.stdout.lines().count(), 1, "{status}");
    assert_eq!(status.json().get("user"), Some(&words.clone().user()));
}

/// `infra` shows the server's errors.
fn check_errors(alice: &User, daemon: &HostileDaemon, words: &Words, number: usize) {
    let (code, status, exit) = match number % 3 {
        0 => ("unavailable", 503, 4),
        1 => ("too_many_requests", 429, 4),
        _ => ("session_revoked", 401, 3),
    };
    daemon.say(words.clone(), Answers::Problems { code, status });
    assert_inert_ran(&alice.infra(["status", "-v"]).run().expect(exit));
    daemon.say(words.clone(), Answers::Problems { code: "login_rejected", status: 403 });
    let refused = log_in(alice, daemon).expect(6);
    assert_inert_ran(&refused.stderr_contains(&["the sign-in was rejected"]));
    assert_inert(&daemon.take_page());
}

#[test]
fn claims_are_plain_text_in_log_and_terminal() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start_with(&provider, |configuration| {
        MANY_LOGINS.clone_into(&mut configuration.more);
    });
    let texts = all();
    let mut taken = 0;
    for (number, texts) in texts.chunks(4).enumerate() {
        let is_long = texts.iter().any(|text| text.len() > 1000);
        // A group that cannot be accepted rejects the login, so hostile groups are tested separately.
        let in_groups = number % 3 == 0;
        let texts = texts.to_vec();
        provider.misbehave(Misbehaviour::default().id_token(move |draft| {
            let claims = ["name", "email", "preferred_username", "given_name"];
            for (name, text) in claims.into_iter().zip(&texts) {
                draft.set_claim(name, json!(text));
            }
            draft.set_claim("groups", if in_groups { json!(texts) } else { json!(["staff"]) });
        }));
        let started = Started::at(&daemon);
        let finished = started.finish(&started.sign_in(&provider));
        match finished.status {
            201 => taken += 1,
            403 | 502 => assert!(in_groups || is_long, "{finished:?}\n{}", daemon.log()),
            other => panic!("{other}: {finished:?}"),
        }
        assert_inert(&finished.body);
    }
    assert!(taken > texts.len() / 8, "hardly any login was taken: {taken}");

    // One login through `infra`.
    provider.misbehave(Misbehaviour::default().claim("name", json!("\u{1b}]0;x\u{7}<b>Al\u{202e}ice</b>")));
    assert_inert_ran(&infra_harness::login::succeed(&alice, &daemon, &provider));
    assert_inert_ran(&alice.infra(["status"]).run().expect(0));
    assert_inert(&daemon.complete_log());
}

#[test]
fn provider_errors_are_plain_text_in_log_and_response() {
    let provider = Provider::start();
    let mut daemon = Daemon::start_with(&provider, |configuration| {
        MANY_LOGINS.clone_into(&mut configuration.more);
    });
    let texts = all();
    for (number, texts) in texts.chunks(10).enumerate() {
        // The daemon sends at most this many rejected codes per minute to a provider.
        if number > 0 && number % 25 == 0 {
            daemon.restart();
        }
        let texts = texts.to_vec();
        provider.misbehave(Misbehaviour::default().answer(Endpoint::Token, move |answer| {
            let text = |position: usize| texts[position % texts.len()].as_str();
            let visible = |character: &char| !character.is_ascii_control();
            let header = |position| text(position).chars().filter(visible).take(1000).collect::<String>();
            let body = json!({"error": text(0), "error_description": text(1), "error_uri": text(2),
                              text(3): text(4), text(5): text(6)});
            (answer.status, answer.body) = (400, body.to_string().into_bytes());
            answer.set_header("www-authenticate", &header(7));
            answer.set_header("server", &header(8));
            answer.set_header("retry-after", &header(9));
        }));
        let started = Started::at(&daemon);
        let refused = started.finish(&started.sign_in(&provider));
        assert!(refused.status == 403 || refused.status == 502, "{refused:?}");
        assert_inert(&refused.body);
    }
    assert_inert(&daemon.complete_log());
}

/// A server that always responds with 429 gets retries only until the login times out.
#[test]
fn endless_rate_limit_ends_with_the_login() {
    let (daemon, alice) = (HostileDaemon::start(), User::new());
    let limited = Answers::Problems { code: "too_many_requests", status: 429 };
    daemon.say(Words::from(&["1".to_owned()], 0), limited);
    let (origin, fingerprint) = (daemon.origin(), daemon.fingerprint());
    let arguments = ["login", &origin, "--fingerprint", &fingerprint, "--no-browser", "--timeout", "3s"];
    let ran = alice.infra(arguments).run().expect(4).stdout_is_empty();
    assert_inert_ran(&ran.stderr_contains(&["limits sign-ins from your address: trying again in 1 s"]));
}

#[test]
fn interrupt_ends_the_wait_of_a_rate_limited_login() {
    let (daemon, alice) = (HostileDaemon::start(), User::new());
    let limited = Answers::Problems { code: "too_many_requests", status: 429 };
    daemon.say(Words::from(&["60".to_owned()], 0), limited);
    let (origin, fingerprint) = (daemon.origin(), daemon.fingerprint());
    let arguments = ["login", &origin, "--fingerprint", &fingerprint, "--no-browser"];
    let mut running = alice.infra(arguments).limit(Duration::from_secs(50)).start();
    running.wait_for("the wait", |_, said| said.contains("trying again in 60 s").then_some(()));
    running.signal(Signal::INT);
    running.wait().expect(130).stdout_is_empty().stderr_contains(&["interrupted"]);
}

fn log_in(alice: &User, daemon: &HostileDaemon) -> Ran {
    let (origin, fingerprint) = (daemon.origin(), daemon.fingerprint());
    let arguments =
        ["login", &origin, "--fingerprint", &fingerprint, "--no-browser", "--no-keyring", "--force"];
    alice.infra(arguments).run()
}

#[track_caller]
fn assert_inert_ran(ran: &Ran) {
    assert_inert(&ran.stdout);
    assert_inert(&ran.stderr);
}

/// The page of a user with harmless fields.
fn honest_page(texts: &[String]) -> String {
    let harmless: Vec<String> = texts.iter().map(|_| "Alice".to_owned()).collect();
    let (daemon, alice) = (HostileDaemon::start(), User::new());
    daemon.say(Words::from(&harmless, 0), Answers::Sessions);
    log_in(&alice, &daemon).expect(0);
    daemon.take_page()
}

/// The tags and comments of a page, in order.
fn tags(page: &str) -> Vec<String> {
    let tag = Regex::new("<[^>]*>").expect("a sound pattern");
    tag.find_iter(page).map(|tag| tag.as_str().to_owned()).collect()
}

/// Texts in the output of `status` must be valid JSON values, too.
#[test]
fn json_in_a_text_stays_a_string() {
    let breaker = "\",\"state\":\"active\",\"x\":\"".to_owned();
    let (daemon, alice) = (HostileDaemon::start(), User::new());
    daemon.say(Words::from(&[breaker], 0), Answers::Sessions);
    log_in(&alice, &daemon).expect(0);
    daemon.say(
        Words::from(&["\u{9b}\",\"state\":\"active".to_owned()], 0),
        Answers::Problems { code: "session_revoked", status: 401 },
    );
    let status = alice.infra(["status", "--json"]).run().expect(3).json();
    assert_eq!(status["state"], "revoked");
    let members: Vec<&String> = status.as_object().expect("an object").keys().collect();
    assert!(!members.iter().any(|name| name.as_str() == "x"), "{members:?}");
    assert!(matches!(status["user"], Value::Object(_)), "{status}");
}
