//! The main workflow, from login to logout, with the real `infra` and the real `infrad`.

use std::time::Duration;

use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::https::Delivery;
use infra_harness::login;
use infra_harness::pending_login::PendingLogin;
use infra_harness::program::{RecordingBrowser, Transcript, User};
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_shared::api::ProblemCode;
use infra_shared::token_text::SessionToken;

#[test]
fn user_signs_in_checks_status_uses_token_and_signs_out() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let mut transcript = Transcript::new();
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.origin(), "SERVER");

    let logged_in =
        login::succeed(&alice, &daemon, &provider).stderr_contains(&["signed in", "alice"]).stdout_is_empty();
    transcript.add(&logged_in);
    assert_eq!(
        alice.files(),
        "0700 directory .\n0600 file config.json\n0600 file lock\n0600 file login.lock\n0600 file sessions.json\n"
    );

    let status = alice.infra(["status"]).run().expect(0);
    assert!(status.stdout.to_lowercase().contains("alice"), "{status}");
    assert!(status.stdout.contains(&daemon.origin()), "{status}");
    let json = alice.infra(["status", "--json"]).run().expect(0).json();
    assert_eq!(json["schema"], 1);
    assert_eq!(json["state"], "active");
    assert_eq!(json["server"], daemon.origin());
    assert_eq!(json["trust"], "pinned");
    assert_eq!(json["storage"], "file");
    assert_eq!(json["checked"], "online");
    assert_eq!(json["user"]["provider"], "okta");
    assert_eq!(json["user"]["issuer"], provider.issuer());
    assert!(json["session"]["secondsLeft"].as_i64().is_some_and(|left| left > 0), "{json}");

    let token = alice.infra(["token"]).run().expect(0);
    let parsed = SessionToken::parse(token.stdout.trim_end()).expect("a token alone on standard output");
    assert_eq!(json["session"]["id"], parsed.id().as_str());
    transcript.add(&token);

    let answered = daemon.api().get_as("/v1/session", parsed.expose());
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.json()["user"]["subject"], json["user"]["subject"]);

    transcript.add(&alice.infra(["logout"]).run().expect(0));
    let refused = daemon.api().get_as("/v1/session", parsed.expose());
    assert_eq!(refused.problem().code, ProblemCode::SessionRevoked);
    let after = alice.infra(["status", "--json"]).run().expect(3);
    assert_eq!(after.json()["state"], "logged_out", "{after}");
    transcript.add(&alice.infra(["status"]).run().expect(3));
    transcript.add(&alice.infra(["token"]).run().expect(3).stdout_is_empty());
    transcript.add_files(&alice);
    transcript.compare("login-to-logout");
}

#[test]
fn status_has_same_exit_code_in_every_form() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    for (form, code) in [(&["status"][..], 3), (&["status", "--json"], 3), (&["status", "--quiet"], 3)] {
        alice.infra(form).run().expect(code);
    }
    login::succeed(&alice, &daemon, &provider);
    for form in [&["status"][..], &["status", "--json"], &["status", "--offline"], &["status", "--all"]] {
        alice.infra(form).run().expect(0);
    }
    let quiet = alice.infra(["status", "--quiet"]).run().expect(0).stdout_is_empty();
    assert!(quiet.stderr.is_empty(), "{quiet}");
}

#[test]
fn status_without_known_server_is_logged_out() {
    let ran = User::new().infra(["status", "--json"]).run().expect(3);
    assert_eq!(ran.json()["state"], "logged_out");
    assert!(ran.json()["server"].is_null(), "{ran}");
    User::new().infra(["token"]).run().expect(3).stdout_is_empty();
    User::new().infra(["login"]).run().expect(2);
}

#[test]
fn second_login_reports_live_session_and_opens_nothing() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);

    let browser = RecordingBrowser::recording();
    alice.infra(["login"]).browser(&browser).run().expect(0);
    assert!(browser.opened().is_empty(), "a browser was opened: {:?}", browser.opened());
    assert_eq!(login::token(&alice), token);
    assert_eq!(provider.calls(Endpoint::Token), 1);
}

#[test]
fn forced_login_revokes_the_previous_session() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let previous = login::token(&alice);

    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    alice.infra(["login", "--force"]).browser(&browser).run().expect(0);
    assert_ne!(login::token(&alice), previous);
    let refused = daemon.api().get_as("/v1/session", &previous);
    assert_eq!(refused.problem().code, ProblemCode::SessionRevoked);
    assert_eq!(daemon.api().get_as("/v1/session", &login::token(&alice)).status, 200);
}

#[test]
fn browser_argument_contains_no_login_parameter() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&User::new(), &daemon).browser(&browser).run().expect(0);

    let opened = browser.opened();
    assert_eq!(opened.len(), 1, "{opened:?}");
    assert!(
        opened.iter().all(|url| url.starts_with("http://127.0.0.1:") && url.contains("/go/")),
        "{opened:?}"
    );
    assert!(opened.iter().all(|url| !url.contains('?')), "{opened:?}");
    let page = browser.last_page(Duration::from_secs(30)).expect("a last page");
    assert!(page.to_lowercase().contains("signed in"), "{page}");
}

