//! Acknowledged sign-ins and sign-outs survive a failure of the disk, the provider or the secret backend at any step.
//! The daemon reports what failed and keeps running.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use infra_harness::api::Api;
use infra_harness::daemon::{Configuration, Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::disk::Disk;
use infra_harness::oracle::{Oracle, Stopped};
use infra_harness::peers;
use infra_harness::program::User;
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Misbehaviour, Provider};
use infra_harness::services::write_private;
use infra_harness::view::View;
use infra_harness::wait;

/// The system calls that fail, in turn, and the error: a broken disk or a full one.
const FAILURES: [(&str, &str); 5] = [
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("fdatasync,fsync", "EIO"),
    ("ftruncate", "EIO"),
    ("pread64", "EIO"),
];

/// Longer than the interval, so that every session is revalidated by then if it can be.
const WITHOUT_DISK: Duration = Duration::from_secs(13);

/// Longer than the interval plus the lease (25 s) that a worker without a disk could not release.
const REVALIDATION_LIMIT: Duration = Duration::from_secs(90);

/// All sessions belong to one user, and none may be evicted.
fn many_sessions(configuration: &mut Configuration) {
    "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
    // All clients share an address.
    MANY_LOGINS.clone_into(&mut configuration.more);
}

/// Signs in, out and in again, accepting failures. Returns how many steps were acknowledged.
fn sign_in_and_out(oracle: &Oracle<'_>, api: &Api) -> usize {
    let mut acknowledged = 0;
    let mut record = |step: &Result<(), Stopped>| match step {
        Ok(()) => acknowledged += 1,
        // If the daemon cannot write, it answers 503. If it cannot read, it does not say who is signed in.
        Err(stopped) => assert!(matches!(stopped, Stopped::Refused(503)), "{stopped:?}"),
    };
    for by_proof in [false, true] {
        let session = oracle.log_in(api);
        record(&session.as_ref().map(|_| ()).map_err(Stopped::clone));
        let Ok(session) = session else { continue };
        let ended =
            if by_proof { oracle.log_out_by_proof(api, session) } else { oracle.log_out(api, session) };
        record(&ended);
    }
    record(&oracle.log_in(api).map(|_| ()));
    acknowledged
}

/// Fails the `n`th call of each kind, once or from then on, for every `every`th `n` up to `last`.
fn fail_at(every: usize, last: usize) {
    if peers::find_program("strace").is_none() {
        return;
    }
    let provider = Provider::start();
    let mut daemon = Daemon::start_with(&provider, many_sessions);
    let oracle = Oracle::new(&daemon, &provider);
    daemon.stop();
    let (mut refused, mut not_started) = (0, 0);
    for (calls, error) in FAILURES {
        for n in (1..=last).step_by(every) {
            for lasting in ["", "+"] {
                let injected = format!("{error} at the {n}th{lasting} of {calls}");
                let serves = daemon.start_under(failing(&daemon, calls, error, &format!("{n}{lasting}")));
                if serves {
                    refused += usize::from(sign_in_and_out(&oracle, &oracle.client()) < 5);
                    assert!(daemon.is_running(), "{injected}: the daemon is gone\n{}", daemon.log());
                    daemon.kill();
                } else {
                    not_started += 1;
                    let log = daemon.complete_log();
                    assert!(log.contains("error:"), "{injected}: it does not say why it ends\n{log}");
                }
                daemon.start_again();
                let compared = oracle.compare(0);
                assert_eq!(compared.lost, [""; 0], "{injected}\n{}", daemon.log());
                assert_eq!(
                    sign_in_and_out(&oracle, &oracle.client()),
                    5,
                    "{injected}: it does not work afterwards"
                );
                daemon.stop();
            }
        }
    }
    println!("{refused} runs in which something could not be done, {not_started} starts that failed");
    assert!(refused > 0 && not_started > 0, "nothing failed: {refused}, {not_started}");
    daemon.start_again();
    daemon.infrad(["backup", "whole"]).wait().expect(0);
}

