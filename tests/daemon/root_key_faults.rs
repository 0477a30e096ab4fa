//! The root key service fails at each request of an operation. The command reports the failure, leaves nothing half
//! done, and works once the service recovers.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use infra_harness::canaries::Canaries;
use infra_harness::copy::copy_files;
use infra_harness::daemon::{Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::login;
use infra_harness::program::Ran;
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::unreliable::{Failure, Faults, Unreliable};
use infra_harness::wait;
use infra_peers::moto::{Moto, REGION};
use infra_peers::openbao::OpenBao;
use infra_peers::root_keys::{TRANSIT_POLICY, kms_key, native, transit_key};
use infra_shared::http::{Trust, authorities_from_pem};
use rustix::process::Signal;
use serde_json::{Value, json};

/// How a request fails. The short run rotates through all of them.
const FAILURES: [Failure; 9] = [
    Failure::Refused,
    Failure::Status(403),
    Failure::Lost,
    Failure::Status(503),
    // In this position, both services are asked to unwrap.
    Failure::Garbage,
    Failure::Reset { times: 2 },
    Failure::CutShort,
    Failure::Status(500),
    Failure::Reset { times: 1 },
];
/// More than any operation makes requests.
const MOST_REQUESTS: usize = 20;
const LIMIT: Duration = Duration::from_mins(1);

/// How many failures to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// One failure at each request, in rotation.
    Turns,
    /// Every failure at each request.
    All,
}

/// The state before an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A store with a session.
    Store,
    /// The same store, and a running daemon.
    Daemon,
}

/// A command that uses the root key.
#[derive(Debug, Clone, Copy)]
struct Operation {
    words: &'static [&'static str],
    before: Before,
    /// Whether it revokes all sessions.
    ends_sessions: bool,
}

const fn operation(words: &'static [&'static str], before: Before) -> Operation {
    Operation { words, before, ends_sessions: false }
}

const OPERATIONS: [Operation; 11] = [
    operation(&["key", "status"], Before::Store),
    operation(&["key", "rewrap"], Before::Store),
    operation(&["key", "rewrap"], Before::Daemon),
    operation(&["key", "rotate"], Before::Store),
    operation(&["key", "rotate"], Before::Daemon),
    operation(&["key", "recovery", "create"], Before::Store),
    operation(&["backup", "again"], Before::Store),
    operation(&["backup", "verify", "kept.backup"], Before::Store),
    operation(&["check", "--live"], Before::Store),
    Operation { ends_sessions: true, ..operation(&["restore", "kept.backup"], Before::Store) },
    Operation {
        ends_sessions: true,
        ..operation(&["restore", "kept.backup", "--recovery"], Before::Nothing)
    },
];

/// A root key: its configuration entry, its ID, its secrets and its servers.
struct RootKey {
    entry: String,
    id: &'static str,
    secrets: Vec<String>,
    _peers: Box<dyn Any>,
}

/// A daemon whose root key is behind failing servers, with a store that can be restored.
struct Host {
    daemon: Daemon,
    provider: Provider,
    faults: Arc<Faults>,
    secrets: Vec<String>,
    token: String,
    recovery_key: String,
    coverage: Coverage,
    cases: usize,
}

/// Creates a transit key in OpenBao, with app role authentication.
fn vault(faults: &Arc<Faults>) -> Option<RootKey> {
    let bao = OpenBao::start()?;
    transit_key(&bao, false);
    bao.call("sys/auth/approle", Some(json!({"type": "approle"})));
    bao.call("sys/policies/acl/infrad", Some(json!({"policy": TRANSIT_POLICY})));
    bao.call("auth/approle/role/infrad", Some(json!({"token_policies": ["infrad"], "token_ttl": "1h"})));
    let text = |answer: &Value, place: &str| {
        answer.pointer(place).and_then(Value::as_str).expect("a text").to_owned()
    };
    let role = text(&bao.call("auth/approle/role/infrad/role-id", None), "/data/role_id");
    let secret = text(&bao.call("auth/approle/role/infrad/secret-id", Some(json!({}))), "/data/secret_id");
    let authority = fs::read(bao.authority_file()).expect("the certificate of OpenBao");
    let trust = Trust::Authorities(authorities_from_pem(&authority).expect("a certificate"));
    let server = Unreliable::before(bao.address(), &trust, faults);
    let entry = format!(
        "{{kind: vault, config: {{address: \"{}\", caFile: {}, key: infrad, appRole: {{roleID: \"plaintext:{role}\", \
         secretID: \"plaintext:{secret}\"}}}}}}",
        server.address(),
        server.authority_file().display()
    );
    Some(RootKey {
        entry,
        id: "vault:https://127.0.0.1",
        secrets: vec![secret],
        _peers: Box::new((bao, server)),
    })
}

