//! Users of a daemon with a certificate from a public CA.

use infra_harness::peers;
use infra_harness::program::{RecordingBrowser, User};
use infra_peers::pebble::Options;
use infra_peers::public_daemon::PublicDaemon;

#[test]
fn user_signs_in_with_ca_file() {
    let Some(public) = PublicDaemon::start(Options::default()) else { return };
    let (alice, server) = (User::new(), public.server());
    let root = alice.home().join("root.pem");
    std::fs::write(&root, public.pebble.root()).expect("the root");
    let browser = RecordingBrowser::signing_in("alice", &[public.provider.authority_file()]);
    let login = alice.infra(["login", &server, "--ca-file", &root.display().to_string(), "--no-keyring"]);
    login.inside(&*public.view).browser(&browser).run().expect(0);

    let status = alice.infra(["status", "--json"]).inside(&*public.view).run().expect(0).json();
    assert_eq!((status["state"].as_str(), status["trust"].as_str()), (Some("active"), Some("ca_file")));
    // From here on, `infra` uses its own copy.
    std::fs::remove_file(&root).expect("the root");
    alice.infra(["logout"]).inside(&*public.view).run().expect(0);
}

#[test]
fn user_signs_in_if_system_trusts_the_ca() {
    let Some(public) = PublicDaemon::start(Options::default()) else { return };
    let (alice, server) = (User::new(), public.server());
    let browser = RecordingBrowser::signing_in("alice", &[public.provider.authority_file()]);
    let login = || alice.infra(["login", &server, "--no-keyring"]).inside(&*public.view).browser(&browser);
    // The CA is not trusted yet.
    login().run().expect(5).stdout_is_empty();
    assert!(browser.opened().is_empty());

    public.view.trust(&public.pebble.root());
    login().run().expect(0);
    let status = alice.infra(["status", "--json"]).inside(&*public.view).run().expect(0).json();
    assert_eq!((status["state"].as_str(), status["trust"].as_str()), (Some("active"), Some("system")));
    // Other clients accept the certificate, too.
    let Some(curl) = peers::find_program("curl") else { return };
    let mut curl = public.view.enter(curl);
    let url = format!("https://{server}/v1/server");
    let answered = curl.args(["-sS", "--fail", &url]).env_clear().env("PATH", "/usr/bin:/bin").output();
    let answered = answered.expect("curl");
    assert!(answered.status.success(), "{}", String::from_utf8_lossy(&answered.stderr));
}
