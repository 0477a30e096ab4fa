//! A login completes although other clients flood its listener.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::pending_login::{AuthorizationResponse, PendingLogin};
use infra_harness::program::User;
use infra_harness::provider::{Endpoint, Provider};
use infra_harness::wait;

/// Requests other than the awaited one; `PORT` is replaced.
const STRAYS: [&str; 10] = [
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /favicon.ico HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /callback HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /callback?code=stray&state=stray HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /callback?error=access_denied&state=stray HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /callback?code=stray&state=stray HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "POST /callback?code=stray&state=stray HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 0\r\n\r\n",
    "GET /go/stray HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n",
];

/// Request heads that promise more data than ever arrives.
const UNFINISHED: [&str; 6] = [
    "",
    "GET /call",
    "GET /callback HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Never-Ending: ",
    "POST /callback HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 1000\r\n\r\n",
    "GET /callback HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 18446744073709551615\r\n\r\n",
    "POST /callback HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
];

#[test]
fn thousand_stray_requests_do_not_disturb_a_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    let port = port(&pending);

    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for stray in STRAYS.iter().cycle().take(100) {
                    send_and_hang_up(port, stray);
                }
            });
        }
    });
    assert!(pending.is_waiting(), "a stray request ended the login\n{}", pending.running.output());
    completes(pending, &provider, &alice);
}

#[test]
fn stalled_connections_and_bodies_do_not_disturb_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    let port = port(&pending);

    let stalled: Vec<TcpStream> =
        UNFINISHED.iter().cycle().take(60).filter_map(|head| send(port, head)).collect();
    assert!(!stalled.is_empty(), "no connection was accepted");
    assert!(pending.is_waiting(), "a stalled connection ended the login\n{}", pending.running.output());
    completes(pending, &provider, &alice);
    drop(stalled);
}

/// The awaited response in a form that a user's browser tab never sends; `QUERY` and `PORT` are replaced.
const RIGHT_STATE_IN_A_WRONG_FORM: [&str; 21] = [
    "GET /callback?QUERY HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: evil.example:PORT\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: [::1]:PORT\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT.evil.example\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: evil.example\r\n\r\n",
    "GET http://127.0.0.1:PORT/callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "POST /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 0\r\n\r\n",
    "HEAD /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "OPTIONS /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: https://evil.example\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 1\r\n\r\na",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Fetch-Mode: no-cors\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Fetch-Mode: cors\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Fetch-Dest: iframe\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Fetch-Dest: image\r\n\r\n",
    "GET /callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Purpose: prefetch\r\n\r\n",
    "GET /callback/?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET //callback?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
    "GET /CALLBACK?QUERY HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
];

#[test]
fn valid_response_in_wrong_form_is_rejected() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    let (port, response) = (port(&pending), pending.sign_in(&provider));
    let url = response.url();
    let (_, query) = url.split_once('?').expect("a query");
    for form in RIGHT_STATE_IN_A_WRONG_FORM {
        let mut stream = send(port, &form.replace("QUERY", query)).expect("a listener");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap_or_else(|error| panic!("{form:?}: {error}"));
        assert!(status.starts_with(b"HTTP/1.1 4"), "{form:?}: {}", String::from_utf8_lossy(&status));
        assert!(pending.is_waiting(), "{form:?} ended the login\n{}", pending.running.output());
    }
    assert_eq!(provider.calls(Endpoint::Token), 0);
    assert_eq!(pending.respond(&response).0, 200);
    pending.wait().expect(0);
}

#[test]
fn endless_header_is_cut_off_without_disturbing_a_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let pending = PendingLogin::begin(login::call(&alice, &daemon));

    let mut stream = TcpStream::connect(("127.0.0.1", port(&pending))).expect("a listener");
    stream.set_write_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let _ = stream.write_all(b"GET /callback HTTP/1.1\r\nX-Long: ");
    // Writing fails once the listener closes the connection. It must not buffer 64 MiB.
    let piece = vec![b'a'; 64 * 1024];
    let cut_off = (0..1024).any(|_| stream.write_all(&piece).is_err());
    assert!(cut_off, "64 MiB of one header were taken");
    completes(pending, &provider, &alice);
}

