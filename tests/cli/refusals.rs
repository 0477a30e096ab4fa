//! Logins that must fail: each is rejected with its exit code and leaves nothing, and the next honest login
//! works.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use infra_harness::browser::{self, Browser};
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::login::{self, Started};
use infra_harness::namespace::Namespace;
use infra_harness::peers;
use infra_harness::pending_login::{AuthorizationResponse, PendingLogin};
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Person, Provider};
use infra_harness::relay::Relay;
use infra_harness::wait;
use infra_shared::api::ProblemCode;
use serde_json::{Value, json};
use url::Url;

/// Time limit of each wait on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn wrong_missing_or_duplicate_state_does_not_end_the_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    let honest = pending.sign_in(&provider);
    let mut doubled = honest.clone();
    doubled.parameters.push(("state".to_owned(), honest.parameter("state")));

    for wrong in [honest.with("state", "wrong"), honest.with("state", ""), honest.without("state"), doubled] {
        let (status, page) = pending.respond(&wrong);
        assert_ne!(status, 200, "{wrong:?} was taken\n{page}");
        assert!(!page.contains(&honest.parameter("code")), "a page shows the code\n{page}");
        assert!(pending.is_waiting(), "{wrong:?} ended the wait\n{}", pending.running.output());
    }
    assert_eq!(provider.calls(Endpoint::Token), 0);
    assert_eq!(pending.respond(&honest).0, 200);
    pending.wait().expect(0);
}

#[test]
fn response_of_an_earlier_login_is_rejected() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let first = PendingLogin::begin(login::call(&alice, &daemon));
    let replayed = first.sign_in(&provider);
    assert_eq!(first.respond(&replayed).0, 200);
    first.wait().expect(0);

    let mut second = PendingLogin::begin(alice.infra(["login", "--force"]));
    let replayed = AuthorizationResponse { redirect_uri: second.redirect_uri(), ..replayed };
    assert_ne!(second.respond(&replayed).0, 200);
    assert!(second.is_waiting(), "a replayed response ended the wait\n{}", second.running.output());
    assert_eq!(second.respond(&second.sign_in(&provider)).0, 200);
    second.wait().expect(0);
}

#[test]
fn response_from_another_issuer_is_rejected() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let mixed_up = pending.sign_in(&provider).with("iss", "https://other.example");
    pending.respond(&mixed_up);
    pending.wait().expect(6).stdout_is_empty();
    assert_eq!(provider.calls(Endpoint::Token), 0);
    stays_logged_out_until_an_honest_login(&alice, &daemon, &provider);
}

/// The user `nobody` of most systems.
const NOBODY: u32 = 65534;

#[test]
fn another_user_following_the_url_first_gets_nothing() {
    if !rustix::process::geteuid().is_root() {
        return infra_harness::skip::report("only root can become another user");
    }
    let Some(curl) = peers::find_program("curl") else { return };
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let recording = RecordingBrowser::recording();
    let mut running = login::call(&alice, &daemon).browser(&recording).start();
    let opened = wait::until(LIMIT, || recording.opened().first().cloned()).expect("a browser was opened");
    // Every local user can read the URL in the opener's arguments.
    let mut attacker = Command::new(curl);
    let answered = attacker.args(["-s", "-i", &opened]).current_dir("/").uid(NOBODY).gid(NOBODY).output();
    let answered = String::from_utf8_lossy(&answered.expect("curl").stdout).into_owned();
    assert!(answered.starts_with("HTTP/1.1 403"), "{answered}");
    assert!(!answered.contains("ocation:") && !answered.contains(provider.issuer()), "{answered}");
    running
        .wait_for("that another user was refused", |_, stderr| stderr.contains("another user").then_some(()));

    // The attempt does not block the user who started the login.
    let browser =
        Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] };
    let followed = browser::follow(&opened, &browser).expect("a last page");
    assert!(followed.page.contains("Signed in"), "{}", followed.page);
    running.wait().expect(0).stderr_contains(&["signed in", "alice"]);
}

