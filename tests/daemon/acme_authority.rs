//! An ACME server that is unavailable, slow, impersonated or broken. The daemon keeps serving its previous certificate,
//! reports the failure to operators, and blocks nothing.

#![expect(clippy::indexing_slicing, clippy::panic, reason = "a test panics whenever it has to fail")]

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use infra_harness::acme_authority::{AcmeAuthority, Endpoint, directory, problem};
use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::handshake::tls_handshake;
use infra_harness::https::{Answer, Delivery};
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::pebble::{Endpoint as PebbleEndpoint, Options};
use infra_peers::public_daemon::{NAME, PublicDaemon, retry_now, settings, status};
use infra_shared::http::pin_of_certificate;
use serde_json::json;

/// Longer than any step takes on a busy machine, and longer than the daemon waits for any answer.
const LIMIT: Duration = Duration::from_mins(2);

/// A daemon that gets its certificates from a simulated ACME server.
struct Fixture {
    daemon: Daemon,
    authority: AcmeAuthority,
    _provider: Provider,
}

impl Fixture {
    /// Prepares the daemon without starting it.
    fn new() -> Self {
        let (authority, provider) = (AcmeAuthority::start(), Provider::start());
        let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
        let acme = settings(
            &authority.directory_url(),
            &authority.authority_file(),
            daemon.port(),
            "selfCheck: false",
        );
        let url = format!("https://{NAME}:{}", daemon.port());
        daemon.change(|configuration| {
            configuration.public_urls.push(url);
            configuration.more = acme;
        });
        Self { daemon, authority, _provider: provider }
    }

    fn started() -> Self {
        let mut fixture = Self::new();
        fixture.daemon.start_again();
        fixture
    }

    /// Makes `authority` the only CA trusted for the directory, from the next start.
    fn trust(&mut self, authority: &Path) {
        let acme =
            settings(&self.authority.directory_url(), authority, self.daemon.port(), "selfCheck: false");
        self.daemon.change(|configuration| configuration.more = acme);
    }

    /// Retries, and waits for the next failure.
    fn next_error(&self) -> String {
        let before = status(&self.daemon, "acme")["failures"].as_u64().unwrap_or_default();
        retry_now(&self.daemon);
        self.error_after(before)
    }

    /// Returns the last error once the failure count exceeds `before`. Asserts meanwhile that the daemon serves.
    fn error_after(&self, before: u64) -> String {
        let reported = wait::until(LIMIT, || {
            self.assert_serving();
            let status = status(&self.daemon, "acme");
            (status["failures"].as_u64() > Some(before))
                .then(|| status["lastError"].as_str().map(str::to_owned))
        });
        reported.flatten().unwrap_or_else(|| panic!("no error is reported\n{}", self.daemon.log()))
    }

    /// Waits until the status reports a pause before the next order.
    fn wait_for_pause(&self) {
        let is_reported = || {
            let status = status(&self.daemon, "acme");
            status["waitingFor"]
                .as_str()
                .is_some_and(|text| text.contains("the next order follows at"))
                .then_some(())
        };
        let reported = wait::until(LIMIT, is_reported);
        assert!(reported.is_some(), "no pause is reported\n{}", self.daemon.log());
    }

    /// Asserts that the daemon serves the name with its own CA and answers requests.
    #[track_caller]
    fn assert_serving(&self) {
        let shown = tls_handshake(self.daemon.port(), NAME, &["http/1.1"]).expect("a handshake");
        let authority = shown.chain.last().and_then(pin_of_certificate);
        assert_eq!(authority, Some(self.daemon.pin()));
        assert_eq!(self.daemon.api().get("/v1/server").status, 200);
    }
}

/// Asserts that `text` contains each of `words`.
#[track_caller]
fn assert_contains_all(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing: {text}");
    }
}

