//! The complete experience at a terminal, from the first login to the last logout, as shown in
//! `docs/infra.cast`.

use std::path::Path;
use std::time::Duration;

use infra_harness::browser::{self, Browser};
use infra_harness::daemon::Daemon;
use infra_harness::pending_login::AuthorizationResponse;
use infra_harness::program::{Call, RecordingBrowser, User};
use infra_harness::provider::Provider;
use infra_harness::recording::{Recording, RunningCommand};
use infra_harness::wait;

const LIMIT: Duration = Duration::from_secs(30);
/// How long the user takes to sign in; kept short, so that the recording is worth watching.
const SIGNING_IN: Duration = Duration::from_millis(2500);

#[test]
fn recording_matches_the_programs() {
    let (provider, alice) = (Provider::start(), User::new());
    let mut daemon = Daemon::start(&provider);
    let (origin, fingerprint) = (daemon.origin(), daemon.fingerprint());
    let mut recording = Recording::new();
    recording.replace(&origin, "https://infra.example.com");
    recording.replace(origin.trim_start_matches("https://"), "infra.example.com");
    recording.replace(provider.issuer(), "https://example.okta.com");
    let issuer = provider.issuer().replace(':', "%3A").replace('/', "%2F");
    recording.replace(issuer, "https%3A%2F%2Fexample.okta.com");
    recording.replace(&fingerprint, &format!("sha256:{}", "9f86d081884c7d65".repeat(4)));
    let ports = daemon.redirect_ports();
    recording.replace(ports[0].to_string(), "8301");
    let see = |_: &mut RunningCommand<'_>| {};

    recording.comment("The line that the operator gave, once:");
    let line = format!("infra login infra.example.com --fingerprint {fingerprint}");
    let call = home(alice.infra(["login", &origin, "--fingerprint", &fingerprint, "--no-keyring"]));
    let opened = RecordingBrowser::recording();
    recording.run(&line, call.browser(&opened), 0, |shown| {
        let url = wait::until(LIMIT, || opened.opened().first().cloned()).expect("a browser was opened");
        shown.pause(SIGNING_IN);
        browser::follow(&url, &person(&provider)).expect("a last page");
    });
    recording.run("infra status", home(alice.infra(["status"])), 0, see);
    recording.run("infra login", home(alice.infra(["login"])), 0, see);
    recording.run("infra status --json", home(alice.infra(["status", "--json"])), 0, see);
    recording.run("infra logout", home(alice.infra(["logout"])), 0, see);
    recording.run("infra status", home(alice.infra(["status"])), 3, see);

    recording.comment("Over SSH, with the browser elsewhere:");
    let ssh = home(alice.infra(["login"]))
        .env("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.7 22")
        .env("USER", "alice");
    recording.run("infra login", ssh, 0, |shown| {
        let issuer = provider.issuer();
        let url = shown.wait_for("the address", |seen| {
            let (url, _) = seen.get(seen.find(&format!("{issuer}/"))?..)?.split_once(['\r', '\n'])?;
            seen.contains("paste the address").then(|| url.to_owned())
        });
        shown.pause(SIGNING_IN);
        shown.enter(&AuthorizationResponse::of(&url, &provider).url());
    });

    recording.comment("When something is wrong:");
    recording.run(
        "infra login --provider github --force",
        home(alice.infra(["login", "--provider", "github", "--force"])),
        2,
        see,
    );
    daemon.stop();
    recording.run("infra status", home(alice.infra(["status"])), 4, see);
    recording.run("infra status --offline", home(alice.infra(["status", "--offline"])), 0, see);
    recording.run("infra logout", home(alice.infra(["logout"])), 7, see);
    daemon.start_again();
    recording.run(
        "infra login --timeout 2s",
        home(alice.infra(["login", "--timeout", "2s"])).browser(&opened),
        6,
        see,
    );

    let cast = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/infra.cast");
    recording.compare(&cast, "infra: signing in from a terminal");
}

/// A modern terminal.
fn home(call: Call<'_>) -> Call<'_> {
    call.env("LANG", "C.UTF-8")
}

fn person(provider: &Provider) -> Browser {
    Browser { user: "alice".to_owned(), cancel: false, authorities: vec![provider.authority_file()] }
}
