//! The callback is received once, also from clients that close early or send too much.

use std::io::{Read, Write};
use std::net::Shutdown;

use super::super::response;
use super::*;

const LIMIT: Duration = Duration::from_secs(20);
const URL: &str = "https://login.test/authorize";

fn listener(allowed_peers: AllowedPeers) -> (Listener, Receiver<Event>) {
    let socket = net::TcpListener::bind((net::Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = socket.local_addr().expect("an address").port();
    let expected = ExpectedResponse { state: "right".to_owned(), issuer: "https://login.test".to_owned() };
    let (sender, events) = mpsc::channel();
    let listener = Listener::start(Some(socket), port, allowed_peers, expected, URL, sender);
    (listener.expect("a listener"), events)
}

fn send(listener: &Listener, target: &str) -> net::TcpStream {
    let mut stream = net::TcpStream::connect(("127.0.0.1", listener.port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", listener.port);
    stream.write_all(request.as_bytes()).expect("it is read");
    stream
}

fn answer(mut stream: net::TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[track_caller]
fn assert_code_came(events: &Receiver<Event>) {
    let event = events.recv_timeout(LIMIT);
    assert!(matches!(event, Ok(Event::Response(response::Response::Code { .. }))), "{event:?}");
}

#[test]
fn half_closed_callback_is_accepted_and_answered() {
    for _ in 0..50 {
        let (listener, events) = listener(peers());
        let stream = send(&listener, "/callback?code=a&state=right");
        stream.shutdown(Shutdown::Write).expect("a connection");
        assert_code_came(&events);
        let client = thread::spawn(move || answer(stream));
        // This client does not fetch the last page. The test covers only the response to its first request.
        let _ = listener.outcome.send(Some(Outcome::NotLoggedIn));
        let answer = client.join().expect("an answer");
        assert!(answer.contains("303 See Other") && answer.contains("location: /done/"), "{answer}");
    }
}

#[test]
fn repeated_callback_gets_the_same_result() {
    let (listener, events) = listener(peers());
    let first = send(&listener, "/callback?code=a&state=right");
    assert_code_came(&events);
    // A reload closes the first request.
    drop(first);
    let again =
        ["/callback?code=a&state=right", "/callback?code=b&state=right", listener.handler.start_path()];
    let again: Vec<_> = again.into_iter().map(|target| send(&listener, target)).collect();
    let _ = listener.outcome.send(Some(Outcome::NotLoggedIn));
    for stream in again {
        let answer = answer(stream);
        assert!(answer.contains("location: /done/"), "{answer}");
    }
    assert!(events.try_iter().next().is_none(), "a response is taken once");
}

/// This user's connections, where the system shows their owners.
fn peers() -> AllowedPeers {
    if crate::platform::can_identify_owners() { AllowedPeers::ThisUser } else { AllowedPeers::All }
}

#[test]
fn login_address_redirects_every_fetch_of_this_user() {
    let (listener, events) = listener(peers());
    let was_fetched = listener.was_fetched();
    assert!(!was_fetched.load(Ordering::SeqCst));
    for _ in 0..3 {
        let answer = answer(send(&listener, listener.handler.start_path()));
        assert!(answer.contains(&format!("location: {URL}")), "{answer}");
    }
    assert!(was_fetched.load(Ordering::SeqCst) && events.try_iter().next().is_none());
}

#[test]
fn peers_are_admitted_by_owner() {
    use Peer::{AnotherUser, Root, ThisUser, Unknown};
    for (allowed_peers, peers) in [
        (AllowedPeers::ThisUser, &[ThisUser][..]),
        (AllowedPeers::ThisUserAndWindows, &[ThisUser, Root, Unknown]),
        (AllowedPeers::All, &[ThisUser, AnotherUser, Root, Unknown]),
    ] {
        for peer in [ThisUser, AnotherUser, Root, Unknown] {
            assert_eq!(allowed_peers.includes(peer), peers.contains(&peer), "{allowed_peers:?} {peer:?}");
        }
    }
}