#[test]
fn acme_errors_are_reported_and_daemon_keeps_serving() {
    let fixture = Fixture::started();
    // The control: the simulated server rejects every order, which is the last step.
    assert_contains_all(&fixture.error_after(0), &["issues for nobody", "rejectedIdentifier"]);
    assert_eq!(fixture.authority.requests(Endpoint::NewAccount), 1);

    let large = json!({ "padding": "x".repeat(10 * 1024 * 1024) });
    let mut without_end = Answer::text(200, "x");
    (without_end.delivery, without_end.body) = (Delivery::Endless, vec![b'x'; 65_536]);
    let mut redirect = Answer::redirect("https://localhost:1/directory");
    redirect.set_header("retry-after", "0");
    for (endpoint, answer, words) in [
        (Endpoint::Directory, Answer::text(503, "busy"), ["503"]),
        (Endpoint::Directory, Answer::json(200, &large), ["is larger than"]),
        (Endpoint::Directory, without_end, ["is larger than"]),
        (Endpoint::Directory, Answer::text(200, "<html>{{{"), ["JSON"]),
        (Endpoint::Directory, Answer::json(200, &json!([1, 2, 3])), ["JSON"]),
        (Endpoint::Directory, redirect, ["302"]),
        (Endpoint::NewNonce, Answer::text(500, ""), ["500"]),
    ] {
        fixture.authority.misbehave(endpoint, answer.clone());
        let error = fixture.next_error();
        assert_contains_all(&error, &words);
        assert!(error.len() < 500, "{error}");
        fixture.authority.behave();
    }
}

#[test]
fn slow_acme_server_times_out() {
    let deliveries = [
        Delivery::Never,
        Delivery::After(Duration::from_mins(5)),
        Delivery::Dripping { every: Duration::from_secs(1) },
    ];
    std::thread::scope(|scope| {
        for delivery in deliveries {
            scope.spawn(move || assert_times_out(delivery));
        }
    });
}

fn assert_times_out(delivery: Delivery) {
    let mut fixture = Fixture::new();
    let directory = directory(&fixture.authority.origin());
    fixture.authority.misbehave(Endpoint::Directory, Answer { delivery, ..Answer::json(200, &directory) });
    fixture.daemon.start_again();
    fixture.assert_serving();
    fixture.error_after(0);
    let log = fixture.daemon.wait_for_log("did not answer");
    let [ready, failed] = ["ready address=", "did not answer"].map(|words| log.find(words));
    assert!(ready < failed, "it serves only after the timeout\n{log}");
    // A stalled request does not delay the stop either: the daemon stops before the request times out.
    let requests = fixture.authority.requests(Endpoint::Directory);
    retry_now(&fixture.daemon);
    let is_stalled = || (fixture.authority.requests(Endpoint::Directory) > requests).then_some(());
    assert!(wait::until(LIMIT, is_stalled).is_some(), "no retry\n{}", fixture.daemon.log());
    assert_eq!(fixture.daemon.stop(), Some(0));
    let log = fixture.daemon.complete_log();
    assert_eq!(log.matches("did not answer").count(), 1, "the stop waited for a timeout\n{log}");
}

#[test]
fn untrusted_acme_server_is_sent_nothing() {
    let mut fixture = Fixture::new();
    let other = Authority::new();
    fixture.trust(&other.file());
    fixture.daemon.start_again();
    assert_contains_all(&fixture.error_after(0), &["certificate"]);
    assert_eq!(fixture.authority.requests(Endpoint::Directory), 0);
}

