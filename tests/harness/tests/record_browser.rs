//! The recording `BROWSER`. (An integration test in this package also makes Cargo build that program.)

use std::process::Command;
use std::time::Duration;

use infra_harness::browser::follow_to_callback;
use infra_harness::program::{RecordingBrowser, Running, built};
use infra_harness::provider::{Endpoint, Provider};

#[test]
fn opened_url_is_recorded() {
    let browser = RecordingBrowser::recording();
    for url in ["http://127.0.0.1:9/first", "http://127.0.0.1:9/second"] {
        let mut command = Command::new(built("record-browser"));
        browser.prepare(command.arg(url));
        Running::start(command, "record-browser".to_owned(), None, Duration::from_mins(1)).wait().expect(0);
    }
    assert_eq!(browser.opened(), ["http://127.0.0.1:9/first", "http://127.0.0.1:9/second"]);
}

#[test]
fn unreachable_page_fails_the_browser() {
    let provider = Provider::start();
    let untrusting = RecordingBrowser::signing_in("alice", &[]);
    let mut command = Command::new(built("record-browser"));
    untrusting.prepare(command.arg(provider.issuer()));
    Running::start(command, "record-browser".to_owned(), None, Duration::from_mins(1)).wait().expect(1);
    assert!(untrusting.last_page(Duration::from_secs(1)).is_some_and(|page| page.contains("cannot be had")));
    assert_eq!(provider.calls(Endpoint::Authorization), 0);
    assert!(follow_to_callback("no url", &infra_harness::browser::Browser::default()).is_err());
}

#[test]
fn missing_url_or_log_is_a_usage_error() {
    let command = Command::new(built("record-browser"));
    Running::start(command, "record-browser".to_owned(), None, Duration::from_mins(1)).wait().expect(2);
}