/// Creates a KMS key in moto, which then checks signatures and policies.
fn kms(faults: &Arc<Faults>) -> Option<RootKey> {
    let moto = Moto::start()?;
    let user = kms_key(&moto);
    let server = Unreliable::before(moto.endpoint(), &Trust::Authorities(Vec::new()), faults);
    let entry = format!(
        "{{kind: awskms, config: {{keyID: alias/infrad, region: {REGION}, endpoint: \"{}\", caFile: {}, accessKeyID: \
         \"plaintext:{}\", secretAccessKey: \"plaintext:{}\"}}}}",
        server.address(),
        server.authority_file().display(),
        user.id,
        user.secret
    );
    let secrets = vec![user.secret];
    Some(RootKey { entry, id: "awskms:alias/infrad", secrets, _peers: Box::new((moto, server)) })
}

impl Host {
    /// Creates a host with this root key.
    fn new(faults: &Arc<Faults>, root_key: &RootKey, coverage: Coverage) -> Self {
        let provider = Provider::start();
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
            // All logins are of one user and come from one address.
            "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
            MANY_LOGINS.clone_into(&mut configuration.more);
        });
        let rollback_guard_file =
            format!("rollbackGuardFile: {}\n", daemon.directory().join("epoch").display());
        daemon.change(|configuration| configuration.more.push_str(&rollback_guard_file));
        let mut host = Self {
            daemon,
            provider,
            faults: Arc::clone(faults),
            secrets: root_key.secrets.clone(),
            token: String::new(),
            recovery_key: String::new(),
            coverage,
            cases: 0,
        };
        host.begin_with(&root_key.entry);
        host
    }

    /// Creates a new store under this root key and saves a copy.
    fn begin_with(&mut self, entry: &str) {
        self.use_keys(&[entry]);
        let _ = fs::remove_dir_all(self.daemon.data_dir());
        let _ = fs::remove_file(self.daemon.directory().join("kept.backup"));
        self.daemon.start_again();
        self.token = login::over_http(&self.daemon, &self.provider);
        let created = self.daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
        created.stdout.trim().clone_into(&mut self.recovery_key);
        self.daemon.infrad(["backup", "kept.backup"]).wait().expect(0);
        self.daemon.stop();
        let _ = fs::remove_dir_all(self.kept());
        copy_files(&self.daemon.data_dir(), &self.kept());
    }

    fn use_keys(&mut self, entries: &[&str]) {
        let entries = format!("[{}]", entries.join(", "));
        self.daemon.change(|configuration| configuration.root_keys = Some(entries));
    }

    fn kept(&self) -> PathBuf {
        self.daemon.directory().join("kept")
    }

    /// Returns the contents of `keys.json`, if it exists.
    fn header(&self) -> Option<String> {
        fs::read_to_string(self.daemon.data_dir().join("keys.json")).ok()
    }

    fn prepare(&mut self, before: Before) {
        if self.daemon.is_running() {
            self.daemon.kill();
        }
        let data_dir = self.daemon.data_dir();
        let _ = fs::remove_dir_all(&data_dir);
        // Removes the rollback guard's file.
        let _ = fs::remove_file(self.daemon.directory().join("epoch"));
        if before != Before::Nothing {
            copy_files(&self.kept(), &data_dir);
        }
        if before == Before::Daemon {
            self.daemon.start_again();
        }
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.daemon.infrad_slice_with_input(words, &self.recovery_key).wait()
    }

    /// Returns the failures to try at the current request.
    fn failures(&self) -> Vec<Failure> {
        if self.coverage == Coverage::All {
            return FAILURES.to_vec();
        }
        FAILURES.iter().cycle().skip(self.cases).take(1).copied().collect()
    }

    /// Fails each request in turn until there are no more. Returns how many there are.
    fn at_every_request(
        &mut self,
        what: &str,
        mut case: impl FnMut(&mut Self, usize, Failure) -> bool,
    ) -> usize {
        let beyond = (1..=MOST_REQUESTS).find(|n| {
            self.failures().into_iter().any(|failure| {
                let is_reached = case(self, *n, failure);
                self.cases += usize::from(is_reached);
                !is_reached
            })
        });
        let requests = beyond.expect("an operation finishes") - 1;
        assert!(requests > 0, "{what}: no root key was asked for");
        requests
    }

    /// Runs the operation with a failure at its `n`th request. Returns `false` if it makes no such request.
    fn fail(&mut self, operation: Operation, n: usize, failure: Failure) -> bool {
        let context = format!("{operation:?}: {failure:?} at request {n}");
        self.prepare(operation.before);
        let header = self.header();
        self.faults.fail_nth(n, failure);
        let ran = self.run(operation.words);
        let is_reached = self.faults.is_reached() || ran.code != Some(0);
        self.assert_silent(&format!("{ran}"));
        if ran.code == Some(0) {
            assert!(!is_reached || is_retried(failure), "{context}: the failure went unnoticed\n{ran}");
        } else {
            assert_reported(&context, failure, &ran);
            assert_eq!(self.header(), header, "{context}: the header is another one");
            assert!(!self.daemon.directory().join("again").exists(), "{context}: half a backup");
            self.assert_tidy(&context, usize::from(header.is_some()));
            if operation.before == Before::Daemon {
                // A running daemon does not need the root key.
                self.assert_session(&context, 200);
            }
            self.faults.clear();
            // The data is unchanged, so one start represents all.
            if operation.before == Before::Store && (n == 1 || self.coverage == Coverage::All) {
                self.daemon.start_again();
                self.assert_session(&context, 200);
                self.daemon.kill();
            }
            let ran = self.run(operation.words);
            assert_eq!(ran.code, Some(0), "{context}: it does not work afterwards\n{ran}");
        }
        self.faults.clear();
        let _ = fs::remove_file(self.daemon.directory().join("again"));
        self.assert_tidy(&context, 1);
        if operation.before == Before::Daemon {
            self.assert_session(&context, 200);
            self.daemon.kill();
        }
        self.daemon.start_again();
        self.assert_session(&context, if operation.ends_sessions { 401 } else { 200 });
        is_reached
    }

    /// Starts the daemon with a failure at its `n`th request. Returns `false` if it makes no such request.
    fn fail_start(&mut self, before: Before, n: usize, failure: Failure) -> bool {
        let context = format!("a start with {before:?}: {failure:?} at request {n}");
        self.prepare(before);
        let header = self.header();
        self.faults.fail_nth(n, failure);
        let mut running = self.daemon.infrad(["serve"]);
        let outcome = wait::until(LIMIT, || {
            let (is_running, output) = (running.is_running(), running.output());
            let waits = output.contains("waiting for the root key").then_some(Start::Waits);
            waits
                .or_else(|| output.contains("sha256:").then_some(Start::Serves))
                .or((!is_running).then_some(Start::Ends))
        });
        assert!(outcome.is_some(), "{context}: it does nothing\n{}", running.output());
        let outcome = outcome.unwrap_or(Start::Waits);
        let is_reached = self.faults.is_reached() || outcome != Start::Serves;
        match outcome {
            Start::Serves => {
                assert!(
                    !is_reached || is_retried(failure),
                    "{context}: the failure went unnoticed\n{}",
                    running.output()
                );
            }
            Start::Waits => {
                assert!(
                    is_outage(failure),
                    "{context}: it waits although a retry cannot help\n{}",
                    running.output()
                );
                assert_eq!(self.header(), header, "{context}: the header is another one");
                self.faults.clear();
                running.wait_for("that it serves", |stdout, _| stdout.contains("sha256:").then_some(()));
            }
            Start::Ends => {
                assert_eq!(self.header(), header, "{context}: the header is another one");
                self.assert_tidy(&context, usize::from(header.is_some()));
            }
        }
        if running.is_running() {
            running.signal(Signal::TERM);
        }
        let ran = running.wait();
        self.assert_silent(&format!("{ran}"));
        match outcome {
            Start::Ends => assert_reported(&context, failure, &ran),
            _ => assert_eq!(ran.code, Some(0), "{context}\n{ran}"),
        }
        self.faults.clear();
        self.daemon.start_again();
        if before != Before::Nothing {
            self.assert_session(&context, 200);
        }
        login::over_http(&self.daemon, &self.provider);
        self.assert_tidy(&context, 1);
        is_reached
    }

    #[track_caller]
    fn assert_session(&self, context: &str, expected: u16) {
        let answered = self.daemon.api().get_as("/v1/session", &self.token);
        assert_eq!(answered.status, expected, "{context}: {answered:?}\n{}", self.daemon.log());
        let is_revoked = answered.body.contains("session_revoked");
        assert!(expected == 200 || is_revoked, "{context}: the session is lost: {answered:?}");
    }

    /// Asserts the number of databases, and that a failed operation left no files.
    #[track_caller]
    fn assert_tidy(&self, context: &str, databases: usize) {
        let entries = fs::read_dir(self.daemon.data_dir()).into_iter().flatten().flatten();
        let names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let is_database = |name: &&String| Path::new(name).extension().is_some_and(|kind| kind == "db");
        let strays = names.iter().filter(|name| name.starts_with(".new-")).count();
        assert_eq!(
            (names.iter().filter(is_database).count(), strays),
            (databases, 0),
            "{context}: {names:?}"
        );
    }

    /// Asserts that the text contains no key and no secret that gives access to one.
    #[track_caller]
    fn assert_silent(&self, output: &str) {
        let mut canaries = Canaries::default();
        for secret in self.secrets.iter().cloned().chain(self.faults.secrets()) {
            canaries.add("a secret of the root key", &secret);
        }
        canaries.add("the client secret", CLIENT_SECRET);
        assert_eq!(canaries.find(output.as_bytes()), Vec::<String>::new(), "{output}");
    }

    /// Runs every operation with a failure at each of its requests.
    fn fail_everything(&mut self, root_key: &RootKey) {
        for before in [Before::Nothing, Before::Store] {
            let what = format!("a start with {before:?}");
            let requests =
                self.at_every_request(&what, |host, n, failure| host.fail_start(before, n, failure));
            println!("{}: {what}: {requests} requests", root_key.id);
        }
        for operation in OPERATIONS {
            let what = format!("{:?} with {:?}", operation.words, operation.before);
            let requests = self.at_every_request(&what, |host, n, failure| host.fail(operation, n, failure));
            println!("{}: {what}: {requests} requests", root_key.id);
        }
        self.assert_silent(&self.daemon.complete_log());
        println!("{}: {} failures", root_key.id, self.cases);
    }

    /// Moves from one root key to another, with the daemon running and stopped.
    fn fail_to_move(&mut self, from: (&str, &str), to: (&str, &str)) {
        self.prepare(Before::Nothing);
        self.begin_with(from.1);
        self.use_keys(&[to.1, from.1]);
        // A running daemon uses only the new key.
        let with_daemon = (to.0 != "native:").then_some(Before::Daemon);
        for before in [Before::Store].into_iter().chain(with_daemon) {
            let what = format!("a move from {} to {} with {before:?}", from.0, to.0);
            let requests = self.at_every_request(&what, |host, n, failure| {
                let is_reached = host.fail(operation(&["key", "rewrap"], before), n, failure);
                let status = host.daemon.infrad(["key", "status", "--json"]).wait().expect(0).json();
                let root_key = status.get("rootKey").and_then(Value::as_str).unwrap_or_default();
                assert!(root_key.starts_with(to.0), "{what}: {status}");
                is_reached
            });
            println!("{what}: {requests} requests");
        }
        self.prepare(Before::Nothing);
    }
}

