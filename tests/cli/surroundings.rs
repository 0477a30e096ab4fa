//! Logins in unusual environments: over SSH, in containers, with odd browsers, on limited terminals, and
//! terminated by a signal.

use std::net::TcpListener;
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::pending_login::PendingLogin;
use infra_harness::program::{Call, RecordingBrowser, Running, User};
use infra_harness::provider::Provider;
use infra_harness::{login, wait};
use rustix::process::Signal;

/// Time limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn login_explains_how_the_browser_reaches_each_environment() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let port = *daemon.redirect_ports().first().expect("three ports");
    let ssh = ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.7 2222");
    for (variables, expected) in [
        (
            &[ssh, ("USER", "alice")][..],
            format!("ssh -L {port}:127.0.0.1:{port} -N -p 2222 alice@192.0.2.7\r\n"),
        ),
        (&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")], format!(" {port}:{port}\r\n")),
        // The desktop of another user.
        (&[ssh, ("DISPLAY", ":0")], format!("ssh -L {port}:127.0.0.1:{port} -N -p 2222 192.0.2.7\r\n")),
        (&[("container", "podman")], format!("does not load (http://127.0.0.1:{port}/…)")),
    ] {
        let call =
            variables.iter().fold(login::call(&alice, &daemon), |call, (name, value)| call.env(name, value));
        let mut running = call.start_in_terminal();
        wait_until_asked(&mut running);
        let output = running.output();
        assert!(output.contains(&expected), "{expected:?} is not told\n{output}");
        assert!(output.contains(&format!("{}/", provider.issuer())), "the address is not told\n{output}");
        let forwards = output.matches("ssh -L").count() + output.matches("port-forward").count();
        assert_eq!(forwards, usize::from(!expected.contains('…')), "{output}");
        running.signal(Signal::INT);
        running.wait().expect(130);
    }
}

#[test]
fn container_login_without_terminal_asks_for_one() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let call = || login::call(&alice, &daemon).env("container", "docker");
    call()
        .run()
        .expect(2)
        .stderr_contains(&["cannot open a browser", "docker run -it", "--no-browser"])
        .stdout_is_empty();
    // `--no-browser` still prints the URL.
    let arguments = ["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-browser"];
    let mut running = alice.infra(arguments).env("container", "docker").start();
    running.wait_for("what to do", |_, stderr| stderr.contains("docker run -it").then_some(()));
    running.signal(Signal::TERM);
    running.wait().expect(130).stdout_is_empty();
}

#[test]
fn broken_browsers_are_skipped_until_one_opens() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let last = infra_harness::program::built("record-browser");
    let odd = format!(
        "no-such-browser:/nowhere/x %s:w3m:false --new '%s':./record-browser:: '{}' ",
        last.display()
    );
    let call = login::call(&alice, &daemon).browser(&browser).env("BROWSER", odd);
    call.run().expect(0).stderr_contains(&["signed in"]).stdout_is_empty();
    assert_eq!(browser.opened().len(), 1, "{:?}", browser.opened());
}

#[test]
fn login_that_nobody_can_complete_ends_at_once() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    for useless in ["/nonexistent", "no-such-browser", "w3m", "false"] {
        let ran = login::call(&alice, &daemon).env("BROWSER", useless).run().expect(2).stdout_is_empty();
        let ran = ran.stderr_contains(&["no program in BROWSER opened one", "--no-browser"]);
        assert!(!ran.stderr.contains(provider.issuer()), "an address for nobody\n{ran}");
    }
    // Somebody at a terminal is shown the address, and so is who asks for it.
    let mut at_terminal = login::call(&alice, &daemon).env("BROWSER", "/nonexistent").start_in_terminal();
    wait_until_asked(&mut at_terminal);
    at_terminal.signal(Signal::INT);
    at_terminal.wait().expect(130);
    let arguments = ["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-browser"];
    let mut printed = alice.infra(arguments).env("BROWSER", "/nonexistent").start();
    printed.wait_for("the address", |_, stderr| stderr.contains(provider.issuer()).then_some(()));
    printed.signal(Signal::INT);
    printed.wait().expect(130);
}

#[test]
fn browser_variable_never_reaches_a_shell() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let marker = alice.home().join("reached");
    for odd in ["true; touch MARKER", "$(touch MARKER)", "`touch MARKER`", "false | touch MARKER", "sh -c"] {
        let odd = odd.replace("MARKER", &marker.display().to_string());
        login::call(&alice, &daemon).env("BROWSER", &odd).run().expect(2);
        assert!(!marker.exists(), "{odd} was run by a shell");
    }
}

#[test]
fn hanging_browser_is_killed_with_the_login() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let users = [User::new(), User::new(), User::new()];
    // Concurrently, because each waits for the whole browser timeout.
    let begun = users.iter().zip(daemon.redirect_ports()).map(|(user, port)| {
        let hanging = Hanging::new(port);
        (login::call(user, &daemon).env("BROWSER", hanging.command()).start(), hanging)
    });
    let begun: Vec<_> = begun.collect();
    for ((mut running, hanging), signal) in begun.into_iter().zip([Signal::INT, Signal::TERM, Signal::HUP]) {
        running.wait_for("that no browser came", |_, stderr| {
            stderr.contains("no browser has opened").then_some(())
        });
        running.wait_for("the address", |_, stderr| stderr.contains(provider.issuer()).then_some(()));
        assert!(hanging.is_running(), "the browser did not even start");
        running.signal(signal);
        running.wait().expect(130).stdout_is_empty();
        assert!(!hanging.is_running(), "the browser was left behind by {signal:?}");
    }
    ports_are_free(&daemon);
}

