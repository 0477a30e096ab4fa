//! A user at a terminal: `infra` asks for missing input, and accepts a login finished in another browser.

use std::net::TcpListener;
use std::time::Duration;

use infra_harness::browser::{Browser, follow_to_callback};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::pending_login::AuthorizationResponse;
use infra_harness::program::{RecordingBrowser, Running, User};
use infra_harness::provider::{Endpoint, Provider};
use infra_harness::{login, wait};

/// Time limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn pasted_address_completes_login_without_a_free_port() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let occupied: Vec<TcpListener> = daemon
        .redirect_ports()
        .into_iter()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .collect();
    assert_eq!(occupied.len(), 3);

    let mut running = login::call(&alice, &daemon).start_in_terminal();
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    assert!(
        !running.output().contains("ssh -L"),
        "a port that is not listened on is forwarded\n{}",
        running.output()
    );
    running.enter(&response.with("state", "wrong").url());
    running.enter("what?");
    running.wait_for("twice that this is not it", |_, stderr| {
        (stderr.matches("paste the one").count() == 2).then_some(())
    });
    assert_eq!(provider.calls(Endpoint::Token), 0);

    running.enter(&response.url());
    running.wait().expect(0).stderr_contains(&["signed in", "alice"]).stdout_is_empty();
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn pasted_address_is_accepted_while_listening() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut running = login::call(&alice, &daemon).start_in_terminal();
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    running.enter(&response.url());
    running.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn pasted_address_with_quotes_or_other_scheme_is_accepted() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut running = login::call(&alice, &daemon).start_in_terminal();
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    let address = response.url().replace("http://", "https://");
    running.enter(&format!("\u{1b}[200~\"<{address}>\"\u{1b}[201~ "));
    running.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn wrong_paste_is_explained_and_login_waits_on() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut running = login::call(&alice, &daemon).start_in_terminal();
    let opened = authorization_url(&mut running, &provider);
    let response = AuthorizationResponse::of(&opened, &provider);
    let address = response.url();
    let half = address.split("&state=").next().expect("a part");
    for (pasted, said) in [
        (opened.as_str(), "that is an address of the sign-in page"),
        (half, "a part of that address is missing"),
        ("infra status", "that is not an address"),
    ] {
        running.enter(pasted);
        running.wait_for(said, |_, stderr| stderr.contains(said).then_some(()));
    }
    running.enter(&address);
    running.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn enter_shows_url_and_pasted_address_is_accepted() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::recording();
    let mut running = login::call(&alice, &daemon).browser(&browser).start_in_terminal();
    running.wait_for("that it waits", |_, stderr| {
        stderr.contains("press Enter to show its address").then_some(())
    });
    assert!(!running.output().contains(provider.issuer()), "{}", running.output());
    running.enter("");
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    running.enter("what?");
    running.wait_for("that this is not it", |_, stderr| stderr.contains("is not an address").then_some(()));
    running.enter(&response.url());
    running.wait().expect(0).stderr_contains(&["signed in"]);
    assert_eq!(browser.opened().len(), 1);
}

#[test]
fn only_a_pasted_address_is_read_without_a_prompt() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::recording();
    let mut running = login::call(&alice, &daemon).browser(&browser).start_in_terminal();
    let opened = wait::until(LIMIT, || browser.opened().first().cloned()).expect("a browser was opened");
    running.enter("next command");
    running.enter("and another");
    let follow =
        Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] };
    let to = follow_to_callback(&opened, &follow).expect("a response").urls.pop().expect("at least one");
    running.enter(&to);
    running.enter("after the address");
    // `infra` reads and rejects the lines before the address, and reads nothing after it.
    running.wait_for_end(LIMIT).expect("the address is taken");
    assert_eq!(running.left_for_the_shell(), "after the address\n");
    running.wait().expect(0).stderr_contains(&["is not an address", "signed in"]);
}

