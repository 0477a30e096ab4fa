//! Other commands mention a session that expires soon: once, and only at a terminal.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{Ran, User};
use infra_harness::provider::Provider;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const MENTIONED: &str = "infra login --force";

#[test]
fn terminal_shows_last_minutes_of_a_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    let server = daemon.origin();
    daemon.stop();
    set_expiry(&alice, SignedDuration::from_mins(9), 0);

    let at_terminal = |words: &[&str]| alice.infra(words).start_in_terminal().wait();
    let ran =
        at_terminal(&["token"]).expect(0).stderr_contains(&[&server, "expires at", "8 min left", "UTC"]);
    assert_eq!(ran.stdout.trim_end(), token, "standard output is the token alone\n{ran}");
    assert_eq!(mentions(&ran), 1, "{ran}");
    for words in [&["use", &server][..], &["-v", "use", &server], &["logout", "other.example"]] {
        assert_eq!(mentions(&at_terminal(words).expect(0)), 1, "{words:?}");
    }
    for words in [
        &["token", "-q"][..],
        &["use", "-q", &server],
        &["status", "--offline"],
        &["completions", "bash"],
        &["token", "other.example"],
    ] {
        assert_eq!(mentions(&at_terminal(words)), 0, "{words:?}");
    }
}

#[test]
fn scripts_never_get_the_expiry_notice() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    set_expiry(&alice, SignedDuration::from_mins(9), 0);
    for _ in 0..3 {
        let ran = alice.infra(["token"]).run().expect(0);
        assert_eq!(ran.stderr, "", "{ran}");
    }
    // The token in the environment is not the stored one.
    let token = login::token(&alice);
    let call = alice.infra(["token"]).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin());
    assert_eq!(mentions(&call.start_in_terminal().wait().expect(0)), 0);
}

#[test]
fn expiry_notice_appears_only_shortly_before_expiry() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    for (left, offset, mentioned) in
        [(16, 0, 0), (9, 0, 1), (-1, 0, 0), (69, 3600, 1), (9, -3600, 0), (9, 3600, 0)]
    {
        set_expiry(&alice, SignedDuration::from_mins(left), offset);
        let ran = alice.infra(["use", &daemon.origin()]).start_in_terminal().wait().expect(0);
        assert_eq!(mentions(&ran), mentioned, "{left} min, the daemon {offset} s ahead\n{ran}");
    }
}

#[test]
fn times_are_in_the_users_time_zone() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let shown = |zone: &str| {
        let text = alice.infra(["status", "--offline"]).env("TZ", zone).run().expect(0).stdout;
        let line =
            text.lines().find(|line| line.contains("at most")).expect("the end of the session").to_owned();
        let session: Value = alice.infra(["status", "--offline", "--json"]).run().expect(0).json();
        let end: Timestamp =
            session["session"]["expiresAt"].as_str().expect("a time").parse().expect("a time");
        (line, end)
    };
    for (zone, name) in
        [("UTC", "UTC"), ("Asia/Tokyo", "JST"), ("America/Phoenix", "MST"), ("Asia/Kolkata", "IST")]
    {
        let (line, end) = shown(zone);
        let there = end.in_tz(zone).expect("a zone").strftime(&format!("%H:%M {name}")).to_string();
        assert!(line.contains(&there), "{zone}: {line}, and it is {there}");
    }
}

fn mentions(ran: &Ran) -> usize {
    ran.stderr.matches(MENTIONED).count()
}

/// Stores that the session of twelve hours expires in `left` by the local clock, and that the daemon's clock
/// is `offset` seconds ahead.
fn set_expiry(user: &User, left: SignedDuration, offset: i64) {
    #[expect(clippy::disallowed_methods, reason = "the program that is tested goes by this clock")]
    let now = Timestamp::now();
    let end = now + left;
    let times = [
        ("/session/createdAt", end - SignedDuration::from_hours(12)),
        ("/session/expiresAt", end),
        ("/session/idleExpiresAt", end),
    ];
    user.edit_session(|session| {
        let mut set = |member: &str, value: Value| {
            *session.pointer_mut(member).expect("a member of the session") = value;
        };
        for (member, time) in times {
            set(member, time.to_string().into());
        }
        set("/clockOffsetSeconds", offset.into());
    });
}
