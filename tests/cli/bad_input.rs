//! Bad input and failing peers: the exit code shows the kind of error, the message helps, and existing data
//! survives.

use std::net::TcpListener;

use infra_harness::authority::Authority;
use infra_harness::daemon::{Configuration, Daemon, ProviderEntry};
use infra_harness::https::{Answer, Server};
use infra_harness::login;
use infra_harness::ports::Ports;
use infra_harness::program::{Ran, RecordingBrowser, User};
use infra_harness::provider::{CLIENT_SECRET, Endpoint, Misbehaviour, Person, Provider};
use serde_json::json;

const CANARY: &str = "canary-neighbour-0123456789";

#[test]
fn unknown_key_is_reported_with_position_and_nearest_key() {
    let ran = check_broken("    clientID: ", "    clientld: ");
    ran.expect(2).stderr_contains(&["clientld", "clientID"]);
}

#[test]
fn wrong_type_is_reported_with_position() {
    check_broken("version: 1", "version: [one]").expect(2);
    check_broken("    redirectPorts: [", "    redirectPorts: [many, ").expect(2);
}

#[test]
fn invalid_value_is_reported_with_position() {
    check_broken("    issuer: https://", "    issuer: http://").expect(2).stderr_contains(&["https"]);
    check_broken("    kind: oidc", "    kind: ldap").expect(2).stderr_contains(&["oidc"]);
    check_broken("    signingAlgorithms: [", "    signingAlgorithms: [HS256, ")
        .expect(2)
        .stderr_contains(&["signingAlgorithms", "HMAC"]);
    check_broken("    signingAlgorithms: [", "    signingAlgorithms: [none, ")
        .expect(2)
        .stderr_contains(&["signingAlgorithms"]);
}

#[test]
fn broken_yaml_is_reported_with_position() {
    check_broken("keys:\n", "keys: {\n").expect(2);
}

#[test]
fn generic_provider_requires_an_explicit_allow_policy() {
    let provider = Provider::start();
    let daemon = prepare(&provider, |yaml| yaml.replace("    allow: everyone\n", ""));
    daemon.infrad(["check"]).wait().expect(2).stderr_contains(&["allow"]);
}

#[test]
fn secret_without_backend_is_explained_but_not_shown() {
    let provider = Provider::start();
    let daemon =
        prepare(&provider, |yaml| yaml.replace("clientSecret: file:", &format!("clientSecret: {CANARY}/")));
    let ran = daemon.infrad(["check"]).wait().expect(2).stderr_contains(&["plaintext:"]);
    assert!(!ran.to_string().contains(CANARY), "the secret is shown\n{ran}");
}

#[test]
fn valid_configuration_is_reported_as_valid() {
    let provider = Provider::start();
    prepare(&provider, str::to_owned).infrad(["check"]).wait().expect(0);
}

#[test]
fn three_occupied_ports_are_reported_and_session_is_kept() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    let ports = daemon.redirect_ports();
    let occupied: Vec<TcpListener> =
        ports.iter().filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok()).collect();
    assert_eq!(occupied.len(), 3);

    let browser = RecordingBrowser::recording();
    let ran = alice.infra(["login", "--force"]).browser(&browser).run().expect(1).stdout_is_empty();
    for port in ports {
        assert!(ran.stderr.contains(&port.to_string()), "port {port} is not named\n{ran}");
    }
    assert!(browser.opened().is_empty(), "a browser was opened for nothing");
    is_still_signed_in(&alice, &token);
}

#[test]
fn unreachable_daemon_is_reported() {
    let (provider, alice) = (Provider::start(), User::new());
    let stopped = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let fingerprint = format!("sha256:{}", "ab".repeat(32));
    let arguments = ["login", &stopped.origin(), "--fingerprint", &fingerprint];
    alice.infra(arguments).run().expect(4).stderr_contains(&[&stopped.origin()]).stdout_is_empty();
}

#[test]
fn unreachable_daemon_keeps_the_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    daemon.stop();
    alice.infra(["login"]).run().expect(4).stdout_is_empty();
    alice.infra(["login", "--force"]).run().expect(4).stdout_is_empty();
    daemon.start_again();
    is_still_signed_in(&alice, &token);
}

#[test]
fn unreachable_provider_is_reported() {
    let (provider, alice) = (Provider::start(), User::new());
    let ports = Ports::reserve(1);
    let port = *ports.all().first().expect("one port");
    let away = ProviderEntry { issuer: format!("https://127.0.0.1:{port}"), ..ProviderEntry::of(&provider) };
    let daemon = Daemon::start_for(vec![away], |_| {});
    let browser = RecordingBrowser::recording();
    login::call(&alice, &daemon)
        .browser(&browser)
        .run()
        .expect(4)
        .stderr_contains(&["provider"])
        .stdout_is_empty();
    assert!(browser.opened().is_empty(), "a browser was opened for nothing");
    alice.infra(["status", "--quiet"]).run().expect(3);
}

#[test]
fn provider_failure_in_last_step_keeps_the_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    provider.misbehave(Misbehaviour::default().answer(Endpoint::Token, |answer| answer.status = 503));
    forced_login(&alice, &provider).expect(4).stderr_contains(&["provider"]).stdout_is_empty();
    is_still_signed_in(&alice, &token);
}

