//! `infra` sends nothing to a server with an unaccepted identity, and a changed identity stops every command.

use infra_harness::authority::Authority;
use infra_harness::daemon::Daemon;
use infra_harness::impostor::{Disguise, Impostor};
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Provider};
use infra_harness::relay::Relay;

#[test]
fn wrong_fingerprint_sends_nothing() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let browser = RecordingBrowser::recording();
    let login = alice.infra(["login", &daemon.origin(), "--fingerprint", &wrong]).browser(&browser);

    login.run().expect(5).stdout_is_empty();
    assert!(browser.opened().is_empty());
    assert_eq!(provider.calls(Endpoint::Authorization), 0);
    assert_eq!(alice.file("sessions.json").filter(|sessions| sessions.contains("infra_")), None);
    // A later login with the correct fingerprint works.
    login::succeed(&alice, &daemon, &provider);
}

#[test]
fn peer_with_another_identity_gets_no_request() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let relay = Relay::to(&daemon);
    let fingerprint = daemon.fingerprint();
    for arguments in [
        vec!["login", relay.origin().as_str(), "--fingerprint", fingerprint.as_str()],
        vec!["login", relay.origin().as_str()],
    ] {
        User::new().infra(arguments).run().expect(5).stdout_is_empty();
    }
    assert_eq!(relay.relayed(), Vec::<String>::new());
}

#[test]
fn changed_identity_stops_every_command_until_trusted() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let stored = daemon.fingerprint();

    daemon.stop();
    let directory = daemon.directory().to_owned();
    daemon.change(|configuration| {
        configuration.data_dir = directory.join("other-data");
        configuration.root_key = directory.join("other-keys/root.key");
    });
    daemon.start_again();

    alice.infra(["status"]).run().expect(5).stderr_contains(&[
        &format!("expected {stored}"),
        &format!("received {}", daemon.fingerprint()),
        "infra trust",
    ]);
    let json = alice.infra(["status", "--json"]).run().expect(5).json();
    assert_eq!(json["state"], "untrusted");
    alice.infra(["login", "--force"]).run().expect(5).stderr_contains(&["infra trust"]).stdout_is_empty();

    alice.infra(["trust", &daemon.origin(), "--fingerprint", &daemon.fingerprint()]).run().expect(0);
    // The session belonged to the removed daemon.
    alice.infra(["status"]).run().expect(3);
    login::succeed(&alice, &daemon, &provider);
}

#[test]
fn logout_at_changed_identity_sends_nothing_and_shows_expiry() {
    let provider = Provider::start();
    let authority = Authority::new();
    let alice = User::new();
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    // An impostor takes over the daemon's address.
    let impostor = Impostor::start(Disguise::OtherAuthority, &authority);
    let config = alice.file("config.json").expect("a configuration");
    let sessions = alice.file("sessions.json").expect("a session");
    for (file, text) in [("config.json", config), ("sessions.json", sessions)] {
        let moved = text.replace(&daemon.origin(), &impostor.origin());
        std::fs::write(alice.infra_home().join(file), moved).expect("the file is the user's own");
    }

    alice
        .infra(["logout"])
        .run()
        .expect(7)
        .stderr_contains(&["infra trust", "the session expires"])
        .stdout_is_empty();
    assert!(impostor.connections() > 0);
    assert_eq!(impostor.received(), 0, "{:?}", impostor.in_the_clear());
    alice.infra(["token"]).run().expect(3).stdout_is_empty();
}

#[test]
fn different_fingerprint_stops_a_signed_in_user() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let stored = format!("stored by an earlier sign-in or `infra trust`: {}", daemon.fingerprint());
    let given = |source: &str| format!("given by {source}: {wrong}");
    // Somebody who is signed in is stopped, too.
    let login = || alice.infra(["login", &daemon.origin()]);
    let by_variable = login().env("INFRA_FINGERPRINT", &wrong).run().expect(5).stdout_is_empty();
    by_variable.stderr_contains(&[&given("INFRA_FINGERPRINT"), &stored, "omit INFRA_FINGERPRINT"]);
    let by_option =
        alice.infra(["login", &daemon.origin(), "--fingerprint", &wrong]).run().expect(5).stdout_is_empty();
    by_option.stderr_contains(&[&given("--fingerprint"), &stored]);
    alice.infra(["status", "--quiet"]).run().expect(0);
    // At the first contact, too.
    let first = User::new();
    let first = first.infra(["login", &daemon.origin()]).env("INFRA_FINGERPRINT", &wrong).run().expect(5);
    first.stderr_contains(&[
        &format!("expected {wrong} (INFRA_FINGERPRINT)"),
        &format!("received {}", daemon.fingerprint()),
    ]);
}

