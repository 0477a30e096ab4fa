//! Many processes on one `~/.infra`, some of them killed: files stay intact and private, and one browser
//! opens.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::pending_login::PendingLogin;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Provider};
use infra_shared::random;
use rustix::process::Signal;
use serde_json::Value;

/// The number of processes, and of rounds per process; `INFRA_STRESS=100` sets both to 100.
const USUAL: usize = 20;

#[test]
fn concurrent_logins_open_one_browser() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    thread::scope(|scope| {
        for _ in 0..measure() {
            scope.spawn(|| login::call(&alice, &daemon).browser(&browser).run().expect(0));
        }
    });
    assert_eq!(browser.opened().len(), 1, "{:?}", browser.opened());
    assert_eq!(provider.calls(Endpoint::Token), 1);
}

#[test]
fn waiting_logins_show_address_and_one_replaces_a_killed_one() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let killed = PendingLogin::begin(login::call(&alice, &daemon));
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let call = || alice.infra(["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--force"]);
    let mut waiting: Vec<_> = (0..measure()).map(|_| call().browser(&browser).start()).collect();
    for running in &mut waiting {
        running.wait_for("the address of the pending login", |_, stderr| {
            (stderr.contains("another `infra login`") && stderr.contains(provider.issuer())).then_some(())
        });
    }
    assert!(browser.opened().is_empty(), "a second tab: {:?}", browser.opened());
    killed.running.signal(Signal::KILL);
    let ended: Vec<_> =
        waiting.into_iter().map(|running| running.wait().expect(0).stdout_is_empty()).collect();
    assert_eq!(browser.opened().len(), 1, "{:?}", browser.opened());
    assert_eq!(provider.calls(Endpoint::Token), 1, "more than one session was opened");
    let count = |what: &str| ended.iter().filter(|ran| ran.stderr.contains(what)).count();
    assert_eq!((count("\nsigned in to"), count("already signed in to")), (1, measure() - 1), "{ended:?}");
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn killed_login_releases_the_lock_immediately() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let killed = PendingLogin::begin(login::call(&alice, &daemon));
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let waiting = login::call(&alice, &daemon).browser(&browser).start();
    killed.running.signal(Signal::KILL);
    // A lock that survived its holder would block this login for longer than any command may take.
    waiting.wait().expect(0);
    assert_eq!(browser.opened().len(), 1);
}

#[test]
fn killed_processes_leave_no_damage() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemons = [Daemon::start(&provider), Daemon::start(&provider)];
    for daemon in &daemons {
        login::succeed(&alice, daemon, &provider);
    }
    let is_over = AtomicBool::new(false);
    let opened = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&alice.infra_home(), &is_over));
        let workers: Vec<_> = (0..measure())
            .map(|_| scope.spawn(|| (0..measure()).for_each(|_| one_round(&alice, &daemons, &provider))))
            .collect();
        let ended: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        is_over.store(true, Ordering::SeqCst);
        assert!(ended.iter().all(Result::is_ok), "a round failed");
        watcher.join().expect("the watcher")
    });
    assert_eq!(opened, Vec::<String>::new(), "files were open to others");

    // The next change removes temporary files of killed processes.
    login::succeed(&alice, daemons.first().expect("two daemons"), &provider);
    alice.infra(["logout"]).run().expect(0);
    let left: Vec<String> = alice.files().lines().map(str::to_owned).collect();
    assert_eq!(left.len(), 5, "{left:?}");
    for name in ["config.json", "sessions.json"] {
        let text = alice.file(name).expect("a file");
        serde_json::from_str::<Value>(&text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
    }
}

/// Runs a random command, and kills it in one of three cases.
fn one_round(alice: &User, daemons: &[Daemon; 2], provider: &Provider) {
    let daemon = daemons.get(dice(2)).expect("one of two");
    let origin = daemon.origin();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let (call, codes): (_, &[i32]) = match dice(6) {
        0 => (login::call(alice, daemon).browser(&browser), &[0]),
        1 => (alice.infra(["status", origin.as_str()]), &[0, 3]),
        2 => (alice.infra(["status", "--offline", origin.as_str()]), &[0, 3]),
        3 => (alice.infra(["token", origin.as_str()]), &[0, 3]),
        4 => (alice.infra(["use", origin.as_str()]), &[0]),
        _ => (alice.infra(["logout", origin.as_str()]), &[0]),
    };
    let running = call.start();
    if dice(3) == 0 {
        thread::sleep(Duration::from_millis(u64::try_from(dice(80)).expect("a small number")));
        running.signal(Signal::KILL);
        let _ = running.wait();
        return;
    }
    let ran = running.wait();
    assert!(ran.code.is_some_and(|code| codes.contains(&code)), "{ran}");
    assert!(!ran.stderr.contains("damaged"), "{ran}");
}

/// Returns the files that other users could read at any time, until the end.
fn watch(directory: &Path, is_over: &AtomicBool) -> Vec<String> {
    let mut open = Vec::new();
    while !is_over.load(Ordering::SeqCst) {
        for entry in directory.read_dir().into_iter().flatten().flatten() {
            // The file may be renamed at the same time.
            let Ok(metadata) = entry.path().symlink_metadata() else { continue };
            if metadata.permissions().mode() & 0o077 != 0 {
                open.push(entry.path().display().to_string());
            }
        }
        thread::yield_now();
    }
    open
}

fn dice(sides: usize) -> usize {
    usize::from(random::bytes::<1>()[0]) % sides
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long they may take")]
fn measure() -> usize {
    std::env::var("INFRA_STRESS").ok().and_then(|number| number.parse().ok()).unwrap_or(USUAL)
}