/// Returns a strace command that fails these calls on the database's files.
fn failing(daemon: &Daemon, calls: &str, error: &str, when: &str) -> Command {
    let mut strace = Command::new("strace");
    // `-D`: the started process is the daemon, and strace is its grandchild.
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
    for file in files(daemon) {
        strace.arg("-P").arg(file);
    }
    strace.arg("-e").arg(format!("trace={calls}"));
    strace.arg("-e").arg(format!("inject={calls}:error={error}:when={when}"));
    strace
}

fn files(daemon: &Daemon) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(daemon.data_dir()).expect("the data directory").flatten();
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "db"))
        .collect();
    for database in files.clone() {
        for companion in ["-wal", "-shm"] {
            let mut name = database.clone().into_os_string();
            name.push(companion);
            files.push(name.into());
        }
    }
    files
}

/// Returns a strace command that fails these calls, only for `path` if there is one.
fn injecting(calls: &str, error: &str, path: Option<&Path>) -> Command {
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
    if let Some(path) = path {
        strace.arg("-P").arg(path);
    }
    strace.arg("-e").arg(format!("trace={calls}")).arg("-e").arg(format!("inject={calls}:error={error}"));
    strace
}

#[test]
fn data_directory_without_file_locks_is_refused() {
    if peers::find_program("strace").is_none() {
        return;
    }
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    assert!(!daemon.start_under(injecting("flock", "ENOLCK", None)), "it started");
    daemon.wait_for_log("set `dataDir` to a directory on a local file system");
}

#[test]
fn daemon_warns_if_directories_cannot_be_synced() {
    if peers::find_program("strace").is_none() {
        return;
    }
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let data = daemon.data_dir();
    std::fs::DirBuilder::new().mode(0o700).create(&data).expect("a directory");
    assert!(daemon.start_under(injecting("fsync", "EINVAL", Some(&data))), "{}", daemon.log());
    daemon.wait_for_log("a file system cannot sync directories");
    let is_ready = || (daemon.infrad(["status"]).wait().code == Some(0)).then_some(());
    assert!(wait::until(Duration::from_mins(1), is_ready).is_some(), "{}", daemon.log());
}

#[test]
fn acknowledged_changes_survive_disk_failure_at_some_steps() {
    fail_at(7, 22);
}

#[test]
#[ignore = "takes several minutes"]
fn acknowledged_changes_survive_disk_failure_at_any_step() {
    fail_at(1, 60);
}

