//! `infra delegate`: a command with a session of its own.

use std::fs;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{Ran, User, built};
use infra_harness::provider::Provider;
use infra_harness::services::{self, introspect};
use infra_harness::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

const WIKI: &str = "https://wiki.example.test";
const LIMIT: Duration = Duration::from_mins(1);

fn daemon(provider: &Provider) -> Daemon {
    services::daemon(
        provider,
        &[
            &format!("{{name: wiki, audience: {WIKI}, credentials: [CREDENTIAL], allow: everyone}}"),
            "{name: other, credentials: [CREDENTIAL], allow: everyone}",
            "{name: payroll, allow: [{provider: okta, groups: [nobody]}]}",
        ],
    )
}

/// The words of a call that runs a script with the path of `infra` as `$0`.
fn delegating(script: &str) -> Vec<String> {
    let infra = built("infra").display().to_string();
    let words = ["delegate", "--audience", "wiki", "--name", "agent", "--", "sh", "-c", script, &infra];
    words.map(ToOwned::to_owned).to_vec()
}

fn delegate(user: &User, script: &str) -> Ran {
    user.infra(delegating(script)).run()
}

/// The user's sessions.
fn listed(user: &User) -> Vec<Value> {
    let listed = user.infra(["sessions", "--json"]).run().expect(0).json();
    listed.get("sessions").and_then(Value::as_array).expect("a list").clone()
}

#[test]
fn command_uses_its_own_session_which_ends_with_it() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let own = login::token(&alice);
    let ran = delegate(&alice, "\"$0\" token --audience wiki && \"$0\" status && echo \"$INFRA_TOKEN\"");
    let ran = ran.expect(0);
    let (token, rest) = ran.stdout.split_once('\n').expect("a token");
    assert!(token.starts_with("infra_aud_"), "{ran}");
    assert!(rest.contains("delegated to agent, only for https://wiki.example.test"), "{ran}");
    let session = rest.lines().last().expect("the session token");
    assert!(session.starts_with("infra_") && session != own, "{ran}");
    // Both have ended, and the user's session has not.
    assert_eq!(introspect(&daemon.api(), "wiki", token).json(), json!({"active": false}));
    assert_eq!(daemon.api().get_as("/v1/session", session).status, 401);
    alice.infra(["status", "--quiet"]).run().expect(0);
    assert_eq!(listed(&alice).len(), 1);
}

#[test]
fn command_gets_server_and_fingerprint_but_no_other_credential() {
    let (provider, alice, other) = (Provider::start(), User::new(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    // Without the files of the user, as in a container.
    let script = format!("INFRA_HOME={} \"$0\" token --audience wiki; env", other.infra_home().display());
    let call = alice.infra(delegating(&script)).env("INFRA_ID_TOKEN", "a.b.c").env("KEPT", "1");
    let call = call.env("INFRA_AUDIENCE_TOKEN", "x").env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "x");
    let ran = call.env("INFRA_ID_TOKEN_FILE", "/nowhere").run().expect(0);
    assert!(ran.stdout.starts_with("infra_aud_"), "{ran}");
    let of = |name: &str| ran.stdout.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(of("INFRA_SERVER"), Some(daemon.origin().as_str()));
    assert_eq!(of("INFRA_FINGERPRINT"), Some(daemon.fingerprint().as_str()));
    assert_eq!((of("INFRA_ID_TOKEN"), of("INFRA_ID_TOKEN_FILE"), of("KEPT")), (None, None, Some("1")));
    assert_eq!(of("INFRA_DELEGATED"), Some("agent"));
    assert_eq!((of("INFRA_AUDIENCE_TOKEN"), of("ACTIONS_ID_TOKEN_REQUEST_TOKEN")), (None, None));
}

#[test]
fn command_is_refused_what_it_was_not_delegated_for() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    for words in [
        "sessions",
        "sessions revoke --others",
        "sessions revoke f3Kd9sQ1Zx",
        "token --audience other",
        "delegate --audience wiki -- true",
    ] {
        let ran = delegate(&alice, &format!("exec \"$0\" {words}")).expect(1).stdout_is_empty();
        ran.stderr_contains(&["does not allow this to a delegated session", "infra delegate"]);
    }
    let server = daemon.origin();
    for words in ["login", "logout --all", &format!("use {server}"), &format!("trust {server}")] {
        let ran = delegate(&alice, &format!("exec \"$0\" {words}")).expect(2);
        ran.stderr_contains(&["within `infra delegate`", "outside of the command"]);
    }
    // `infra exec` keeps the session token from its command, which does not get the user's own session instead.
    let ran = delegate(&alice, "exec \"$0\" exec --audience wiki -- \"$0\" token --audience other").expect(3);
    ran.stdout_is_empty().stderr_contains(&["without the delegated session", "outside of `infra exec`"]);
    // It may end itself.
    let ran = delegate(&alice, "\"$0\" logout && \"$0\" token --audience wiki").expect(3);
    assert!(!ran.stderr.contains("cannot end"), "{ran}");
    ran.stderr_contains(&["end this command", "start it again with `infra delegate`"]);
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn sessions_show_the_delegated_one_under_its_parent() {
    let (provider, alice, desktop) = (Provider::start(), User::new(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let mut running = alice.infra(delegating("echo ready; exec sleep 600")).start();
    running.wait_for("the command", |stdout, _| stdout.contains("ready").then_some(()));
    login::succeed(&desktop, &daemon, &provider);
    let table = alice.infra(["sessions"]).run().expect(0);
    let lines: Vec<&str> = table.stdout.lines().collect();
    let parent = lines.iter().position(|line| line.ends_with("; this session")).expect("the own one");
    let child = lines.get(parent + 1).expect("a line below");
    assert!(child.starts_with("  ") && child.contains(&format!("delegated to agent for {WIKI}")), "{table}");
    assert!(!table.stderr.contains("were opened since") && lines.len() == 4, "{table}");
    let delegated: Vec<Value> =
        listed(&alice).into_iter().filter(|session| session.get("delegation").is_some()).collect();
    assert_eq!(delegated.len(), 1);
    assert_eq!(
        (&delegated[0]["delegation"]["label"], delegated[0]["delegation"]["audiences"].clone()),
        (&json!("agent"), json!([WIKI]))
    );
    // It ends with the sign-out, while the command runs.
    alice.infra(["logout"]).run().expect(0);
    assert_eq!(listed(&desktop).len(), 1);
    running.signal(Signal::TERM);
    running.wait().expect(128 + 15);
}

#[test]
fn session_ends_after_signals_and_failures_too() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    delegate(&alice, "exit 42").expect(42);
    delegate(&alice, "kill -KILL $$").expect(128 + 9);
    let missing = ["delegate", "--audience", "wiki", "--", "no-such-program"];
    alice.infra(missing).run().expect(1).stderr_contains(&["cannot run `no-such-program`"]);
    assert_eq!(listed(&alice).len(), 1, "each has ended its session");
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::USR1] {
        let mut running = alice.infra(delegating("echo ready; exec sleep 600")).start();
        running.wait_for("the command", |stdout, _| stdout.contains("ready").then_some(()));
        assert_eq!(listed(&alice).len(), 2);
        running.signal(signal);
        running.wait().expect(128 + signal.as_raw());
        assert_eq!(listed(&alice).len(), 1, "{signal:?}");
    }
    // The command decides what a signal means.
    let script = "trap 'echo cleaned up; exit 7' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = alice.infra(delegating(script)).start();
    running.wait_for("the command", |stdout, _| stdout.contains("ready").then_some(()));
    running.signal(Signal::TERM);
    let ran = running.wait().expect(7);
    assert!(ran.stdout.contains("cleaned up"), "{ran}");
}

#[test]
fn unreachable_daemon_at_the_end_is_reported() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let done = alice.home().join("done");
    let script = format!("echo ready; until test -e '{}'; do sleep 0.1; done; exit 5", done.display());
    let mut running = alice.infra(delegating(&script)).start();
    running.wait_for("the command", |stdout, _| stdout.contains("ready").then_some(()));
    daemon.stop();
    fs::write(&done, "").expect("the user's own file");
    let ran = running.wait().expect(5);
    let ran = ran.stderr_contains(&["cannot end the delegated session", "infra sessions revoke"]);
    daemon.start_again();
    // The line of the message ends it.
    let line = ran.stderr.split("infra sessions revoke ").nth(1).expect("a line");
    let id = line.split('`').next().expect("an ID");
    alice.infra(["sessions", "revoke", id]).run().expect(0);
    assert_eq!(listed(&alice).len(), 1);
}

