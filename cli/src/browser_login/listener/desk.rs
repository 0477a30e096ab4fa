//! Who is answered what: one response is awaited, everybody else gets a fixed page.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use infra_shared::random;
use tokio::sync::watch;

use super::super::pages::{Page, see_other};
use super::super::response::Expected;
use super::{Arrival, Outcome};

/// Nobody guesses a path of the listener: 190 bits.
const PATH_CHARACTERS: usize = 32;

pub(super) struct Desk {
    host: String,
    expected: Expected,
    url: HeaderValue,
    start_path: String,
    last_path: String,
    is_started: AtomicBool,
    is_foreign_told: AtomicBool,
    has_response: AtomicBool,
    arrivals: Sender<Arrival>,
    outcome: watch::Receiver<Option<Outcome>>,
    last_page_sent: Sender<()>,
}

impl Desk {
    pub(super) fn new(
        port: u16,
        expected: Expected,
        url: &str,
        arrivals: Sender<Arrival>,
        outcome: watch::Receiver<Option<Outcome>>,
        last_page_sent: Sender<()>,
    ) -> Self {
        Self {
            host: format!("127.0.0.1:{port}"),
            expected,
            url: HeaderValue::from_str(url).expect("a parsed URL is visible ASCII"),
            start_path: format!("/go/{}", random::alphanumeric(PATH_CHARACTERS)),
            last_path: format!("/done/{}", random::alphanumeric(PATH_CHARACTERS)),
            is_started: AtomicBool::new(false),
            is_foreign_told: AtomicBool::new(false),
            has_response: AtomicBool::new(false),
            arrivals,
            outcome,
            last_page_sent,
        }
    }

    /// Whether the single-use address was fetched.
    pub(super) fn is_started(&self) -> bool {
        self.is_started.load(Ordering::SeqCst)
    }

    pub(super) fn start_path(&self) -> &str {
        &self.start_path
    }

    /// Whether the awaited response came to this listener.
    pub(super) fn has_response(&self) -> bool {
        self.has_response.load(Ordering::SeqCst)
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        is_held: Arc<AtomicBool>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.method() != Method::GET {
            return Ok(Page::MethodNotAllowed.response());
        }
        if !self.is_plain(&request) {
            return Ok(Page::BadRequest.response());
        }
        let path = request.uri().path();
        Ok(if path == "/callback" {
            self.take(request.uri().query().unwrap_or_default(), &is_held).await
        } else if path == self.start_path {
            self.start()
        } else if path == self.last_path {
            self.last_page()
        } else {
            Page::NotFound.response()
        })
    }

    /// Whether it is a request of a browser tab for this very host, without a body. Names that resolve to loopback are
    /// how web pages reach what listens there; embedding and fetching pages say so in `Sec-Fetch-*`.
    fn is_plain(&self, request: &Request<Incoming>) -> bool {
        let headers = request.headers();
        let is_or_absent = |name: &str, wanted: &str| {
            headers.get_all(name).iter().all(|value| value.as_bytes() == wanted.as_bytes())
        };
        request.uri().authority().is_none()
            && is_only(headers, &self.host)
            && request.body().is_end_stream()
            && is_or_absent("sec-fetch-mode", "navigate")
            && is_or_absent("sec-fetch-dest", "document")
            && !headers.contains_key("sec-purpose")
    }

    /// Sends the first one to the identity provider. Who comes second may be an onlooker who got hold of the address, or
    /// the browser after an onlooker: either way the login is not safe to go on.
    fn start(&self) -> Response<Full<Bytes>> {
        if !self.is_started.swap(true, Ordering::SeqCst) {
            return see_other(self.url.clone());
        }
        // Also when a response is here: the onlooker may have been quicker than the browser.
        let _ = self.arrivals.send(Arrival::OpenedTwice);
        Page::OpenedTwice.response()
    }

    /// Takes the awaited response, and holds the browser until the login has ended.
    async fn take(&self, query: &str, is_held: &AtomicBool) -> Response<Full<Bytes>> {
        let Some(response) = self.expected.judge(query) else {
            if query.contains("state=") && !self.is_foreign_told.swap(true, Ordering::SeqCst) {
                let _ = self.arrivals.send(Arrival::Foreign);
            }
            return Page::NotAwaited.response();
        };
        if self.has_response.swap(true, Ordering::SeqCst) {
            return Page::NotAwaited.response();
        }
        is_held.store(true, Ordering::SeqCst);
        let _ = self.arrivals.send(Arrival::Response(response));
        let mut outcome = self.outcome.clone();
        // An error means that the login is gone without a word: the last page says that it did not succeed.
        let _ = outcome.wait_for(Option::is_some).await;
        // The address with the code must not stay in the browser (RFC 9700 §4.2.4).
        see_other(HeaderValue::from_str(&self.last_path).expect("letters and digits"))
    }

    fn last_page(&self) -> Response<Full<Bytes>> {
        let page = match &*self.outcome.borrow() {
            Some(Outcome::LoggedIn(signed_in)) => Page::LoggedIn(signed_in).response(),
            Some(Outcome::NotLoggedIn) | None => Page::NotLoggedIn.response(),
        };
        let _ = self.last_page_sent.send(());
        page
    }
}

fn is_only(headers: &HeaderMap, host: &str) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    matches!((hosts.next(), hosts.next()), (Some(found), None) if found.as_bytes() == host.as_bytes())
}