#[test]
fn contradicting_variable_stops_every_command() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let call = |arguments: &[&str]| alice.infra(arguments).env("INFRA_FINGERPRINT", &wrong);
    let brief = call(&["status", "--quiet"]).run().expect(5).stdout_is_empty();
    assert_eq!(brief.stderr.lines().count(), 1, "{brief}");
    brief.stderr_contains(&["; stored by an earlier sign-in", "; try: "]);
    for arguments in [
        &["status"][..],
        &["status", "--quiet"],
        &["sessions"],
        &["token", "--audience", "prod"],
        &["logout"],
        &["logout", "--all", "--forget"],
    ] {
        let ran = call(arguments).run().expect(5);
        ran.stderr_contains(&[&format!("by INFRA_FINGERPRINT: {wrong}")]);
    }
    let doctor = call(&["doctor"]).run().expect(1);
    assert!(doctor.stdout.contains("omit INFRA_FINGERPRINT"), "{doctor}");
    // The session is still stored and live. The fingerprint of another server does not matter.
    call(&["status", "--all", "--quiet"]).env("INFRA_SERVER", "other.test").run().expect(0);
}

#[test]
fn session_keeps_its_trust_if_configuration_is_damaged() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    std::fs::write(alice.infra_home().join("config.json"), "{\"version\":")
        .expect("the file is the user's own");

    let status = alice
        .infra(["status", &daemon.origin(), "--json"])
        .run()
        .expect(0)
        .stderr_contains(&["damaged", "is kept as"]);
    assert_eq!(
        (status.json()["state"].as_str(), status.json()["trust"].as_str()),
        (Some("active"), Some("pinned"))
    );
}

#[test]
fn environment_token_goes_only_to_its_server() {
    let provider = Provider::start();
    let (ours, other) = (Daemon::start(&provider), Daemon::start(&provider));
    let (alice, script) = (User::new(), User::new());
    for daemon in [&ours, &other] {
        login::succeed(&alice, daemon, &provider);
    }
    login::succeed(&script, &ours, &provider);
    let token = login::token(&script);

    let call = alice.infra(["status", "--all", "--json"]);
    let status = call.env("INFRA_TOKEN", &token).env("INFRA_SERVER", ours.origin()).run().expect(0);
    let mut seen: Vec<(String, String)> = status.json()["servers"]
        .as_array()
        .expect("servers")
        .iter()
        .map(|server| (server["server"].to_string(), server["storage"].to_string()))
        .collect();
    let mut expected = vec![
        (format!("\"{}\"", ours.origin()), "\"environment\"".to_owned()),
        (format!("\"{}\"", other.origin()), "\"file\"".to_owned()),
    ];
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected, "{status}");
    // The other daemon would reject and log the token, if it received it.
    let log = other.complete_log();
    assert!(!log.contains("not_authenticated"), "{log}");
    alice.infra(["status"]).env("INFRA_TOKEN", &token).run().expect(2).stderr_contains(&["INFRA_SERVER"]);
}

/// `infra trust` accepts only known servers, and `infra login` refuses to run with `INFRA_TOKEN`.
#[test]
fn unknown_server_of_a_job_is_proved_by_variables() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (alice, job) = (User::new(), User::new());
    login::succeed(&alice, &daemon, &provider);
    let token = login::token(&alice);
    let wrong = format!("sha256:{}", "0".repeat(64));
    let commands = [
        &["status"][..],
        &["status", "--quiet"],
        &["token", "--audience", "wiki"],
        &["sessions"],
        &["logout"],
    ];
    for words in commands {
        let call = || job.infra(words).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin());
        for ran in [call().run(), call().env("INFRA_FINGERPRINT", &wrong).run()] {
            let ran = ran.expect(5).stderr_contains(&["set INFRA_FINGERPRINT to", "INFRA_CA_FILE"]);
            assert!(!ran.stderr.contains("infra trust"), "{ran}");
        }
    }
    let call = job.infra(["status"]).env("INFRA_TOKEN", &token).env("INFRA_SERVER", daemon.origin());
    call.env("INFRA_FINGERPRINT", daemon.fingerprint()).run().expect(0);
}