/// The first outcome of a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    Serves,
    Waits,
    Ends,
}

/// Returns whether a retry may help. Other failures need the operator.
fn is_outage(failure: Failure) -> bool {
    !matches!(failure, Failure::Status(403) | Failure::Garbage)
}

/// Returns whether the client recovers: it retries a reset connection once, and replaces a rejected token.
fn is_retried(failure: Failure) -> bool {
    matches!(failure, Failure::Reset { times: 1 } | Failure::Status(403))
}

/// Asserts that the command says what failed and what to try, and that its exit code tells who has to act.
#[track_caller]
fn assert_reported(context: &str, failure: Failure, ran: &Ran) {
    let (code, cause) = if is_outage(failure) { (4, "cannot be reached") } else { (1, "cannot be used") };
    assert_eq!(ran.code, Some(code), "{context}: another exit code\n{ran}");
    let output = format!("{}{}", ran.stdout, ran.stderr);
    for words in ["root key ", cause] {
        assert!(output.contains(words), "{context}: it does not say {words:?}\n{ran}");
    }
    // Other commands recommend a check, and the check itself does not.
    assert!(
        output.contains("infrad check --live") || ran.name.contains("check"),
        "{context}: no advice\n{ran}"
    );
}

fn fail_in_vault(coverage: Coverage) {
    let faults = Arc::default();
    let Some(vault) = vault(&faults) else { return };
    Host::new(&faults, &vault, coverage).fail_everything(&vault);
}

