//! The audit log of a real daemon: what it contains, what it omits, and whether its chain is complete.

use std::os::unix::fs::PermissionsExt;

use infra_harness::canaries::Canaries;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Misbehaviour, Provider};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn with_audit(provider: &Provider) -> Daemon {
    let mut daemon = Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(provider)], |_| {});
    let path = daemon.directory().join("audit.jsonl");
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {}}}\n", path.display()));
    daemon.start_again();
    daemon
}

fn lines(daemon: &Daemon) -> Vec<Value> {
    let text = std::fs::read_to_string(daemon.directory().join("audit.jsonl")).expect("a log");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn events(daemon: &Daemon) -> Vec<String> {
    lines(daemon).iter().map(|line| line["event"].as_str().expect("an event").to_owned()).collect()
}

#[test]
fn audit_log_has_every_event_and_no_secret() {
    let provider = Provider::start();
    let mut daemon = with_audit(&provider);
    let started = login::Started::at(&daemon);
    let response = started.sign_in(&provider);
    let finished = started.finish(&response);
    let token = finished.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(started.finish(&response).status, 410, "a ticket is accepted once");
    for _ in 0..3 {
        assert_eq!(daemon.api().get_as("/v1/session", "infra_unknown").status, 401);
    }
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 401);
    daemon.infrad(["key", "rotate"]).wait().expect(0);
    daemon.infrad(["ca", "rotate"]).wait().expect(0);
    daemon.stop();
    daemon.infrad(["key", "rewrap"]).wait().expect(0);

    let mut events = events(&daemon);
    // Once a minute, and at the stop.
    events.retain(|event| event != "tokens_rejected");
    assert_eq!(
        events,
        [
            "started",
            "login_started",
            "login_finished",
            "login_rejected",
            "session_ended",
            "key_operation",
            "certificate",
            "stopped",
            "key_operation",
        ]
    );
    let lines = lines(&daemon);
    let line = |event: &str| lines.iter().find(|line| line["event"] == event).expect(event).clone();
    assert_eq!(line("started")["providers"][0], "okta");
    assert_eq!(line("started")["configurationHash"].as_str().map(str::len), Some(64));
    assert_eq!(line("login_finished")["session"], line("session_ended")["session"]);
    assert_eq!(line("login_finished")["email"], "alice@example.test");
    assert_eq!(line("session_ended")["reason"], "logout");
    assert_eq!(
        (&line("login_rejected")["reason"], &line("login_rejected")["provider"]),
        (&"ticket_used".into(), &"okta".into())
    );
    let rejected = lines.iter().filter(|line| line["event"] == "tokens_rejected");
    let rejected = rejected.filter_map(|line| Some((line["unknown"].as_u64()?, line["revoked"].as_u64()?)));
    assert_eq!(rejected.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1)), (3, 1));
    assert_eq!(line("certificate")["outcome"], "ca_rollover_announced");

    let mut canaries = Canaries::default();
    canaries.add("code", response.parameter("code"));
    canaries.add("client secret", CLIENT_SECRET);
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    let log = std::fs::read(daemon.directory().join("audit.jsonl")).expect("a log");
    assert_eq!(canaries.find(&log), Vec::<String>::new());
}

#[test]
fn audit_log_names_user_who_is_not_admitted() {
    let provider = Provider::start();
    let mut daemon = with_audit(&provider);
    daemon.change(|configuration| configuration.providers[0].allow = "{groups: [of-nobody]}".to_owned());
    daemon.stop();
    daemon.start_again();
    let long: Vec<String> = (0..100).map(|number| format!("group-{number}")).collect();
    for (claim, groups) in [
        (json!(["Everyone", "engineering"]), "[Everyone, engineering]".to_owned()),
        (json!(null), "missing from the response".to_owned()),
        (json!({"a": 1}), "of the wrong type (object)".to_owned()),
        (json!(["a\u{1b}[31m", "b"]), "[b], 1 ignored".to_owned()),
        (json!(long), format!("[{}] and 80 more", long[..20].join(", "))),
    ] {
        let in_user_info = claim.clone();
        provider.misbehave(
            Misbehaviour::default()
                .claim("groups", claim)
                .json(Endpoint::UserInfo, move |body| body["groups"] = in_user_info.clone()),
        );
        let started = login::Started::at(&daemon);
        let refused = started.finish(&started.sign_in(&provider));
        assert_eq!(refused.status, 403, "{groups}");
        let request = refused.json()["requestID"].as_str().expect("an ID").to_owned();
        let lines = lines(&daemon);
        let line = lines.iter().find(|line| line["requestID"] == request.as_str()).expect("a line");
        assert_eq!((&line["event"], &line["reason"]), (&"login_rejected".into(), &"denied_by_policy".into()));
        assert_eq!((&line["subject"], &line["email"]), (&"sub-alice".into(), &"alice@example.test".into()));
        assert_eq!(line["groups"], groups.as_str(), "{line}");
        daemon.wait_for_log(&format!(
            "`allow` does not admit this user: subject sub-alice, e-mail alice@example.test (verified), groups {groups}"
        ));
    }
}

