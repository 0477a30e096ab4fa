//! Answers requests: one response is expected, every other request gets a fixed page.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response};
use infra_shared::random;
use tokio::sync::watch;
use tokio::task;

use super::super::pages::{Page, see_other};
use super::super::response::ExpectedResponse;
use super::{AllowedPeers, Event, Notice, Outcome};
use crate::platform::{self, Peer};

/// 190 bits, so that no path of the listener can be guessed.
const PATH_CHARACTERS: usize = 32;

pub(super) struct CallbackHandler {
    host: String,
    allowed_peers: AllowedPeers,
    expected: ExpectedResponse,
    url: HeaderValue,
    start_path: String,
    result_path: String,
    was_fetched: Arc<AtomicBool>,
    has_response: AtomicBool,
    /// Number of requests that wait, or waited, for the outcome.
    held: AtomicUsize,
    /// Notices that were already sent.
    sent_notices: [AtomicBool; Notice::COUNT],
    events: Sender<Event>,
    outcome: watch::Receiver<Option<Outcome>>,
    last_page_sent: Sender<()>,
}

impl CallbackHandler {
    pub(super) fn new(
        port: u16,
        allowed_peers: AllowedPeers,
        expected: ExpectedResponse,
        url: &str,
        events: Sender<Event>,
        outcome: watch::Receiver<Option<Outcome>>,
        last_page_sent: Sender<()>,
    ) -> Self {
        Self {
            host: format!("127.0.0.1:{port}"),
            allowed_peers,
            expected,
            url: HeaderValue::from_str(url).expect("a parsed URL is visible ASCII"),
            start_path: format!("/go/{}", random::alphanumeric(PATH_CHARACTERS)),
            result_path: format!("/done/{}", random::alphanumeric(PATH_CHARACTERS)),
            was_fetched: Arc::default(),
            has_response: AtomicBool::new(false),
            held: AtomicUsize::new(0),
            sent_notices: Default::default(),
            events,
            outcome,
            last_page_sent,
        }
    }

    /// Set once this user's browser has fetched the sign-in's address.
    pub(super) fn was_fetched(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.was_fetched)
    }

    pub(super) fn start_path(&self) -> &str {
        &self.start_path
    }

    /// Whether the expected response arrived at this listener.
    pub(super) fn has_response(&self) -> bool {
        self.has_response.load(Ordering::SeqCst)
    }

    /// Number of requests that are redirected to the last page.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// Sends each kind of notice to the sign-in once.
    pub(super) fn notice(&self, notice: Notice) {
        let is_sent =
            self.sent_notices.get(notice as usize).is_none_or(|sent| sent.swap(true, Ordering::SeqCst));
        if !is_sent {
            // Sending fails if the sign-in has ended.
            let _ = self.events.send(Event::Notice(notice));
        }
    }

    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        from: SocketAddr,
        to: SocketAddr,
        is_held: Arc<AtomicBool>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.method() != Method::GET {
            return Ok(Page::MethodNotAllowed.response());
        }
        if !self.is_direct_navigation(&request) {
            return Ok(Page::BadRequest.response());
        }
        let path = request.uri().path();
        Ok(if path == "/callback" {
            self.accept_response(request.uri().query().unwrap_or_default(), &is_held).await
        } else if path == self.start_path {
            self.redirect_to_provider(from, to, &is_held).await
        } else if path == self.result_path {
            self.result_page()
        } else {
            Page::NotFound.response()
        })
    }

    /// Whether a browser tab sent the request, for exactly this host and without a body. Web pages reach loopback
    /// services by names that resolve to loopback (DNS rebinding). Embedded and fetched requests are marked in
    /// `Sec-Fetch-*`.
    fn is_direct_navigation(&self, request: &Request<Incoming>) -> bool {
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

    /// Redirects this user's browser to the identity provider.
    ///
    /// The address is an argument of the program that opens the browser, so every local user can read it. Another user
    /// who followed it would sign in here with their own account. This user's programs may fetch it any number of
    /// times.
    async fn redirect_to_provider(
        &self,
        from: SocketAddr,
        to: SocketAddr,
        is_held: &AtomicBool,
    ) -> Response<Full<Bytes>> {
        if self.allowed_peers != AllowedPeers::All {
            // Reading the connection tables takes time on a machine with many connections.
            let owner = task::spawn_blocking(move || platform::connection_owner(from, to))
                .await
                .unwrap_or(Peer::Unknown);
            if !self.allowed_peers.includes(owner) {
                // If the client has already disconnected, its owner is unknown.
                if owner != Peer::Unknown {
                    self.notice(Notice::AnotherUser);
                }
                return Page::AnotherUser.response();
            }
        }
        if self.has_response() {
            self.register_held(is_held);
            return self.await_outcome().await;
        }
        self.was_fetched.store(true, Ordering::SeqCst);
        see_other(self.url.clone())
    }

    /// Accepts the expected response. A browser that sends it again, by a reload or from a second tab, gets the result
    /// too.
    async fn accept_response(&self, query: &str, is_held: &AtomicBool) -> Response<Full<Bytes>> {
        let Some(response) = self.expected.parse(query) else {
            if query.contains("state=") {
                self.notice(Notice::OtherLogin);
            }
            return Page::UnexpectedResponse.response();
        };
        // Before the sign-in receives the response and may end.
        self.register_held(is_held);
        if !self.has_response.swap(true, Ordering::SeqCst) {
            let _ = self.events.send(Event::Response(response));
        }
        self.await_outcome().await
    }

    /// Records that a request waits for the outcome.
    fn register_held(&self, is_held: &AtomicBool) {
        is_held.store(true, Ordering::SeqCst);
        self.held.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for the outcome, then redirects the browser to the last page.
    async fn await_outcome(&self) -> Response<Full<Bytes>> {
        let mut outcome = self.outcome.clone();
        // An error means that the sign-in was dropped. The last page then reports failure.
        let _ = outcome.wait_for(Option::is_some).await;
        // The address with the code must not stay in the browser (RFC 9700 §4.2.4).
        see_other(HeaderValue::from_str(&self.result_path).expect("letters and digits"))
    }

    fn result_page(&self) -> Response<Full<Bytes>> {
        let page = match &*self.outcome.borrow() {
            Some(Outcome::LoggedIn(summary)) => Page::LoggedIn(summary).response(),
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