#[test]
fn unusable_arguments_open_no_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    let call = |words: &[&str]| alice.infra(words).run();
    call(&["delegate", "--audience", "wiki", "--", "touch", "ran"]).expect(3);
    login::succeed(&alice, &daemon, &provider);
    for words in [
        &["delegate", "--audience", "", "--", "touch", "ran"][..],
        &["delegate", "--", "touch", "ran"],
        &["delegate", "--audience", "wiki"],
        &["delegate", "--audience", "wiki", "--for", "0s", "--", "touch", "ran"],
        &["delegate", "--audience", "wiki", "--name", "a b", "--", "touch", "ran"],
    ] {
        call(words).expect(2).stdout_is_empty();
    }
    let many = vec!["wiki"; 17].join(",");
    call(&["delegate", "--audience", &many, "--", "touch", "ran"]).expect(2);
    let ran = call(&["delegate", "--audience", "wiki,nowhere", "--", "touch", "ran"]).expect(1);
    ran.stderr_contains(&["has no service with one of these names: wiki, nowhere"]);
    let ran = call(&["delegate", "--audience", "wiki,payroll", "--", "touch", "ran"]).expect(1);
    ran.stderr_contains(&["does not admit you to one of these services"]);
    assert!(!alice.home().join("ran").exists(), "it ran without a session");
    assert_eq!(listed(&alice).len(), 1);
    // Longer than the user's own session lasts.
    let ran = call(&["delegate", "--audience", "wiki", "--for", "2d", "--", "true"]).expect(0);
    ran.stderr_contains(&["the delegated session lasts", "instead of 2 days"]);
}

#[test]
fn ctrl_c_reaches_command_once_and_session_ends() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = daemon(&provider);
    login::succeed(&alice, &daemon, &provider);
    let log = alice.home().join("signals");
    let script = format!(
        "trap 'echo interrupt >>{0}' INT; trap 'echo last >>{0}' USR1; echo ready >>{0}; \
         until grep -q last {0}; do sleep 0.1; done; exit 3",
        log.display()
    );
    // A terminal of its own, with the command in the foreground.
    let call = alice.infra(delegating(&script)).under(["setsid", "--ctty", "--wait"]);
    let mut running = call.start_in_terminal();
    let until = |word: &str| {
        let said = || fs::read_to_string(&log).unwrap_or_default().contains(word).then_some(());
        wait::until(LIMIT, said).unwrap_or_else(|| panic!("no {word}"));
    };
    until("ready");
    running.press('\u{3}');
    until("interrupt");
    // Passed on after the interrupt would have been.
    running.signal(Signal::USR1);
    running.wait().expect(3);
    let said = fs::read_to_string(&log).expect("the log of the command");
    assert_eq!(said, "ready\ninterrupt\nlast\n");
    assert_eq!(listed(&alice).len(), 1);
}
