//! The address of the page that a browser elsewhere could not reach, pasted into the terminal.

use std::io::{self, BufRead};
use std::sync::mpsc::Sender;
use std::thread;

use url::Url;

use super::listener::Arrival;
use super::response::{Expected, Response};

/// Reads lines from the terminal for as long as the login waits.
pub(super) fn read(arrivals: Sender<Arrival>) {
    // Reading cannot be interrupted: the thread ends with the process.
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if !line.trim().is_empty() && arrivals.send(Arrival::Pasted(line)).is_err() {
                return;
            }
        }
    });
}

/// The response in a pasted address, checked like one that the browser brings.
pub(super) fn response(line: &str, port: u16, expected: &Expected) -> Option<Response> {
    let url = Url::parse(line.trim()).ok()?;
    let is_ours = url.scheme() == "http"
        && url.host_str() == Some("127.0.0.1")
        && url.port_or_known_default() == Some(port)
        && url.path() == "/callback"
        && url.username().is_empty()
        && url.password().is_none();
    expected.judge(url.query().filter(|_| is_ours)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_address_of_this_login_is_taken() {
        let expected = Expected { state: "s".to_owned(), issuer: "https://login.test".to_owned() };
        let taken = |line: &str| response(line, 8301, &expected).is_some();
        assert!(taken("  http://127.0.0.1:8301/callback?code=a&state=s\r\n"));
        for line in [
            "code=a&state=s",
            "http://127.0.0.1:8301/callback?code=a&state=other",
            "http://127.0.0.1:8302/callback?code=a&state=s",
            "http://localhost:8301/callback?code=a&state=s",
            "https://127.0.0.1:8301/callback?code=a&state=s",
            "http://127.0.0.1:8301/other?code=a&state=s",
            "http://a@127.0.0.1:8301/callback?code=a&state=s",
            "http://127.0.0.1:8301/callback",
        ] {
            assert!(!taken(line), "{line}");
        }
    }
}