#[test]
fn audit_chain_spans_restarts_and_detects_changed_line() {
    let provider = Provider::start();
    let mut daemon = with_audit(&provider);
    login::over_http(&daemon, &provider);
    daemon.kill();
    daemon.start_again();
    login::over_http(&daemon, &provider);
    let report = daemon.infrad(["audit", "verify", "--json"]).wait().expect(0).json();
    assert_eq!((&report["lines"], &report["firstSequence"]), (&6.into(), &1.into()));
    let text = daemon.infrad(["audit", "verify"]).wait().expect(0).stdout;
    assert!(text.contains("an unbroken chain with 6 lines in 1 file,") && text.contains("head: "), "{text}");

    let path = daemon.directory().join("audit.jsonl");
    let log = std::fs::read_to_string(&path).expect("a log");
    let head = report["head"].as_str().expect("a head");
    let text = daemon.infrad(["audit", "verify", "--head", head]).wait().expect(0).stdout;
    assert!(text.contains("unchanged from ") && text.contains("line 1 up to event number 6"), "{text}");
    // Another chain before it: a copy of the first line is enough.
    let first = log.lines().next().expect("a line");
    std::fs::write(&path, format!("{first}\n{log}")).expect("written");
    for command in [&["audit", "verify", "--head", head][..], &["audit", "verify"]] {
        let words = ["more than one chain", "audit.jsonl, line 2: another chain starts", "--journal"];
        daemon.infrad_slice_with_input(command, "").wait().expect(1).stderr_contains(&words);
    }
    let file = path.to_str().expect("a path");
    let command = ["audit", "verify", "--journal", "--file", file, "--head", head];
    let text = daemon.infrad(command).wait().expect(0).stdout;
    for words in [
        "2 unbroken chains",
        "1 chain start later in the log, at ",
        "audit.jsonl, line 2 up to event number 6",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    std::fs::write(&path, log.replacen("alice", "mallory", 1)).expect("written");
    // The third line was changed. The chain breaks at the fourth.
    let words = ["not an unbroken chain", "line 4", "that line was changed", "starting at the line before"];
    daemon.infrad(["audit", "verify"]).wait().expect(1).stderr_contains(&words);
    // The last line, which no later line covers.
    let last = log.lines().last().expect("a line");
    std::fs::write(&path, log.replace(last, &last.replacen("alice", "mallory", 1))).expect("written");
    let text = daemon.infrad(["audit", "verify"]).wait().expect(0).stdout;
    assert!(text.contains("store this head on another host"), "{text}");
    let words = ["was changed since this head was printed", head];
    daemon.infrad(["audit", "verify", "--head", head]).wait().expect(1).stderr_contains(&words);
    // A head that was pasted in part says nothing about the log.
    for cut_off in [&head[..12], ""] {
        let ran = daemon.infrad(["audit", "verify", "--head", cut_off]).wait().expect(2);
        assert!(!ran.stderr.contains("was changed"), "{ran}");
    }
    std::fs::remove_file(&path).expect("removed");
    let words = ["cannot verify the audit log", "cannot read", "--file FILE"];
    daemon.infrad(["audit", "verify"]).wait().expect(1).stderr_contains(&words);
}

#[test]
fn audit_log_is_reopened_after_external_rotation() {
    let provider = Provider::start();
    let daemon = with_audit(&provider);
    let (path, aside) = (daemon.directory().join("audit.jsonl"), daemon.directory().join("audit.jsonl.1"));
    std::fs::rename(&path, &aside).expect("moved");
    let process = Pid::from_raw(i32::try_from(daemon.process()).expect("an id")).expect("a process");
    kill_process(process, Signal::HUP).expect("the daemon runs");
    let is_logged = || (path.exists() && !events(&daemon).is_empty()).then_some(());
    let is_logged = infra_harness::wait::until(std::time::Duration::from_mins(1), is_logged);
    assert!(is_logged.is_some(), "{}", daemon.log());
    login::over_http(&daemon, &provider);
    assert_eq!(events(&daemon), ["reloaded", "login_started", "login_finished"]);
    let report = daemon.infrad(["audit", "verify", "--json"]).wait().expect(0).json();
    assert_eq!((&report["files"], &report["lines"]), (&2.into(), &4.into()));
}

#[test]
fn daemon_refuses_to_start_without_its_audit_log() {
    let provider = Provider::start();
    let mut daemon = with_audit(&provider);
    daemon.stop();
    daemon.change(|configuration| configuration.more = "audit: {file: /nowhere/audit.jsonl}\n".to_owned());
    let words =
        ["cannot open the audit log /nowhere/audit.jsonl", "try: correct `audit.file`", "`install -d "];
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&words);
    // `serve` and `check` give the same error.
    let path = daemon.directory().join("open.jsonl");
    std::fs::write(&path, "").expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).expect("changed");
    let name = path.display();
    daemon.change(|configuration| configuration.more = format!("audit: {{file: {name}}}\n"));
    let (cause, advice) =
        (format!("other users can write to {name} (mode 0666)"), format!("`chmod go-w {name}`"));
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&["cannot use the audit log", &cause, &advice]);
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    for words in ["failed   audit log: ", &cause, &advice] {
        assert!(checked.contains(words), "{words}: {checked}");
    }
    daemon.change(|configuration| configuration.more.clear());
    daemon
        .infrad(["audit", "verify"])
        .wait()
        .expect(2)
        .stderr_contains(&["has no audit log", "audit: {file:"]);
    daemon.change(|configuration| configuration.more = "audit: {file: /a, journal: true}\n".to_owned());
    daemon.infrad(["check"]).wait().expect(2).stderr_contains(&["only one of `file` and `journal`"]);
}