#[test]
fn url_is_in_a_private_file_if_socket_owners_are_unknown() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    // An empty `/proc` does not list the owners of sockets.
    let Some(view) = Namespace::new("mount -t tmpfs none /proc", &[]) else {
        return infra_harness::skip::report("this machine mounts nothing");
    };
    let recording = RecordingBrowser::recording();
    let mut running = login::call(&alice, &daemon).browser(&recording).inside(&view).start();
    let opened = wait::until(LIMIT, || recording.opened().first().cloned()).expect("a browser was opened");
    let file = Url::parse(&opened).expect("a URL").to_file_path().expect("the URL of a file");
    assert!(file.starts_with(alice.infra_home()), "{opened}");
    assert!(alice.files().contains("0600 file browser-"), "{}", alice.files());
    let page = std::fs::read_to_string(&file).expect("our own file");
    let (_, rest) = page.split_once("0;url=").expect("a page that leads on");
    let address = rest.split('"').next().expect("an end").to_owned();
    let browser =
        Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] };
    assert!(browser::follow(&address, &browser).expect("a last page").page.contains("Signed in"));
    assert!(
        running.wait_for_end(LIMIT).is_some() && !alice.files().contains("browser-"),
        "{}",
        alice.files()
    );
    running.wait().expect(0);
}

#[test]
fn port_missing_from_public_urls_is_rejected_before_sign_in() {
    let (provider, alice) = (Provider::start(), User::new());
    // Like a forwarded port: the host name is the server's, the port is not.
    let elsewhere = "https://127.0.0.1:9";
    let daemon = Daemon::start_with(&provider, |configuration| {
        configuration.public_urls = vec![elsewhere.to_owned()];
    });
    let origin = format!("https://127.0.0.1:{}", daemon.port());
    let browser = RecordingBrowser::recording();
    let login = alice.infra(["login", &origin, "--fingerprint", &daemon.fingerprint(), "--no-keyring"]);
    login
        .browser(&browser)
        .run()
        .expect(6)
        .stderr_contains(&[&origin, elsewhere, "publicURLs"])
        .stdout_is_empty();
    assert!(browser.opened().is_empty(), "a person was asked to sign in: {:?}", browser.opened());
    let doctor = alice.infra(["doctor", &origin, "--json"]).env("INFRA_FINGERPRINT", daemon.fingerprint());
    let checks = doctor.run().expect(1).json()["checks"].clone();
    let is_found = |check: &Value| check["name"] == "server" && check["status"] == "failed";
    assert!(checks.as_array().is_some_and(|checks| checks.iter().any(is_found)), "{checks:#}");
}

#[test]
fn ticket_is_accepted_once() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let started = Started::at(&daemon);
    let response = started.sign_in(&provider);
    assert_eq!(started.finish(&response).status, 201);

    let again = started.finish(&response);
    assert_eq!(again.problem().code, ProblemCode::LoginExpired);
    let with_a_new_code = started.finish(&started.sign_in(&provider));
    assert_eq!(with_a_new_code.problem().code, ProblemCode::LoginExpired);
    assert_eq!(provider.calls(Endpoint::Token), 1, "a spent ticket reached the provider");
}

#[test]
fn ticket_is_accepted_once_across_restart_and_kill() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let started = Started::at(&daemon);
    assert_eq!(started.finish(&started.sign_in(&provider)).status, 201);

    daemon.restart();
    let again = daemon.api().post("/v1/logins/finish", &started.finish_body(&started.sign_in(&provider)));
    assert_eq!(again.problem().code, ProblemCode::LoginExpired);
    daemon.kill();
    daemon.start_again();
    let again = daemon.api().post("/v1/logins/finish", &started.finish_body(&started.sign_in(&provider)));
    assert_eq!(again.problem().code, ProblemCode::LoginExpired);
    assert_eq!(provider.calls(Endpoint::Token), 1, "a spent ticket reached the provider");
}

#[test]
fn code_of_another_login_is_rejected() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (mine, other) = (Started::at(&daemon), Started::at(&daemon));
    let refused = mine.finish(&other.sign_in(&provider));
    assert_eq!(refused.problem().code, ProblemCode::LoginRejected);
    login::over_http(&daemon, &provider);
}

