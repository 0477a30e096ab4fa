//! A login as a user sees it: Chromium on the sign-in page of the certified provider, and on the last page.

use std::path::{Path, PathBuf};
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::https::Delivery;
use infra_harness::login;
use infra_harness::program::User;
use infra_harness::provider::{Endpoint, Misbehaviour, Provider};
use infra_peers::certified_provider::{CertifiedProvider, Paths};
use infra_peers::real_browser::RealBrowser;
use serde_json::Value;
use url::Url;

#[test]
fn last_page_shows_the_signed_in_user() {
    let Some((provider, browser)) = scene() else { return };
    let daemon = Daemon::start_for(vec![provider.entry("client_secret_basic")], |_| {});
    let browser = pictured(browser, "signed-in");
    let alice = User::new();
    browser
        .as_browser_of(login::call(&alice, &daemon))
        .run()
        .expect(0)
        .stderr_contains(&["signed in", "alice"])
        .stdout_is_empty();

    let report = browser.report();
    assert_sound(&report, &provider);
    assert_eq!(report["title"], "Signed in - infra", "{report:#}");
    let text = report["text"].as_str().expect("a text");
    for shown in ["Signed in", "Alice (alice@example.test)", &daemon.origin(), "infra login --force"] {
        assert!(text.contains(shown), "{shown} is not shown: {report:#}");
    }
    assert_eq!(alice.infra(["status", "--json"]).run().expect(0).json()["user"]["name"], "Alice");
}

#[test]
fn last_page_after_cancel_does_not_claim_success() {
    let Some((provider, browser)) = scene() else { return };
    let daemon = Daemon::start_for(vec![provider.entry("client_secret_basic")], |_| {});
    let browser = pictured(browser.cancelling(), "not-signed-in");
    let alice = User::new();
    browser
        .as_browser_of(login::call(&alice, &daemon))
        .run()
        .expect(6)
        .stderr_contains(&["cancelled"])
        .stdout_is_empty();

    let report = browser.report();
    assert_sound(&report, &provider);
    assert_eq!(report["title"], "Not signed in - infra", "{report:#}");
    assert!(report["text"].as_str().is_some_and(|text| text.contains("terminal shows why")), "{report:#}");
    alice.infra(["status", "--quiet"]).run().expect(3);
}

#[test]
fn reloaded_callback_with_large_cookies_shows_the_result() {
    let provider = Provider::start();
    let Some(browser) = RealBrowser::trusting(&provider.authority_pin()) else { return };
    let daemon = Daemon::start(&provider);
    // A long delay, so that both tabs wait for the result.
    provider.misbehave(
        Misbehaviour::default()
            .answer(Endpoint::Token, |answer| answer.delivery = Delivery::After(Duration::from_secs(3))),
    );
    let browser = browser.without_sign_in_page().with_cookies(40_000).reloading_callback();
    let alice = User::new();
    browser
        .as_browser_of(login::call(&alice, &daemon))
        .run()
        .expect(0)
        .stderr_contains(&["signed in", "alice"])
        .stdout_is_empty();
    let report = browser.report();
    assert!(report["error"].is_null(), "the browser got stuck: {report:#}");
    assert_eq!(report["title"], "Signed in - infra", "{report:#}");
    assert_eq!(provider.calls(Endpoint::Token), 1);
}

fn scene() -> Option<(CertifiedProvider, RealBrowser)> {
    let provider = CertifiedProvider::start(Paths::Custom)?;
    let browser = RealBrowser::trusting(&provider.authority_pin())?;
    Some((provider, browser))
}

/// The browser; with `UPDATE=1` it takes the documentation's screenshots.
fn pictured(browser: RealBrowser, name: &str) -> RealBrowser {
    browser.with_screenshots_on_update(&folder_of_pictures(), name)
}

fn folder_of_pictures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pages")
}

/// Asserts what holds for every login in a browser, successful or not.
#[track_caller]
fn assert_sound(report: &Value, provider: &CertifiedProvider) {
    assert!(report["error"].is_null(), "the browser got stuck: {report:#}");
    let texts = |name: &str| -> Vec<String> {
        let list = report[name].as_array().expect("a list");
        list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
    };
    // No CSP violation either. Messages of the provider's own pages do not matter, and an error page has an
    // error status.
    for message in report["console"].as_array().expect("the console") {
        let (text, at) =
            (message["text"].as_str().unwrap_or_default(), message["at"].as_str().unwrap_or_default());
        let is_status = text.contains("status of 403");
        assert!(at.starts_with(&host(provider)) || is_status, "{message} in {report:#}");
    }
    assert_eq!(texts("failures"), Vec::<String>::new(), "{report:#}");

    let provider = Url::parse(provider.issuer()).expect("an issuer").origin();
    let requests = texts("requests");
    assert!(requests.len() >= 4, "too few to be a login: {report:#}");
    for request in &requests {
        let url = Url::parse(request).expect("a URL");
        let is_listener = url.scheme() == "http" && url.host_str() == Some("127.0.0.1");
        // The page embeds its icon.
        let is_elsewhere = url.origin() != provider && !is_listener && url.scheme() != "data";
        assert!(!is_elsewhere, "something is loaded from {request}: {report:#}");
    }
    assert!(requests.iter().any(|url| url.contains("/callback?")), "no response came: {report:#}");

    let shown = [report["url"].clone(), report["shownAddress"].clone()];
    for address in shown.iter().filter_map(Value::as_str).map(str::to_owned).chain(texts("history")) {
        let is_telling = ["code=", "state=", "error=", "?"].iter().any(|part| address.contains(part));
        assert!(!is_telling || !address.starts_with("http://"), "the browser keeps {address}: {report:#}");
    }
    assert_eq!(report["referrer"], "", "{report:#}");
    let overflows = report["overflows"].as_array().expect("a width for each layout");
    assert!(overflows.len() == 4 && overflows.iter().all(|overflow| overflow == 0), "{report:#}");
    let backgrounds = texts("backgrounds");
    assert_ne!(backgrounds.first(), backgrounds.last(), "dark looks like light: {report:#}");
}

/// The provider's origin, which precedes every path.
fn host(provider: &CertifiedProvider) -> String {
    format!("{}/", Url::parse(provider.issuer()).expect("an issuer").origin().ascii_serialization())
}

#[test]
fn documentation_pictures_exist_and_are_small() {
    let folder = folder_of_pictures();
    for name in ["signed-in", "not-signed-in"] {
        for layout in ["", "-dark", "-narrow", "-narrow-dark"] {
            let file = folder.join(format!("{name}{layout}.png"));
            let size =
                std::fs::metadata(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).len();
            assert!((1..60_000).contains(&size), "{} has {size} bytes", file.display());
        }
    }
}