fn fail_in_kms(coverage: Coverage) {
    let faults = Arc::default();
    let Some(kms) = kms(&faults) else { return };
    Host::new(&faults, &kms, coverage).fail_everything(&kms);
}

fn fail_between_them(coverage: Coverage) {
    let faults = Arc::default();
    let (Some(vault), Some(kms)) = (vault(&faults), kms(&faults)) else { return };
    let mut host = Host::new(&faults, &vault, coverage);
    host.secrets.extend(kms.secrets.clone());
    let native = native(&host.daemon.root_key());
    let (vault, kms, native) = ((vault.id, &*vault.entry), (kms.id, &*kms.entry), ("native:", &*native));
    for (from, to) in [(native, vault), (vault, kms), (kms, vault), (kms, native)] {
        host.fail_to_move(from, to);
    }
    println!("{} failures", host.cases);
}

#[test]
fn vault_failure_at_each_request_changes_nothing() {
    fail_in_vault(Coverage::Turns);
}

#[test]
#[ignore = "takes several minutes"]
fn every_vault_failure_at_each_request_changes_nothing() {
    fail_in_vault(Coverage::All);
}

#[test]
fn kms_failure_at_each_request_changes_nothing() {
    fail_in_kms(Coverage::Turns);
}

#[test]
#[ignore = "takes several minutes"]
fn every_kms_failure_at_each_request_changes_nothing() {
    fail_in_kms(Coverage::All);
}