#[test]
fn acme_directory_with_other_origin_is_not_followed() {
    let elsewhere = AcmeAuthority::start();
    let in_the_clear = TcpListener::bind("127.0.0.1:0").expect("a free port");
    in_the_clear.set_nonblocking(true).expect("a socket can be asynchronous");
    let mut fixture = Fixture::new();
    // The daemon trusts both CAs, so the certificate is not what stops it.
    let both = fixture.daemon.directory().join("both.pem");
    let read = |authority: &AcmeAuthority| std::fs::read(authority.authority_file()).expect("its file");
    std::fs::write(&both, [read(&fixture.authority), read(&elsewhere)].concat()).expect("a file");
    fixture.trust(&both);
    fixture.daemon.start_again();
    fixture.error_after(0);

    let plain = format!("http://{}", in_the_clear.local_addr().expect("an address"));
    for origin in [elsewhere.origin(), plain, fixture.authority.origin().replace("https", "http")] {
        fixture.authority.misbehave(Endpoint::Directory, Answer::json(200, &directory(&origin)));
        assert_contains_all(&fixture.next_error(), &["another host", &origin]);
    }
    assert!(elsewhere.bodies().is_empty(), "it received a request");
    assert!(in_the_clear.accept().is_err(), "the daemon connected over plain HTTP");
}

#[test]
fn orders_count_when_their_answers_are_lost() {
    let mut fixture = Fixture::new();
    let large = Answer::text(201, &"x".repeat(1024 * 1024));
    fixture.authority.misbehave(Endpoint::NewOrder, large);
    fixture.daemon.start_again();
    for before in 0..2 {
        fixture.error_after(before);
        retry_now(&fixture.daemon);
    }
    fixture.error_after(2);
    for _ in 0..3 {
        fixture.daemon.kill();
        fixture.daemon.start_again();
        fixture.wait_for_pause();
    }
    assert_eq!(fixture.authority.requests(Endpoint::NewOrder), 3);
}

#[test]
fn retry_after_of_acme_server_survives_restart() {
    for endpoint in [Endpoint::NewOrder, Endpoint::NewAccount, Endpoint::Directory] {
        let mut fixture = Fixture::new();
        let mut answer = problem(429, "rateLimited", "come back later");
        answer.set_header("retry-after", "3600");
        fixture.authority.misbehave(endpoint, answer);
        fixture.daemon.start_again();
        assert_contains_all(&fixture.error_after(0), &["come back later"]);
        let requests = fixture.authority.requests(endpoint);
        fixture.daemon.kill();
        fixture.daemon.start_again();
        retry_now(&fixture.daemon);
        fixture.wait_for_pause();
        assert_eq!(fixture.authority.requests(endpoint), requests, "{endpoint:?} was asked again");
    }
}

#[test]
fn issuance_and_renewal_wait_for_unavailable_acme_server() {
    // A renewal has the last third of it to fail, before the certificate expires.
    let options = Options { certificates_live: Duration::from_secs(45), ..Options::default() };
    let Some(mut public) = PublicDaemon::prepare(options, "") else { return };
    public.set_address("127.0.0.1");
    public.pebble.stop();
    public.daemon.start_again();
    let failure = |public: &PublicDaemon, words: &str| {
        let is_reported =
            || public.status()["lastError"].as_str().is_some_and(|text| text.contains(words)).then_some(());
        let reported = wait::until(LIMIT, is_reported);
        assert!(reported.is_some(), "{words:?} is not reported\n{}", public.daemon.log());
    };
    failure(&public, "cannot be reached");
    let own = public.presented_for(NAME);
    assert_eq!(own.chain.last().and_then(pin_of_certificate), Some(public.daemon.pin()));

    public.pebble.start_again();
    public.retry_now();
    let first = public.wait_for_certificate();
    public.pebble.stop();
    failure(&public, "cannot be reached");
    assert_eq!(public.presented_for(NAME).leaf(), first.leaf(), "the certificate from before serves");

    // After its restart the ACME server has forgotten the account. The daemon may retry before it is told to.
    let accounts = public.pebble.requests(PebbleEndpoint::NewAccount);
    public.pebble.start_again();
    public.retry_now();
    public.daemon.wait_for_log("accountDoesNotExist");
    public.retry_now();
    assert_ne!(public.wait_for_certificate().leaf(), first.leaf());
    assert_eq!(public.pebble.requests(PebbleEndpoint::NewAccount), accounts + 1);
}