#[test]
fn ca_file_over_the_limit_is_refused_instead_of_cut() {
    let authority = Authority::new();
    let certificate = std::fs::read_to_string(authority.file()).expect("PEM");
    let user = User::new();
    let file = user.home().join("ca.pem");
    std::fs::write(&file, certificate.repeat(1024 * 1024 / certificate.len() + 1)).expect("a file");
    let ran = user.infra(["login", "127.0.0.1:1", "--ca-file", &file.display().to_string()]).run().expect(2);
    assert!(ran.stderr.contains("larger than 1 MiB"), "{ran}");
}

#[test]
fn leaf_without_ca_gets_a_hint_about_ca_files() {
    let authority = Authority::new();
    let impostor = Impostor::start(Disguise::LeafAlone, &authority);
    let given = authority.pin().to_string();
    let ran = User::new()
        .infra(["login", &impostor.origin(), "--fingerprint", &given])
        .run()
        .expect(5)
        .stdout_is_empty();
    let message = "cannot prove the fingerprint that was given; nothing was sent to it";
    assert!(ran.stderr.contains(message) && ran.stderr.contains(&given), "{ran}");
    assert!(ran.stderr.contains("--ca-file") && !ran.stderr.contains("infra trust"), "{ran}");
}

#[test]
fn option_that_contradicts_its_variable_is_refused_at_login() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let other = format!("sha256:{}", "0".repeat(64));
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);
    let words = ["login", &daemon.origin(), "--fingerprint", &daemon.fingerprint(), "--no-keyring"];
    let ran = alice.infra(words).env("INFRA_FINGERPRINT", &other).browser(&browser).run().expect(2);
    ran.stdout_is_empty().stderr_contains(&[
        "--fingerprint and INFRA_FINGERPRINT name different identities",
        &format!("given by INFRA_FINGERPRINT: {other}"),
        "unset INFRA_FINGERPRINT",
    ]);
    assert!(browser.opened().is_empty() && alice.file("config.json").is_none());

    let (one, two) = (authority.file(), provider.authority_file());
    let words = ["login", &daemon.origin(), "--ca-file", one.to_str().expect("a path")];
    let ran = alice.infra(words).env("INFRA_CA_FILE", &two).browser(&browser).run().expect(2);
    ran.stderr_contains(&["--ca-file and INFRA_CA_FILE name different identities"]);

    let agreeing = login::call(&alice, &daemon).env("INFRA_FINGERPRINT", daemon.fingerprint());
    agreeing.browser(&browser).run().expect(0);
    let words = ["trust", &daemon.origin(), "--fingerprint", &daemon.fingerprint()];
    alice.infra(words).env("INFRA_FINGERPRINT", &other).run().expect(2);
}

#[test]
fn token_stored_for_another_server_is_not_sent() {
    let provider = Provider::start();
    let (mut ours, other) = (Daemon::start(&provider), Daemon::start(&provider));
    let second_name = format!("https://localhost:{}", ours.port());
    ours.change(|configuration| configuration.public_urls.push(second_name.clone()));
    ours.restart();
    let alice = User::new();
    for daemon in [&other, &ours] {
        login::succeed(&alice, daemon, &provider);
    }
    let token = login::token(&alice);
    for words in [
        &["status"][..],
        &["status", "--all"],
        &["token"],
        &["token", "--audience", "wiki"],
        &["exec", "--audience", "wiki", "--", "true"],
        &["sessions"],
        &["logout"],
    ] {
        let call = alice.infra(words).env("INFRA_TOKEN", &token).env("INFRA_SERVER", other.origin());
        let ran = call.run().expect(2).stdout_is_empty();
        ran.stderr_contains(&["INFRA_TOKEN is the session token of", &ours.origin(), &other.origin()]);
    }
    let log = other.complete_log();
    assert!(!log.contains("not_authenticated"), "{log}");
    // One daemon has several names.
    let call = alice.infra(["status", "--quiet"]).env("INFRA_TOKEN", &token);
    call.env("INFRA_SERVER", &second_name).env("INFRA_FINGERPRINT", ours.fingerprint()).run().expect(0);
}

#[test]
fn other_name_of_this_machine_is_suggested() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);
    let other = format!("localhost:{}", daemon.port());
    let meant = format!("`127.0.0.1:{}` if you mean that server", daemon.port());
    let ran = alice.infra(["status", &other]).run().expect(3);
    assert!(ran.stdout.contains(&meant), "{ran}");
    alice.infra(["token", &other]).run().expect(3).stderr_contains(&[&meant]);
}
