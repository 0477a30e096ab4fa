//! Tests of sign-ins that wait, alone and at a terminal.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use infra_shared::api::Provider;
use url::Url;

use super::*;
use crate::settings::Environment;
use crate::terminal::Terminal;

/// Runs `act` with a sign-in that has free ports, and no browser to open. It takes the first that is still free.
fn with_login<T>(
    browser: Browser,
    interactive: bool,
    method: HandoverMethod,
    act: impl FnOnce(Result<PendingLogin<'_>, LoginError>) -> T,
) -> T {
    let free = [(); 5].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    let redirect_uri = |socket: TcpListener| {
        let port = socket.local_addr().expect("an address").port();
        format!("http://127.0.0.1:{port}/callback")
    };
    let provider = Provider {
        name: "okta".to_owned(),
        kind: "okta".to_owned(),
        issuer: "https://login.test".to_owned(),
        redirect_uris: free.map(redirect_uri).into(),
    };
    let setup = Setup {
        origin: &"infra.test".parse().expect("an origin"),
        pin: None,
        provider: &provider,
        browser,
        environment: Environment::Machine,
        path: None,
        home: Path::new("/nowhere"),
        timeout: Duration::from_mins(1),
        terminal: Terminal { interactive, is_terminal_output: false, quiet: true, verbose: 0 },
    };
    let login = BrowserLogin::prepare(&setup).expect("a port");
    let address = format!("https://login.test/authorize?state={}", login.request.state);
    let url = AuthorizationURL(Url::parse(&address).expect("a URL"));
    act(PendingLogin::begin(login, url, "ticket".into(), method))
}

#[test]
fn failed_handover_without_terminal_ends_the_login() {
    with_login(Browser::Desktop, false, HandoverMethod::File, |pending| {
        assert!(matches!(pending, Err(LoginError::Handover(_))));
    });
}

/// Tests of a system whose terminal cuts lines that are shorter than an address. The tests run as if this were one.
#[cfg(target_os = "linux")]
mod at_a_terminal {
    use std::process::Command;

    use infra_harness::program::Running;
    use infra_harness::wait;
    use infra_shared::api::LoginMethod;
    use infra_shared::signals::{is_hangup_ignored, is_stop_ignored};
    use rustix::process::Signal;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::failure::Exit;

    const LIMIT: Duration = Duration::from_mins(1);
    /// The longest code that is accepted. Linux cuts lines at 4,096 bytes, so the rest of the address would be missing.
    const LONG: usize = 4096;

    #[test]
    #[ignore = "the tests below run it at a terminal"]
    fn child_waits() {
        with_login(Browser::Elsewhere, true, HandoverMethod::File, |pending| {
            let mut pending = pending.expect("it waits");
            let terminal = pending.setup.terminal;
            match pending.receive_code() {
                Ok(request) if request.login_method == LoginMethod::Paste => {
                    drop(pending);
                    terminal.print(&format!("received {} bytes", request.code.expose_secret().len()));
                }
                Err(LoginError::Interrupted) => terminal.print("was interrupted"),
                other => panic!("{other:?}"),
            }
        });
    }

    #[test]
    #[ignore = "the tests below run it at a terminal"]
    fn child_never_ends_by_itself() {
        with_login(Browser::Elsewhere, true, HandoverMethod::File, |pending| {
            let _pending = pending.expect("it waits");
            loop {
                std::thread::park();
            }
        });
    }

    /// Starts a child at a terminal of its own, and waits until it reads keys.
    fn child(name: &str) -> Running {
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(std::env::current_exe().expect("this program"));
        let test = format!("browser_login::wait::tests::at_a_terminal::{name}");
        command.args(["--exact", "--ignored", "--nocapture", &test]);
        let child = Running::start_in_terminal(command, name.to_owned(), LIMIT);
        assert_eq!(
            wait::until(LIMIT, || (!child.passes_lines()).then_some(())),
            Some(()),
            "{}",
            child.output()
        );
        child
    }

    #[test]
    fn address_longer_than_a_line_of_the_terminal_arrives() {
        let mut child = child("child_waits");
        let state = child.wait_for("an address", |_, shown| {
            let state = shown.split("state=").nth(1)?.split_whitespace().next()?;
            Some(state.to_owned())
        });
        let erase = '\u{7f}';
        let line = format!("?code={}xä{erase}{erase}&state={state}", "c".repeat(LONG));
        child.enter(&line);
        child
            .wait_for("how much it received", |_, shown| shown.contains("received 4096 bytes").then_some(()));
        assert!(child.passes_lines());
        assert_eq!(child.wait_for_end(LIMIT), Some(Some(0)));
    }

    #[test]
    fn terminal_is_restored_by_every_interrupt() {
        // Ctrl-C and Ctrl-\, and what a process manager or a closed terminal sends.
        let hangup = (!is_hangup_ignored()).then_some(Ok(Signal::HUP));
        for end in [Err('\u{3}'), Err('\u{1c}'), Ok(Signal::TERM)].into_iter().chain(hangup) {
            let mut child = child("child_waits");
            match end {
                Ok(signal) => child.signal(signal),
                Err(key) => child.press(key),
            }
            assert_eq!(child.wait_for_end(LIMIT), Some(Some(0)), "{}", child.output());
            assert!(child.passes_lines(), "{end:?}");
        }
    }

    #[test]
    fn terminal_is_restored_by_the_second_interrupt() {
        let mut child = child("child_never_ends_by_itself");
        child.signal(Signal::INT);
        child.signal(Signal::TERM);
        assert_eq!(child.wait_for_end(LIMIT), Some(Some(Exit::Interrupted as i32)), "{}", child.output());
        assert!(child.passes_lines());
    }

    #[test]
    fn terminal_is_restored_while_stopped() {
        if is_stop_ignored() {
            return infra_harness::skip::report("this test was started without job control");
        }
        let mut child = child("child_waits");
        child.press('\u{1a}');
        child.wait_until_stopped();
        assert!(child.passes_lines());
        child.signal(Signal::CONT);
        assert_eq!(
            wait::until(LIMIT, || (!child.passes_lines()).then_some(())),
            Some(()),
            "{}",
            child.output()
        );
        child.press('\u{3}');
        assert_eq!(child.wait_for_end(LIMIT), Some(Some(0)), "{}", child.output());
        assert!(child.passes_lines());
    }
}