#[test]
fn input_typed_during_the_wait_is_left_for_the_shell() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::recording();
    let mut running = login::call(&alice, &daemon).browser(&browser).start_in_terminal();
    let opened = wait::until(LIMIT, || browser.opened().first().cloned()).expect("a browser was opened");
    running.enter("infra status");
    running.enter("git push");
    let follow =
        Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] };
    infra_harness::browser::follow(&opened, &follow).expect("a last page");
    running.wait_for_end(LIMIT).expect("the login is complete");
    assert_eq!(running.left_for_the_shell(), "infra status\ngit push\n");
    running.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn unknown_server_is_verified_by_the_operators_line() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let fingerprint = daemon.fingerprint();
    let mut running = alice.infra(["login", &daemon.origin(), "--no-keyring"]).start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Paste the fingerprint").then_some(()));
    assert!(!running.output().contains(&fingerprint), "it shows what was received\n{}", running.output());
    running.enter(&format!("infra login somewhere.example --fingerprint {fingerprint}"));
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    running.enter(&response.url());
    running.wait().expect(0);
    assert_eq!(alice.infra(["status", "--json"]).run().expect(0).json()["trust"], "pinned");
}

#[test]
fn wrong_entered_fingerprint_is_shown_with_the_actual_one() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let wrong = format!("sha256:{}", "ab".repeat(32));
    let mut running = alice.infra(["login", &daemon.origin()]).start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Paste the fingerprint").then_some(()));
    running.enter(&wrong);
    running.wait().expect(5).stderr_contains(&[&wrong, &daemon.fingerprint(), "operator"]).stdout_is_empty();
    assert_eq!(alice.file("config.json"), None);
}

#[test]
fn login_prompts_for_an_unspecified_server() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let call = alice.infra(["login", "--no-keyring"]).env("INFRA_FINGERPRINT", daemon.fingerprint());
    let mut running = call.start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Server").then_some(()));
    running.enter(&daemon.origin());
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &provider), &provider);
    running.enter(&response.url());
    running.wait().expect(0);
}

#[test]
fn dumb_terminal_gets_line_prompts() {
    let (first, second, alice) = (Provider::start(), Provider::start(), User::new());
    let entries = vec![ProviderEntry::of(&first), ProviderEntry::of(&second).named("other")];
    let daemon = Daemon::start_for(entries, |_| {});
    let mut running = login::call(&alice, &daemon).env("TERM", "dumb").start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Identity provider (1-2):").then_some(()));
    running.enter("2");
    let response = AuthorizationResponse::of(&authorization_url(&mut running, &second), &second);
    running.enter(&response.url());
    let ran = running.wait().expect(0).stderr_contains(&["1  okta", "2  other"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{ran}");
    assert_eq!(alice.infra(["status", "--json"]).run().expect(0).json()["user"]["provider"], "other");

    let bob = User::new();
    let mut running = bob.infra(["login"]).env("TERM", "dumb").start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Server (host or host:port):").then_some(()));
    running.enter("http://gate.test");
    running.wait().expect(2).stderr_contains(&["that is not a server"]);
}

#[test]
fn shell_line_pasted_at_the_server_prompt_is_explained() {
    let alice = User::new();
    let mut running = alice.infra(["login"]).start_in_terminal();
    running.wait_for("a question", |_, stderr| stderr.contains("Server").then_some(()));
    running.enter("export INFRA_HOME='/tmp/infrad-dev-o7o4wu/infra'");
    running
        .wait()
        .expect(2)
        .stderr_contains(&["that is not a server", "paste it again, now at the shell's prompt"]);
}

/// The displayed URL, once its line is complete.
pub(crate) fn authorization_url(running: &mut Running, provider: &Provider) -> String {
    running.wait_for("the URL", |_, stderr| {
        let start = stderr.find(&format!("{}/", provider.issuer()))?;
        let (url, _) = stderr.get(start..)?.split_once(['\r', '\n'])?;
        // The prompt shows that `infra` is ready for input.
        stderr.contains("paste the address").then(|| url.to_owned())
    })
}