#[test]
fn single_use_url_fetched_twice_works_in_each_browser() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    // Like an opener that checks the URL first, or one that starts two browsers.
    let client = infra_harness::browser::client(&[]).expect("no authorities, nothing to fail");
    let second = client.get(&pending.local_url).send().expect("an answer");
    assert_eq!(second.headers()["location"], pending.authorization_url.as_str());
    assert!(pending.is_waiting(), "{}", pending.running.output());
    assert_eq!(pending.respond(&pending.sign_in(&provider)).0, 200);
    pending.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn reloaded_callback_gets_the_result() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let response = pending.sign_in(&provider);
    provider.misbehave(
        Misbehaviour::default()
            .answer(Endpoint::Token, |answer| answer.delivery = Delivery::After(Duration::from_secs(2))),
    );
    std::thread::scope(|scope| {
        let pages = [(); 2].map(|()| scope.spawn(|| pending.respond(&response)));
        for page in pages {
            let (status, page) = page.join().expect("the listener answers");
            assert!(status == 200 && page.contains("Signed in"), "{status} {page}");
        }
    });
    pending.wait().expect(0).stderr_contains(&["signed in"]);
    assert_eq!(provider.calls(Endpoint::Token), 1);
}

#[test]
fn known_server_becomes_the_current_one() {
    let provider = Provider::start();
    let (first, second) = (Daemon::start(&provider), Daemon::start(&provider));
    let alice = User::new();
    login::succeed(&alice, &first, &provider);
    login::succeed(&alice, &second, &provider);
    let current = || alice.infra(["status", "--json"]).run().expect(0).json()["server"].clone();
    assert_eq!(current(), second.origin());

    alice.infra(["use", &first.origin()]).run().expect(0);
    assert_eq!(current(), first.origin());
    let unknown = alice.infra(["use", "https://127.0.0.1:9"]).run();
    assert_ne!(unknown.code, Some(0), "{unknown}");
    assert_eq!(current(), first.origin());

    let all = alice.infra(["status", "--all", "--json"]).run().expect(0).json();
    assert_eq!(all["servers"].as_array().map(Vec::len), Some(2), "{all}");
    let two = alice.infra(["status", &first.origin()]).env("INFRA_SERVER", second.origin());
    two.run().expect(2);
}

#[test]
fn environment_token_replaces_the_stored_session() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let script = User::new();
    let call = |arguments: &[&str]| {
        script
            .infra(arguments)
            .env("INFRA_TOKEN", &token)
            .env("INFRA_SERVER", daemon.origin())
            .env("INFRA_FINGERPRINT", daemon.fingerprint())
    };

    let json = call(&["status", "--json"]).run().expect(0).json();
    assert_eq!(json["storage"], "environment");
    assert_eq!(call(&["token"]).run().expect(0).stdout.trim_end(), token);
    let browser = RecordingBrowser::recording();
    let refused = call(&["login"]).browser(&browser).run().stderr_contains(&["INFRA_TOKEN"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(browser.opened().is_empty());
    script.infra(["status"]).env("INFRA_TOKEN", &token).run().expect(2).stderr_contains(&["INFRA_SERVER"]);

    call(&["logout"]).run().expect(0);
    let ended = daemon.api().get_as("/v1/session", &token);
    assert_eq!(ended.problem().code, ProblemCode::SessionRevoked);
    assert!(
        !script.files().contains("sessions.json")
            || !script.file("sessions.json").unwrap().contains("infra_")
    );
}

#[test]
fn login_without_browser_prints_url_and_ssh_command() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let arguments =
        ["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-keyring", "--no-browser"];
    let recording = RecordingBrowser::recording();
    let call = alice.infra(arguments).env("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    let mut running = call.browser(&recording).start();
    let url = running.wait_for("the URL and the `ssh -L` line", |_, stderr| {
        let url = stderr.split_whitespace().find(|word| word.starts_with(provider.issuer()))?;
        // The URL is complete once a line end follows it.
        stderr.contains("ssh -L").then(|| url.to_owned()).filter(|url| stderr.contains(&format!("{url}\n")))
    });

    let browser = infra_harness::browser::Browser {
        user: "alice".to_owned(),
        cancel: false,
        authorities: vec![provider.authority_file()],
    };
    infra_harness::browser::follow(&url, &browser).expect("a last page");
    running.wait().expect(0).stdout_is_empty();
    assert!(recording.opened().is_empty(), "a browser was opened");
    alice.infra(["status", "--quiet"]).run().expect(0);
}

#[test]
fn next_registered_port_is_used_if_one_is_occupied() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let first = *daemon.redirect_ports().first().expect("three ports");
    let _taken = std::net::TcpListener::bind(("127.0.0.1", first)).expect("a free port");

    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    login::call(&User::new(), &daemon).browser(&browser).run().expect(0);
    let opened = browser.opened();
    let second = format!("http://127.0.0.1:{}/", first + 1);
    assert!(opened.iter().all(|url| url.starts_with(&second)), "{opened:?}");
}

#[test]
fn login_at_another_provider_replaces_the_session() {
    let (first, second) = (Provider::start(), Provider::start());
    let entries = vec![ProviderEntry::of(&first), ProviderEntry::of(&second).named("other")];
    let daemon = Daemon::start_for(entries, |_| {});
    let alice = User::new();
    let authorities = [first.authority_file(), second.authority_file()];
    let browser = || RecordingBrowser::signing_in("alice", &authorities);

    login::call(&alice, &daemon).run().expect(2).stderr_contains(&["--provider"]);
    let okta = ["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--provider", "okta"];
    alice.infra(okta).browser(&browser()).run().expect(0);
    alice.infra(["login", "--provider", "other"]).browser(&browser()).run().expect(0);
    let json = alice.infra(["status", "--json"]).run().expect(0).json();
    assert_eq!(json["user"]["provider"], "other");
    assert_eq!(json["user"]["issuer"], second.issuer());
}