#[test]
fn verifier_of_another_login_is_rejected_before_the_exchange() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (mut mine, other) = (Started::at(&daemon), Started::at(&daemon));
    mine.code_verifier = other.code_verifier;
    let refused = mine.finish(&mine.sign_in(&provider));
    assert_eq!(refused.problem().code, ProblemCode::LoginRejected);
    assert_eq!(provider.calls(Endpoint::Token), 0);
}

#[test]
fn verifier_of_another_daemon_is_rejected_before_the_exchange() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (origin, pin) = (daemon.parsed_origin(), daemon.pin());
    let other_origin = "https://other.example".parse().expect("an origin");
    let other_pin = infra_harness::authority::Authority::new().pin();
    for (origin, pin) in [(&other_origin, Some(&pin)), (&origin, Some(&other_pin)), (&origin, None)] {
        let started = Started::bound_to(&daemon, origin, pin);
        let refused = started.finish(&started.sign_in(&provider));
        assert_eq!(refused.problem().code, ProblemCode::LoginRejected, "{origin} {pin:?}");
    }
    assert_eq!(provider.calls(Endpoint::Token), 0);
    login::over_http(&daemon, &provider);
}

#[test]
fn relaying_daemon_gets_no_login_of_another() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let relay = Relay::to(&daemon);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let pin = relay.pin().to_string();
    let login = alice.infra(["login", &relay.origin(), "--fingerprint", &pin, "--no-keyring"]);

    login.browser(&browser).run().expect(6).stdout_is_empty();
    let relayed = relay.relayed();
    assert!(relayed.contains(&"POST /v1/logins/finish".to_owned()), "it never came so far: {relayed:?}");
    assert_eq!(provider.calls(Endpoint::Token), 0, "the code was exchanged");
    stays_logged_out_until_an_honest_login(&alice, &daemon, &provider);
}

#[test]
fn id_token_of_another_issuer_is_rejected() {
    refuses(Misbehaviour::default().claim("iss", json!("https://other.example")));
}

#[test]
fn id_token_for_another_audience_is_rejected() {
    refuses(Misbehaviour::default().claim("aud", json!("another-client")));
}

#[test]
fn id_token_with_wrong_or_missing_nonce_is_rejected() {
    refuses(Misbehaviour::default().claim("nonce", json!("another")));
    refuses(Misbehaviour::default().claim("nonce", json!(null)));
}

#[test]
fn id_token_with_wrong_signature_is_rejected() {
    refuses(Misbehaviour::default().signed(|signed| {
        let last = signed.signature.last_mut().expect("a signature");
        *last ^= 1;
    }));
}

#[test]
fn id_token_changed_after_signing_is_rejected() {
    refuses(Misbehaviour::default().signed(|signed| {
        let claims = String::from_utf8(signed.claims.clone()).expect("JSON");
        assert!(claims.contains("alice"), "nothing to change in {claims}");
        signed.claims = claims.replace("alice", "mallory").into_bytes();
    }));
}

#[test]
fn expired_id_token_is_rejected() {
    // 2001-09-09, in the past for every clock.
    refuses(Misbehaviour::default().claim("exp", json!(1_000_000_000)));
}

#[test]
fn clocks_that_differ_are_named_to_user_and_operator() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    provider.misbehave(Misbehaviour::default().id_token(|draft| {
        let later = draft.claims["iat"].as_i64().expect("seconds") + 7200;
        draft.set_claim("iat", json!(later));
        draft.set_claim("exp", json!(later + 300));
    }));
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let refused = login::call(&alice, &daemon).browser(&browser).run().expect(6);
    refused.stderr_contains(&["the identity provider differ too much: ask your operator"]);
    daemon.wait_for_log("s behind the provider's");
}

#[test]
fn unsigned_id_token_is_rejected() {
    for none in ["none", "None", "NONE"] {
        refuses(Misbehaviour::default().signed(move |signed| {
            signed.header = json!({"alg": none, "typ": "JWT"}).to_string().into_bytes();
            signed.signature.clear();
        }));
    }
}