/// Fails the `n`th call of each kind, once or from then on, while the daemon revalidates due sessions.
fn fail_while_revalidating(every: usize, last: usize) {
    if peers::find_program("strace").is_none() {
        return;
    }
    // This provider replaces refresh tokens at each use and accepts each only once.
    let provider = Provider::start();
    let mut daemon = Daemon::start_with(&provider, |configuration| {
        many_sessions(configuration);
        "{maxPerUser: 10000, revalidateEvery: 10s}".clone_into(&mut configuration.sessions);
    });
    let oracle = Oracle::new(&daemon, &provider);
    let (mut revalidated, mut spent) = (0, 0);
    for (calls, error) in FAILURES {
        for n in (1..=last).step_by(every) {
            for lasting in ["", "+"] {
                let injected = format!("{error} at the {n}th{lasting} of {calls}");
                let api = oracle.client();
                for _ in 0..4 {
                    oracle.log_in(&api).expect("a login");
                }
                let left = oracle.log_in(&api).expect("a login");
                oracle.log_out(&api, left).expect("a logout");
                daemon.stop();
                let (before, log_before) = (provider.calls(Endpoint::Token), daemon.complete_log().len());
                if daemon.start_under(failing(&daemon, calls, error, &format!("{n}{lasting}"))) {
                    let is_revalidated = || (provider.calls(Endpoint::Token) >= before + 4).then_some(());
                    let limit = if lasting == "+" { WITHOUT_DISK } else { REVALIDATION_LIMIT };
                    let is_revalidated = wait::until(limit, is_revalidated).is_some();
                    // If the daemon cannot write anything, it does not contact the provider.
                    assert!(is_revalidated || lasting == "+", "{injected}: one failure stops revalidation");
                    revalidated += provider.calls(Endpoint::Token) - before;
                    daemon.stop();
                }
                daemon.start_again();
                let again = provider.calls(Endpoint::Token);
                let is_revalidated = || (provider.calls(Endpoint::Token) >= again + 4).then_some(());
                let is_revalidated = wait::until(REVALIDATION_LIMIT, is_revalidated).is_some();
                assert!(is_revalidated, "{injected}: sessions are not revalidated afterwards");
                let compared = oracle.compare(0);
                let log = daemon.complete_log().split_off(log_before);
                let is_reported = log.contains("a response of the provider was lost");
                assert!(
                    compared.lost.is_empty() || (lasting == "+" && is_reported),
                    "{injected}: {:?}\n{log}",
                    compared.lost
                );
                assert!(
                    compared.lost.iter().all(|spent| spent.starts_with("In")),
                    "{injected}: a session came back"
                );
                spent += compared.lost.len();
            }
        }
    }
    println!(
        "{revalidated} revalidations during failures; {spent} sessions ended because nothing could be stored permanently"
    );
    assert!(revalidated > 0, "no session was revalidated");
}

#[test]
#[ignore = "takes several minutes"]
fn revalidation_survives_disk_failure_at_any_step() {
    fail_while_revalidating(13, 40);
}

#[test]
fn acknowledged_changes_survive_full_disk() {
    let provider = Provider::start();
    let Some(view) = View::new() else { return };
    let view = Arc::new(view);
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], many_sessions);
    let disk = daemon.data_dir();
    std::fs::create_dir(&disk).expect("a directory");
    view.mount_disk(&disk, 8192);
    daemon.set_view(&view);
    daemon.start_again();
    let oracle = Oracle::new(&daemon, &provider);
    let mut refused = 0;
    for room in 0..24 {
        view.fill_disk(&disk);
        view.shrink_filling(&disk, room);
        refused += usize::from(sign_in_and_out(&oracle, &oracle.client()) < 5);
        assert!(daemon.is_running(), "{}", daemon.log());
        daemon.kill();
        view.empty_disk(&disk);
        daemon.start_again();
        let compared = oracle.compare(0);
        assert_eq!(compared.lost, [""; 0], "with {room} pages of room\n{}", daemon.log());
        assert_eq!(sign_in_and_out(&oracle, &oracle.client()), 5, "it does not work afterwards");
    }
    assert!(refused > 0, "the disk was never full");
}

#[test]
fn provider_failure_fails_only_that_login() {
    let provider = Provider::start();
    let mut daemon = Daemon::start_with(&provider, many_sessions);
    let oracle = Oracle::new(&daemon, &provider);
    let api = oracle.client();
    for endpoint in [Endpoint::Discovery, Endpoint::Token, Endpoint::Keys, Endpoint::UserInfo] {
        for status in [500, 503, 429, 404] {
            // A restart clears cached metadata, so that the daemon calls every endpoint.
            daemon.restart();
            provider.misbehave(Misbehaviour::default().answer(endpoint, move |answer| {
                answer.status = status;
                answer.body = b"{}".to_vec();
            }));
            let refused = oracle.log_in(&api).map(|_| ());
            let is_reported = matches!(refused, Err(Stopped::Refused(502 | 403)));
            // The daemon may skip userinfo, because the ID token already has those claims.
            assert!(is_reported || endpoint == Endpoint::UserInfo, "{endpoint:?} {status}: {refused:?}");
            provider.behave();
            oracle.log_in(&api).unwrap_or_else(|stopped| panic!("{endpoint:?} {status}: then {stopped:?}"));
        }
    }
    assert_eq!(oracle.compare(0).lost, [""; 0]);
}