#[test]
fn terminated_login_leaves_no_port_process_or_file() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let (token, files) = (login::token(&alice), alice.files());
    let temporary = tempfile::tempdir().expect("a directory for throw-away files");
    let begin = |arguments: &[&str]| {
        alice.infra([&["login", "--force"], arguments].concat()).env("TMPDIR", temporary.path())
    };
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let pending = PendingLogin::begin(begin(&[]));
        pending.running.signal(signal);
        pending.wait().expect(130).stdout_is_empty();
        ports_are_free(&daemon);
        assert_eq!(alice.files(), files, "{signal:?}");
    }
    let hanging = Hanging::new(daemon.port());
    begin(&["--timeout", "1s"])
        .env("BROWSER", hanging.command())
        .run()
        .expect(6)
        .stderr_contains(&["within 1 s"])
        .stdout_is_empty();
    assert!(!hanging.is_running(), "the browser was left behind after the timeout");
    ports_are_free(&daemon);
    assert_eq!(alice.files(), files);
    assert_eq!(alice.file("login.lock").as_deref(), Some(""), "the address of a login that is over is kept");
    assert_eq!(std::fs::read_dir(temporary.path()).expect("a directory").count(), 0);
    assert_eq!(login::token(&alice), token);
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn login_under_nohup_survives_hangup() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let trapped = PendingLogin::begin(login::call(&alice, &daemon).under(["nohup"]));
    trapped.running.signal(Signal::HUP);
    let response = trapped.sign_in(&provider);
    assert_eq!(trapped.respond(&response).0, 200);
    trapped.wait().expect(0);
}

#[test]
fn countdown_appears_only_at_a_capable_terminal() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::recording();
    let started = |change: fn(Call<'_>) -> Call<'_>| {
        let before = browser.opened().len();
        let running = change(login::call(&alice, &daemon).browser(&browser)).start_in_terminal();
        wait::until(LIMIT, || (browser.opened().len() > before).then_some(())).expect("a browser");
        running
    };
    let end = |running: Running| {
        running.signal(Signal::INT);
        running.wait().expect(130).stderr
    };
    let mut running = started(|call| call.env("TERM", "xterm"));
    let left = |stderr: &str| stderr.contains(" 4:5").then_some(());
    running.wait_for("the time left", |_, stderr| left(stderr));
    let drawn = end(running);
    assert!(drawn.contains('⠋') || drawn.contains('⠙'), "{drawn:?}");

    let mut running = started(|call| call.env("TERM", "xterm").env("LC_ALL", "C"));
    running.wait_for("the time left", |_, stderr| left(stderr));
    let drawn = end(running);
    let spinner = drawn.split("sign in on").next().unwrap_or_default();
    assert!(spinner.is_ascii(), "{drawn:?}");

    let mut running = started(|call| call.env("TERM", "dumb"));
    running.wait_for("what is waited for", |_, stderr| stderr.contains("in your browser").then_some(()));
    let drawn = end(running);
    assert!(!drawn.contains('\u{1b}') && !drawn.contains(" left: "), "{drawn:?}");

    let quiet = User::new();
    let (origin, fingerprint) = (daemon.origin(), daemon.fingerprint());
    let call = quiet.infra(["login", "-q", &origin, "--fingerprint", &fingerprint]).browser(&browser);
    let before = browser.opened().len();
    let running = call.env("TERM", "xterm").start_in_terminal();
    wait::until(LIMIT, || (browser.opened().len() > before).then_some(())).expect("a browser");
    let drawn = end(running);
    assert!(!drawn.contains("in your browser") && drawn.contains("interrupted"), "{drawn:?}");
}

/// A browser that never opens anything, identified among all processes by its argument.
struct Hanging(String);

impl Hanging {
    fn new(port: u16) -> Self {
        Self(format!("86399.{port}"))
    }

    fn command(&self) -> String {
        // The URL is an argument of `sh`, not part of the script.
        format!("sh -c 'sleep {} & wait' %s", self.0)
    }

    /// Returns `true` if any process has the argument.
    fn is_running(&self) -> bool {
        let processes = std::fs::read_dir("/proc").expect("the processes of this machine").flatten();
        let has_it = |path: std::path::PathBuf| {
            // The process may have exited.
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&self.0)
        };
        processes.map(|process| process.path()).any(has_it)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        assert!(std::thread::panicking() || !self.is_running(), "a browser was left behind");
    }
}

fn wait_until_asked(running: &mut Running) {
    running.wait_for("where to paste", |_, stderr| stderr.contains("paste the address").then_some(()));
}

#[track_caller]
fn ports_are_free(daemon: &Daemon) {
    for port in daemon.redirect_ports() {
        TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    }
}