#[test]
fn root_key_move_leaves_old_or_new_key_on_failure() {
    fail_between_them(Coverage::Turns);
}

#[test]
#[ignore = "takes several minutes"]
fn root_key_move_leaves_old_or_new_key_on_every_failure() {
    fail_between_them(Coverage::All);
}

/// Takes the whole timeout of a call.
#[test]
fn users_do_not_wait_for_stalled_root_key() {
    let faults = Arc::default();
    let Some(vault) = vault(&faults) else { return };
    let mut host = Host::new(&faults, &vault, Coverage::Turns);
    host.prepare(Before::Daemon);
    let header = host.header();
    // The login at the service succeeds, and the first wrapping stalls.
    faults.fail_nth(2, Failure::Stalled);
    let mut rotating = host.daemon.infrad(["key", "rotate"]);
    assert!(wait::until(LIMIT, || faults.is_reached().then_some(())).is_some(), "{}", rotating.output());
    let mut served = 0;
    while rotating.is_running() && served < 20 {
        host.assert_session("while it stalls", 200);
        login::over_http(&host.daemon, &host.provider);
        served += usize::from(rotating.is_running());
    }
    // On a busy machine, the stall may be over before the twentieth.
    assert!(served > 1, "the rotation ended after {served} served logins\n{}", rotating.output());
    let ran = rotating.wait();
    assert_reported("a rotation that stalls", Failure::Stalled, &ran);
    // A busy machine notices the timeout of 10 s later.
    assert!((10..30).any(|seconds| ran.stderr.contains(&format!("within {seconds} s"))), "{ran}");
    assert_eq!(host.header(), header);
    faults.clear();
    host.run(&["key", "rotate"]).expect(0);

    // Commands that do not need the root key work without it.
    faults.fail_nth(1, Failure::Refused);
    for words in [&["backup", "again"][..], &["key", "recovery", "create"], &["key", "status"], &["status"]] {
        host.run(words).expect(0);
    }
    login::over_http(&host.daemon, &host.provider);
    host.assert_session("while it is away", 200);
}