#[test]
fn half_closed_callback_completes_a_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let pending = PendingLogin::begin(login::call(&alice, &daemon));
    let target = target(&pending.sign_in(&provider));
    let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n");
    let mut stream = send(port(&pending), &head).expect("a listener");
    stream.shutdown(Shutdown::Write).expect("a connection");
    let answer = read_all(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 303"), "{answer}");
    pending.wait().expect(0).stderr_contains(&["signed in"]);
}

#[test]
fn callback_with_foreign_cookies_completes_a_login() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    let target = target(&pending.sign_in(&provider));
    let callback = |cookies: usize| {
        let cookie = "a".repeat(cookies);
        let head = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nCookie: {cookie}\r\n\r\n");
        read_all(&mut send(port(&pending), &head).expect("a listener"))
    };
    // A header above the limit gets an error page and a line in the terminal, and the login still waits.
    let refused = callback(200_000);
    assert!(refused.starts_with("HTTP/1.1 431") && refused.contains("Too many cookies"), "{refused}");
    let answered = callback(60_000);
    assert!(answered.starts_with("HTTP/1.1 303"), "{answered}");
    assert!(pending.running.wait_for_end(Duration::from_secs(30)).is_some(), "it waits for more");
    pending.wait().expect(0).stderr_contains(&["64 kB of headers", "signed in"]);
}

#[test]
fn browser_insisting_on_tls_is_reported_and_login_waits() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    let mut pending = PendingLogin::begin(login::call(&alice, &daemon));
    for _ in 0..2 {
        let mut stream = send(port(&pending), "\u{16}\u{3}\u{1}\u{2}\0\u{1}").expect("a listener");
        let mut alert = Vec::new();
        let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
        let _ = stream.read_to_end(&mut alert);
        assert_eq!(alert.first(), Some(&0x15), "no alert came: {alert:?}");
    }
    pending.running.wait_for("that the browser came with TLS", |_, stderr| {
        (stderr.matches("a browser used https://").count() == 1).then_some(())
    });
    completes(pending, &provider, &alice);
}

/// The path and query of an authorization response.
fn target(response: &AuthorizationResponse) -> String {
    let url = response.url();
    let (_, target) = url.split_once("/callback").expect("the path of the response");
    format!("/callback{target}")
}

fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Delivers the honest response and expects success.
fn completes(pending: PendingLogin, provider: &Provider, alice: &User) {
    let response = pending.sign_in(provider);
    let (status, page) = pending.respond(&response);
    assert_eq!(status, 200, "{page}");
    pending.wait().expect(0).stderr_contains(&["signed in"]).stdout_is_empty();
    alice.infra(["status", "--quiet"]).run().expect(0);
}

fn port(pending: &PendingLogin) -> u16 {
    let redirect_uri = pending.redirect_uri();
    let port = redirect_uri.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/callback"));
    port.and_then(|port| port.parse().ok()).expect("a redirect URI on loopback")
}

fn send(port: u16, head: &str) -> Option<TcpStream> {
    let connect = || TcpStream::connect(("127.0.0.1", port)).ok();
    let mut stream = wait::until(Duration::from_secs(30), connect)?;
    stream.write_all(head.replace("PORT", &port.to_string()).as_bytes()).ok()?;
    Some(stream)
}

/// Sends a request, reads a little of the response, and disconnects.
fn send_and_hang_up(port: u16, request: &str) {
    let Some(mut stream) = send(port, request) else { return };
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap_or_default();
    let answer = String::from_utf8_lossy(answer.get(..length).unwrap_or_default()).into_owned();
    // No page shows text from a query.
    assert!(!answer.contains("stray"), "a page repeats what was sent: {answer}");
}