#[test]
fn unreadable_client_secret_fails_only_logins() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let secret = daemon.directory().join("moved.secret");
    daemon.change(|configuration| {
        let reference = format!("file:{}", secret.display());
        configuration
            .providers
            .iter_mut()
            .for_each(|entry| entry.client_secret_reference = Some(reference.clone()));
    });
    write_private(&secret, CLIENT_SECRET);
    daemon.start_again();
    let oracle = Oracle::new(&daemon, &provider);
    let api = oracle.client();
    let session = oracle.log_in(&api).expect("a login");
    for _ in 0..3 {
        std::fs::remove_file(&secret).expect("a file");
        let refused = oracle.log_in(&api);
        assert!(matches!(refused, Err(Stopped::Refused(503))), "{refused:?}");
        write_private(&secret, CLIENT_SECRET);
        oracle.log_in(&api).expect("a login");
    }
    std::fs::remove_file(&secret).expect("a file");
    oracle.log_out(&api, session).expect("a logout needs no secret");
    assert_eq!(oracle.compare(0).lost, [""; 0]);
}

#[test]
fn start_on_a_full_disk_names_the_place_and_what_to_do() {
    let (provider, user) = (Provider::start(), User::new());
    let mut told = Vec::new();
    // The disk is full at the header, at the database, and inside it.
    for kilobytes in [4, 8, 48] {
        let Some(disk) = Disk::of(&user, kilobytes) else { return };
        let data_dir = user.home().join("data");
        let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
            configuration.data_dir.clone_from(&data_dir);
        });
        let ran = daemon.infrad_under(disk.as_ref().enter("env"), &["serve"]).wait().expect(1);
        let ran = ran.stderr_contains(&[&data_dir.display().to_string(), "try: ", "`df"]);
        told.push(ran.stderr);
    }
    assert!(told.iter().any(|text| text.contains("the database failed")), "{told:?}");
}

/// The first start made the store and failed: the operator has seen no warning yet.
#[test]
fn new_store_is_told_until_a_start_has_succeeded() {
    if peers::find_program("strace").is_none() {
        return;
    }
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    // The first attempt only looks, the second one is the control socket.
    let mut failing = Command::new("strace");
    failing.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=bind"]);
    failing.args(["-e", "inject=bind:error=EADDRINUSE:when=3+"]);
    assert!(!daemon.start_under(failing), "it serves without an address");
    assert!(daemon.data_dir().join("infrad.db").exists(), "the store was not made\n{}", daemon.log());
    daemon.start_again();
    daemon.wait_for_log("created a new store");
    daemon.stop();
    let told = |daemon: &Daemon| daemon.complete_log().matches("created a new store").count();
    let before = told(&daemon);
    daemon.start_again();
    assert_eq!(told(&daemon), before, "a store that was started before is called new\n{}", daemon.log());
}

#[test]
fn daemon_that_hangs_is_named_with_its_process() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let process = rustix::process::Pid::from_raw(daemon.process().cast_signed()).expect("a process");
    rustix::process::kill_process(process, rustix::process::Signal::STOP).expect("it is ours");
    // Both at once: each waits as long as a daemon may take.
    let hanging =
        [&["status"][..], &["backup", "infra.backup"]].map(|words| daemon.infrad_slice_with_input(words, ""));
    let ran = hanging.map(|running| running.wait().expect(1));
    rustix::process::kill_process(process, rustix::process::Signal::CONT).expect("it is ours");
    for ran in ran {
        ran.stderr_contains(&[
            &format!("(process {})", daemon.process()),
            &format!("`kill -CONT {}`", daemon.process()),
        ]);
    }
    daemon.infrad(["status"]).wait().expect(0);
}
