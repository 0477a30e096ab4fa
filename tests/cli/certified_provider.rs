//! The same login with a certified OpenID provider over HTTPS, in both shapes of Okta's paths.

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{RecordingBrowser, User};
use infra_peers::certified_provider::{CLIENT_SECRET, CertifiedProvider, Paths};

#[test]
fn custom_server_signs_in_with_client_secret_basic() {
    signs_in(Paths::Custom, "client_secret_basic");
}

#[test]
fn custom_server_signs_in_with_client_secret_post() {
    signs_in(Paths::Custom, "client_secret_post");
}

#[test]
fn organization_server_signs_in_with_client_secret_basic() {
    signs_in(Paths::Organization, "client_secret_basic");
}

#[test]
fn organization_server_signs_in_with_client_secret_post() {
    signs_in(Paths::Organization, "client_secret_post");
}

fn signs_in(paths: Paths, client_authentication: &str) {
    let Some(provider) = CertifiedProvider::start(paths) else { return };
    let daemon = Daemon::start_for(vec![provider.entry(client_authentication)], |_| {});
    let alice = User::new();
    let browser = RecordingBrowser::signing_in("alice", &[provider.authority_file()]);

    login::call(&alice, &daemon)
        .browser(&browser)
        .run()
        .expect(0)
        .stderr_contains(&["signed in"])
        .stdout_is_empty();
    let json = alice.infra(["status", "--json"]).run().expect(0).json();
    let member = |pointer: &str| json.pointer(pointer).and_then(|value| value.as_str()).map(str::to_owned);
    assert_eq!(member("/state").as_deref(), Some("active"), "{json}");
    assert_eq!(member("/user/issuer").as_deref(), Some(provider.issuer()), "{json}");
    assert_eq!(member("/user/subject").as_deref(), Some("alice"), "{json}");
    let token = login::token(&alice);
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 200);

    alice.infra(["logout"]).run().expect(0);
    alice.infra(["status"]).run().expect(3);
    let log = daemon.complete_log();
    assert!(!log.contains(CLIENT_SECRET) && !log.contains(&token), "a secret is in the log\n{log}");
}