#[test]
fn replayed_id_token_is_rejected() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    let old = provider.last_id_token().expect("a login");
    provider.misbehave(Misbehaviour::default().json(Endpoint::Token, move |answer| {
        answer["id_token"] = json!(old);
    }));
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&alice, &daemon).browser(&browser).run().expect(6).stdout_is_empty();
    stays_logged_out_until_an_honest_login(&alice, &daemon, &provider);
}

/// Fails the test unless this misbehaviour makes a login fail without leaving anything, and the next honest
/// login succeeds.
fn refuses(misbehaviour: Misbehaviour) {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    provider.misbehave(misbehaviour);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);

    login::call(&alice, &daemon).browser(&browser).run().expect(6).stdout_is_empty();
    assert_eq!(provider.calls(Endpoint::Token), 1, "the ID token was never asked for\n{}", daemon.log());
    let id_token = provider.last_id_token().expect("an ID token was issued");
    assert!(!daemon.complete_log().contains(&id_token), "the log shows an ID token");
    stays_logged_out_until_an_honest_login(&alice, &daemon, &provider);
}

fn stays_logged_out_until_an_honest_login(alice: &User, daemon: &Daemon, provider: &Provider) {
    let sessions = alice.file("sessions.json").unwrap_or_default();
    assert!(!sessions.contains("infra_"), "a session was stored: {sessions}");
    alice.infra(["status", "--quiet"]).run().expect(3);
    provider.behave();
    login::succeed(alice, daemon, provider);
    assert_eq!(daemon.api().get_as("/v1/session", &login::token(alice)).status, 200);
}

#[test]
fn rejected_forced_login_says_that_session_is_still_valid() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    provider.person(Person::Cancels);
    let refused = alice.infra(["login", "--force"]).browser(&browser).run().expect(6);
    refused.stderr_contains(&["note: you are still signed in to https://127.0.0.1", "as Alice"]);
    alice.infra(["status", "--quiet"]).run().expect(0);
    // Without a session, there is no note.
    alice.infra(["logout"]).run().expect(0);
    let refused = alice.infra(["login", "--force"]).browser(&browser).run().expect(6);
    assert!(!refused.stderr.contains("note:"), "{refused}");
}

#[test]
fn environment_token_with_wrong_secret_is_not_called_expired() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let mut token = login::token(&alice);
    let last = token.pop().expect("a character");
    token.push(if last == 'a' { 'b' } else { 'a' });
    let script = |words: &[&str]| {
        alice.infra(words).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin()).run().expect(3)
    };
    for words in [&["status"][..], &["token", "--min-left", "1m"]] {
        let ran = script(words);
        let output = format!("{}{}", ran.stdout, ran.stderr);
        assert!(output.contains("the token of INFRA_TOKEN is not valid"), "{ran}");
        assert!(!output.contains("expired"), "{ran}");
    }
    assert_eq!(script(&["status", "--json"]).json()["state"], "logged_out");
}

#[test]
fn logout_with_unknown_token_reports_that_nothing_ended() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    let mut token = login::token(&alice);
    let last = token.pop().expect("a character");
    token.push(if last == 'a' { 'b' } else { 'a' });
    let call = alice.infra(["logout"]).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin());
    let ran = call.run().expect(1).stderr_contains(&["no session was revoked"]);
    assert!(!ran.stderr.contains("session of INFRA_TOKEN at"), "{ran}");
    alice.infra(["status"]).run().expect(0);
}

#[test]
fn wrong_client_secret_is_reported_as_operator_error() {
    let (provider, alice) = (Provider::start(), User::new());
    let entry = ProviderEntry { client_secret: "wrong".to_owned(), ..ProviderEntry::of(&provider) };
    let daemon = Daemon::start_for(vec![entry], |_| {});
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let refused = login::call(&alice, &daemon).browser(&browser).run().expect(4);
    let refused = refused.stderr_contains(&[
        "ask your operator to correct it",
        "try: ask the operator of",
        "request ID",
    ]);
    assert!(!refused.stderr.contains("again in"), "{refused}");
}