#[test]
fn corrected_client_secret_needs_no_restart() {
    let (provider, alice) = (Provider::start(), User::new());
    let wrong = ProviderEntry { client_secret: CANARY.to_owned(), ..ProviderEntry::of(&provider) };
    let mut daemon = Daemon::start_for(vec![wrong], |_| {});
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let ran = login::call(&alice, &daemon)
        .browser(&browser)
        .run()
        .expect(4)
        .stderr_contains(&["client secret"])
        .stdout_is_empty();
    assert!(
        !ran.to_string().contains(CANARY) && !daemon.complete_log().contains(CANARY),
        "the secret is shown"
    );
    alice.infra(["status", "--quiet"]).run().expect(3);

    daemon.change(|configuration| {
        for provider in &mut configuration.providers {
            CLIENT_SECRET.clone_into(&mut provider.client_secret);
        }
    });
    login::succeed(&alice, &daemon, &provider);
    assert!(!daemon.complete_log().contains(CLIENT_SECRET), "the secret is in the log");
}

#[test]
fn cancelled_sign_in_keeps_the_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    provider.person(Person::Cancels);
    forced_login(&alice, &provider).expect(6).stdout_is_empty();
    is_still_signed_in(&alice, &token);
}

#[test]
fn unfinished_login_times_out_and_keeps_the_session() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    let browser = RecordingBrowser::recording();
    let ran = alice
        .infra(["login", "--force", "--timeout", "2s"])
        .browser(&browser)
        .run()
        .expect(6)
        .stdout_is_empty();
    ran.stderr_contains(&["`infra login` again", "`infra doctor` checks the provider"]);
    assert_eq!(browser.opened().len(), 1);
    is_still_signed_in(&alice, &token);
}

#[test]
fn invalid_login_arguments_are_usage_errors() {
    let alice = User::new();
    for arguments in [
        &["login", "https://127.0.0.1:9", "--timeout", "6m"][..],
        &["login", "http://127.0.0.1:9"],
        &["login", "https://127.0.0.1:9", "--fingerprint", "sha256:short"],
        &["no-such-command"],
    ] {
        alice.infra(arguments).run().expect(2).stdout_is_empty();
    }
}

#[test]
fn damaged_file_never_blocks_the_next_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    std::fs::write(alice.infra_home().join("sessions.json"), "{ damaged").expect("a file to damage");
    login::succeed(&alice, &daemon, &provider);
    let set_aside = alice
        .infra_home()
        .read_dir()
        .expect("a folder")
        .flatten()
        .any(|entry| std::fs::read_to_string(entry.path()).is_ok_and(|text| text == "{ damaged"));
    assert!(set_aside, "the damaged file is gone\n{}", alice.files());
    alice.infra(["status", "--quiet"]).run().expect(0);
}

/// Replaces `sound` with `broken` in a configuration. `infrad check` and `infrad serve` must both reject it
/// before writing anything, and report the position without the neighbouring secret.
fn check_broken(sound: &str, broken: &str) -> Ran {
    let provider = Provider::start();
    let daemon = prepare(&provider, |yaml| {
        assert!(yaml.contains(sound), "nothing to break: {yaml}");
        let yaml = yaml.replace("clientSecret: file:", &format!("clientSecret: plaintext:{CANARY} # file:"));
        yaml.replacen(sound, broken, 1)
    });
    let served = daemon.infrad(["serve"]).wait().expect(2);
    let checked = daemon.infrad(["check"]).wait();
    for ran in [&served, &checked] {
        assert!(!ran.to_string().contains(CANARY), "a neighbouring secret is shown\n{ran}");
        assert!(has_position(&ran.stderr), "line and column are not told\n{ran}");
    }
    assert!(!daemon.data_dir().exists(), "a refused configuration left something\n{}", daemon.files());
    checked
}

/// Finds `12:3`, or `line 12 column 3` in some form.
fn has_position(stderr: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = stderr.split(|character: char| !character.is_ascii_alphanumeric()).collect();
    let in_words = parts.contains(&"line") && parts.contains(&"column");
    let numbers =
        stderr.split_whitespace().any(|word| word.split(':').filter(|part| is_number(part)).count() >= 2);
    in_words || numbers
}

fn prepare(provider: &Provider, edit: impl FnOnce(&str) -> String) -> Daemon {
    Daemon::prepare(vec![ProviderEntry::of(provider)], |configuration: &mut Configuration| {
        configuration.verbatim = Some(edit(&configuration.to_yaml()));
    })
}

fn forced_login(alice: &User, provider: &Provider) -> Ran {
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    alice.infra(["login", "--force"]).browser(&browser).run()
}

fn is_still_signed_in(alice: &User, token: &str) {
    assert_eq!(login::token(alice), token, "the session of before is gone");
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn server_with_invalid_provider_names_is_rejected() {
    for name in ["\u{1b}]0;owned\u{7}", "okta\nokta", "Okta", "", "\u{202e}atko"] {
        let authority = Authority::new();
        let server = Server::start(authority.issue(), move |_| {
            let provider = json!({
                "name": name, "kind": "okta", "issuer": "https://okta.test",
                "redirectURIs": ["http://127.0.0.1:8301/callback"],
            });
            let body = json!({
                "version": "0", "now": "2026-01-01T00:00:00Z", "pins": [], "providers": [provider, provider],
            });
            std::future::ready(Answer::json(200, &body))
        });
        let alice = User::new();
        let origin = format!("https://127.0.0.1:{}", server.port());
        let fingerprint = authority.pin().to_string();
        let ran =
            alice.infra(["login", &origin, "--fingerprint", &fingerprint, "--provider", "x"]).run().expect(1);
        assert!(!ran.stderr.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{ran:?}");
        ran.stderr_contains(&["not from infrad"]);
    }
}
