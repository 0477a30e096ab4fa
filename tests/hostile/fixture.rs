//! Runs one login against a misbehaving provider with the real programs, and checks every invariant afterwards.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Misbehaviour, Provider, Settings};
use infra_harness::wait;
use infra_shared::token_text::SessionToken;
use serde_json::Value;

/// One misbehaviour and its expected outcome.
pub(crate) struct Case {
    /// The case ID, as in `tests/hostile/README.md`.
    pub(crate) id: &'static str,
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) expected: Expected,
}

/// The expected outcome of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Honest, or unusual but allowed by the standard.
    Accepted,
    /// Exit code 6, `identity_rejected`. Holds the reason in the log.
    Refused(&'static str),
    /// Exit code 4, `provider_unavailable`: the provider does not answer correctly.
    Unavailable(&'static str),
    /// Like `Unavailable`, but before the daemon reads the client secret.
    NotStarted(&'static str),
    /// Exit code 4, `invalid_client`.
    ClientRefused,
}

/// A provider, a daemon with an audit log, and a user who signed in there earlier.
pub(crate) struct Fixture {
    pub(crate) provider: Provider,
    pub(crate) daemon: Daemon,
    alice: User,
}

/// State that a refused login must leave unchanged.
#[derive(Debug, PartialEq, Eq)]
struct UserState {
    /// Mode and contents of every file in `~/.infra`.
    files: BTreeMap<PathBuf, (u32, Vec<u8>)>,
    live_sessions: Value,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with_settings(Settings::default())
    }

    pub(crate) fn with_settings(settings: Settings) -> Self {
        let provider = Provider::start_with(settings);
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
        let audit = daemon.directory().join("audit.jsonl");
        daemon.change(|configuration| {
            configuration.more = format!("{MANY_LOGINS}audit: {{file: {}}}\n", audit.display());
        });
        daemon.start_again();
        let fixture = Self { provider, daemon, alice: User::new() };
        login::succeed(&fixture.alice, &fixture.daemon, &fixture.provider);
        fixture.alice.infra(["logout"]).run().expect(0);
        fixture
    }

    /// Runs the cases in order against one daemon, with an honest login after each.
    pub(crate) fn run(&self, cases: impl IntoIterator<Item = Case>) -> usize {
        cases.into_iter().map(|case| self.run_case(&case)).count()
    }

    /// Like `run`, but restarts the daemon before each case, so that it has cached nothing about the provider.
    pub(crate) fn run_with_restarts(&mut self, cases: impl IntoIterator<Item = Case>) {
        let mut count = 0;
        for case in cases {
            self.daemon.kill();
            self.daemon.start_again();
            self.run_case(&case);
            count += 1;
        }
        assert!(count > 0, "no case ran");
    }

    fn run_case(&self, case: &Case) {
        let Case { id, expected, .. } = case;
        let (user_state, reads) = (self.user_state(), self.secret_reads());
        let (logged, audited) = (self.daemon.complete_log().len(), self.audit().len());
        self.provider.forget_requests();
        self.provider.misbehave(case.misbehaviour.clone());

        let browser = RecordingBrowser::signing_in("alice", &[self.provider.authority_file()]);
        let ran = self.alice.infra(["login", "--no-keyring"]).browser(&browser).run();

        let code = match expected {
            Expected::Accepted => 0,
            Expected::Refused(_) => 6,
            Expected::Unavailable(_) | Expected::NotStarted(_) | Expected::ClientRefused => 4,
        };
        assert_eq!(ran.code, Some(code), "{id}: another exit code\n{ran}\n{}", self.daemon.log());
        assert!(ran.stdout.is_empty(), "{id}: standard output is for data\n{ran}");

        // The daemon writes the audit entry before the login's last log line.
        let end = |line: &str| if code == 0 { line.contains("signed in") } else { is_refusal(line) };
        let is_logged = |log: &str| log.get(logged..).is_some_and(|log| log.lines().any(end));
        let log = self.daemon.wait_for_log_with("the end of the login", is_logged).split_off(logged);
        let audit = self.audit().split_off(audited);
        for (what, text) in [("standard error", &ran.stderr), ("the log", &log), ("the audit log", &audit)] {
            self.assert_no_secret(id, what, text);
            let is_control = |character: char| character.is_control() && character != '\n';
            assert!(!text.contains(is_control), "{id}: a control character in {what}: {text:?}");
        }
        if *expected == Expected::Accepted {
            assert!(audit.contains("\"login_finished\""), "{id}: {audit}");
            self.alice.infra(["logout"]).run().expect(0);
        } else {
            assert_one_refusal(id, *expected, &log, &audit);
            assert_eq!(self.user_state(), user_state, "{id}: something was changed");
        }

        let (at_most, token_calls) = (self.secret_reads() - reads, self.provider.calls(Endpoint::Token));
        assert!(at_most <= 1 && token_calls <= 1, "{id}: {at_most} reads, {token_calls} token calls");
        if matches!(expected, Expected::NotStarted(_)) {
            assert_eq!((at_most, token_calls), (0, 0), "{id}: the client secret was read for nothing");
        }

        self.provider.behave();
        let token = login::over_http(&self.daemon, &self.provider);
        assert_eq!(self.daemon.api().delete_as("/v1/session", &token).status, 204, "{id}");
    }

    fn assert_no_secret(&self, id: &str, what: &str, text: &str) {
        let mut canaries = Canaries::default();
        canaries.add("the client secret", CLIENT_SECRET);
        for secret in self.provider.issued_secrets() {
            canaries.add("a code or a token", secret);
        }
        assert_eq!(canaries.find(text.as_bytes()), Vec::<String>::new(), "{id}: {what}: {text}");
        let shows_a_token = text.match_indices("infra_").any(|(start, _)| {
            text.get(start..start + 41).is_some_and(|word| SessionToken::parse(word).is_some())
        });
        assert!(!shows_a_token, "{id}: a session token in {what}: {text}");
    }

    fn user_state(&self) -> UserState {
        let home = self.alice.infra_home();
        let files = home.read_dir().expect("a folder").flatten().map(|entry| {
            let mode = entry.metadata().expect("a file").permissions().mode();
            (entry.path(), (mode, std::fs::read(entry.path()).expect("a file of the user's")))
        });
        UserState { files: files.collect(), live_sessions: self.status()["liveSessions"].clone() }
    }

    fn secret_reads(&self) -> u64 {
        self.status()["secretReads"]["exchange"].as_u64().expect("a number")
    }

    fn status(&self) -> Value {
        let status = wait::until(Duration::from_mins(1), || {
            let ran = self.daemon.infrad(["status", "--json"]).wait();
            (ran.code == Some(0)).then(|| ran.json())
        });
        status.expect("the daemon becomes ready")
    }

    fn audit(&self) -> String {
        std::fs::read_to_string(self.daemon.directory().join("audit.jsonl")).expect("an audit log")
    }
}

fn is_refusal(line: &str) -> bool {
    line.contains("request rejected") || line.contains("request failed")
}

/// Asserts that each log has exactly one refusal, with the reason.
fn assert_one_refusal(id: &str, expected: Expected, log: &str, audit: &str) {
    let (code, reason, detail) = match expected {
        Expected::Refused(detail) => ("login_rejected", "identity_rejected", detail),
        Expected::Unavailable(detail) | Expected::NotStarted(detail) => {
            ("provider_unavailable", "provider_unavailable", detail)
        }
        Expected::ClientRefused => ("unavailable", "invalid_client", "invalid_client"),
        Expected::Accepted => unreachable!("an accepted login logs no refusal"),
    };
    let lines: Vec<&str> = log.lines().filter(|line| is_refusal(line)).collect();
    assert_eq!(lines.len(), 1, "{id}: expected one refusal line\n{log}");
    assert!(log.contains(code) && log.contains(detail), "{id}: {code}, {detail:?}\n{log}");

    let refusals: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|line| line["event"] == "login_rejected")
        .collect();
    assert_eq!(refusals.len(), 1, "{id}: one line of audit\n{audit}");
    assert_eq!(refusals[0]["reason"], reason, "{id}");
    assert!(
        refusals[0]["detail"].as_str().is_some_and(|text| text.contains(detail)),
        "{id}: {}",
        refusals[0]
    );
}

/// Builds a case.
pub(crate) fn case(id: &'static str, expected: Expected, misbehaviour: Misbehaviour) -> Case {
    Case { id, misbehaviour, expected }
}

/// Builds a case that replaces one claim of the ID token. Null removes the claim.
pub(crate) fn claim(id: &'static str, expected: Expected, name: &'static str, value: Value) -> Case {
    case(id, expected, Misbehaviour::default().claim(name, value))
}
