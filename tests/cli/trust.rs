//! Nothing is sent to a server whose identity the user has not accepted, and a changed identity stops everything.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_harness::provider::{Endpoint, Provider};
use infra_harness::relay::Relay;

#[test]
fn a_wrong_fingerprint_sends_nothing() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let alice = User::new();
    let wrong = format!("sha256:{}", "0".repeat(64));
    let browser = RecordingBrowser::recording();
    let login = alice.infra(["login", &daemon.origin(), "--fingerprint", &wrong]).browser(&browser);

    login.run().expect(5).silent();
    assert!(browser.opened().is_empty());
    assert_eq!(provider.calls(Endpoint::Authorization), 0);
    assert_eq!(alice.file("sessions.json").filter(|sessions| sessions.contains("infra_")), None);
    // The next, right one is not hindered by it.
    login::succeed(&alice, &daemon, &provider);
}

#[test]
fn a_peer_with_another_identity_sees_no_request() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let relay = Relay::to(&daemon);
    let fingerprint = daemon.fingerprint();
    for arguments in [
        vec!["login", relay.origin().as_str(), "--fingerprint", fingerprint.as_str()],
        vec!["login", relay.origin().as_str()],
    ] {
        User::new().infra(arguments).run().expect(5).silent();
    }
    assert_eq!(relay.relayed(), Vec::<String>::new());
}

#[test]
fn a_changed_identity_stops_everything_until_it_is_trusted() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let alice = User::new();
    login::succeed(&alice, &daemon, &provider);

    daemon.stop();
    let directory = daemon.directory().to_owned();
    daemon.change(|configuration| {
        configuration.data_dir = directory.join("other-data");
        configuration.root_key = directory.join("other-keys/root.key");
    });
    daemon.start_again();

    alice.infra(["status"]).run().expect(5).telling(&["infra trust"]);
    let json = alice.infra(["status", "--json"]).run().expect(5).json();
    assert_eq!(json["state"], "untrusted");
    alice.infra(["login", "--force"]).run().expect(5).telling(&["infra trust"]).silent();

    alice.infra(["trust", &daemon.origin(), "--fingerprint", &daemon.fingerprint()]).run().expect(0);
    // The session was of the daemon that is gone.
    alice.infra(["status"]).run().expect(3);
    login::succeed(&alice, &daemon, &provider);
}
