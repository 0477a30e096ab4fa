//! Tests the listener over real sockets, with limits short enough for a test.

use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::Extension;
use axum::routing::{get, post};
use infra_shared::clock::SystemClock;
use infra_shared::http::{self, Limits, Trust, async_client};
use infra_shared::pin::Pin;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::audit::Audit;
use crate::keys::{Keys, RootKeySettings};
use crate::store::Store;
use crate::tls::{Certificates, LocalAuthority, MinimumVersion, OtherSource};

/// Longer than any step of these tests.
const BOUND: Duration = Duration::from_secs(30);

struct Served {
    address: SocketAddr,
    pin: Pin,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Served {
    async fn new(router: Router, limits: ListenerLimits) -> Self {
        Self::behind(Proxies::default(), router, limits).await
    }

    async fn behind(proxies: Proxies, router: Router, limits: ListenerLimits) -> Self {
        Self::with(None, proxies, router, limits).await
    }

    async fn with(
        fast_path: Option<FastPath>,
        proxies: Proxies,
        router: Router,
        limits: ListenerLimits,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store =
            Store::open(data_dir.join(keys.database_file()), keys.database_key()).await.expect("a store");
        let names = vec!["127.0.0.1".to_owned()];
        let authority =
            LocalAuthority::load_or_create(store.clone(), keys.field_sealer(), Arc::new(SystemClock), names)
                .await
                .expect("an authority");
        let pin = authority.pin();
        let origin = "127.0.0.1".parse().expect("an origin");
        let clock = Arc::new(SystemClock);
        let (store, sealer) = (store, keys.field_sealer());
        let certificates = Certificates::open(
            authority,
            OtherSource::None,
            vec![origin],
            store,
            sealer,
            clock,
            Audit::none(),
        )
        .await
        .expect("certificates");
        let tls = certificates.tls_server(MinimumVersion::Tls13).expect("a configuration");
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let app = App { fast_path, ..App::without_counters(router, proxies) };
        let serving = tokio::spawn(async move {
            serve(listener, Transport::Tls(tls), app, limits, async { stopped.await.unwrap_or(()) }).await;
        });
        Self { address, pin, stop: Some(stop), serving }
    }

    fn client(&self) -> reqwest::Client {
        let trust = Trust::Pinned { pin: self.pin, authorities: None };
        async_client(&trust, Limits { connect: BOUND, total: BOUND }, false, &http::Proxies::none())
            .expect("a client")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// Connects from another loopback address.
    async fn connect_from(&self, number: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((Ipv4Addr::new(127, 0, 0, number), 0).into()).expect("an address of loopback");
        socket.connect(self.address).await.expect("a connection")
    }

    fn stop(&mut self) {
        self.stop.take().expect("not stopped yet").send(()).expect("it waits");
    }

    async fn end(self) {
        timeout(BOUND, self.serving).await.expect("it ends in time").expect("it does not panic");
    }
}

/// Waits until the other end closes the connection, ignoring what it sends.
async fn is_closed(mut stream: impl AsyncRead + Unpin) {
    let mut bytes = [0; 1024];
    while !matches!(timeout(BOUND, stream.read(&mut bytes)).await.expect("closed in time"), Ok(0) | Err(_)) {}
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn requests_carry_client_address() {
    let router = Router::new().route(
        "/",
        get(|Extension(PeerAddress(peer)): Extension<PeerAddress>| async move { peer.ip().to_string() }),
    );
    let served = Served::new(router, ListenerLimits::default()).await;
    let client = served.client();
    for _ in 0..3 {
        let answer = client.get(served.url("/")).send().await.expect("an answer");
        assert_eq!(answer.version(), axum::http::Version::HTTP_11);
        assert_eq!(answer.text().await.expect("a body"), "127.0.0.1");
    }
}

#[tokio::test]
async fn undecided_body_reaches_router_whole() {
    let fast_path: FastPath = Arc::new(|_, _, headers| {
        headers.contains_key("x-known").then(|| {
            let answer = |body: &[u8]| (body == b"known").then(|| "from memory".into_response());
            CachedResponse::NeedsBody(PendingBody {
                max_bytes: 8,
                timeout: Duration::from_secs(2),
                respond: Box::new(answer),
                incomplete: || StatusCode::BAD_REQUEST.into_response(),
            })
        })
    });
    let router = Router::new().route("/", post(|body: String| async move { format!("worked on {body}") }));
    let served = Served::with(Some(fast_path), Proxies::default(), router, ListenerLimits::default()).await;
    let client = served.client();
    for (header, body, expected) in [
        ("x-known", "known", "from memory"),
        ("x-known", "other", "worked on other"),
        ("x-known", "longer than it may be", "worked on longer than it may be"),
        ("x-other", "known", "worked on known"),
    ] {
        let asking = client.post(served.url("/")).header(header, "1").body(body);
        let answer = asking.send().await.expect("an answer");
        assert_eq!(answer.text().await.expect("a body"), expected, "{header}: {body}");
    }
    let mut stream = try_tls(&served, served.connect().await, "http/1.1").await.expect("a handshake");
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nX-Known: 1\r\nContent-Length: 5\r\n\r\nkno";
    stream.write_all(head).await.expect("sent");
    let mut answer = Vec::new();
    timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("closed in time").expect("an end");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// A client that announces a body and sends none, as nginx does. Its next request would be taken for the body.
#[tokio::test]
async fn connection_ends_after_answer_to_unread_body() {
    let fast_path: FastPath = Arc::new(|_, _, _| Some(CachedResponse::Ready("from memory~".into_response())));
    for fast_path in [None, Some(fast_path)] {
        let served = Served::with(fast_path, Proxies::default(), whoami(), ListenerLimits::default()).await;
        for (announced, is_kept) in [
            ("Content-Length: 11\r\n", false),
            ("Transfer-Encoding: chunked\r\n", false),
            // A client that waits for `100 Continue` sends nothing.
            ("Expect: 100-continue\r\nContent-Length: 1\r\n", false),
            ("Content-Length: 11\r\n\r\nhello world", true),
            ("Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", true),
        ] {
            let mut stream = speak_http1(&served, served.connect().await).await;
            for answer in [ask(&mut stream, "").await, ask(&mut stream, announced).await] {
                assert!(
                    answer.starts_with("HTTP/1.1 200") && answer.ends_with('~'),
                    "{announced:?}: {answer}"
                );
                let closes = answer.to_ascii_lowercase().contains("connection: close");
                assert!(!closes || !is_kept, "{announced:?}: {answer}");
            }
            if is_kept {
                assert!(ask(&mut stream, "").await.starts_with("HTTP/1.1 200"), "{announced:?}");
            } else {
                let ended = timeout(BOUND, stream.read(&mut [0])).await.expect("closed in time");
                assert_eq!(ended.unwrap_or(0), 0, "{announced:?}");
            }
        }
    }
}

#[tokio::test]
async fn connection_is_kept_after_body_that_was_read() {
    let router = Router::new().route("/", get(|body: String| async move { format!("read {body}~") }));
    let served = Served::new(router, ListenerLimits::default()).await;
    let mut stream = speak_http1(&served, served.connect().await).await;
    for body in [
        "Content-Length: 2\r\n\r\nhi",
        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        "Content-Length: 2\r\n\r\nhi",
    ] {
        let answer = ask(&mut stream, body).await.to_ascii_lowercase();
        assert!(answer.ends_with("read hi~") && !answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn connection_without_handshake_is_closed() {
    let limits = ListenerLimits { handshake: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::new(hello(), limits).await;
    is_closed(served.connect().await).await;
}

#[tokio::test]
async fn plain_http_connection_is_closed() {
    let served = Served::new(hello(), ListenerLimits::default()).await;
    let mut plain = served.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    is_closed(plain).await;
    assert_eq!(served.client().get(served.url("/")).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn endless_request_head_times_out() {
    let limits = ListenerLimits { request_head: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::new(hello(), limits).await;
    let trust = Trust::Pinned { pin: served.pin, authorities: None };
    let mut config = infra_shared::http::client_config(&trust, false).expect("a configuration");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(name, served.connect().await).await.expect("a handshake");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.expect("sent");
    let mut answer = Vec::new();
    // The stream may end with or without close_notify.
    let _ = timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("closed in time");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn slow_request_is_answered_with_503() {
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let limits = ListenerLimits { request: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::new(router, limits).await;
    assert_eq!(served.client().get(served.url("/")).send().await.expect("an answer").status(), 503);
}

#[tokio::test]
async fn excess_connections_are_closed_immediately() {
    let limits = ListenerLimits { connections_per_address: 1, ..ListenerLimits::default() };
    let served = Served::new(hello(), limits).await;
    let first = served.connect().await;
    is_closed(served.connect().await).await;
    drop(first);
    // The slot is free once the listener notices that the first connection closed.
    let answered = timeout(BOUND, async {
        while served.client().get(served.url("/")).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    answered.await.expect("the place is free again");
}

#[tokio::test]
async fn requests_in_flight_finish_after_stop() {
    let (started, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (started_too, finish_too) = (started.clone(), finish.clone());
    let handler = move || {
        let (started, finish) = (started_too.clone(), finish_too.clone());
        async move {
            started.notify_one();
            finish.notified().await;
            "ended in peace"
        }
    };
    let mut served = Served::new(Router::new().route("/", get(handler)), ListenerLimits::default()).await;
    let request = tokio::spawn(served.client().get(served.url("/")).send());
    timeout(BOUND, started.notified()).await.expect("the request arrives");

    served.stop();
    finish.notify_one();

    let answer = request.await.expect("a task").expect("an answer");
    assert_eq!(answer.text().await.expect("a body"), "ended in peace");
    let address = served.address;
    served.end().await;
    TcpStream::connect(address).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn drain_timeout_ends_connections_after_stop() {
    let started = Arc::new(Notify::new());
    let started_too = started.clone();
    let handler = move || {
        started_too.notify_one();
        std::future::pending::<()>()
    };
    let limits = ListenerLimits { drain: Duration::from_millis(50), ..ListenerLimits::default() };
    let mut served = Served::new(Router::new().route("/", get(handler)), limits).await;
    let _request = tokio::spawn(served.client().get(served.url("/")).send());
    timeout(BOUND, started.notified()).await.expect("the request arrives");
    served.stop();
    served.end().await;
}

/// Opens an HTTP/1.1 connection to `served` over a stream that may already have sent a preamble.
async fn speak_http1(served: &Served, stream: TcpStream) -> tokio_rustls::client::TlsStream<TcpStream> {
    try_http1(served, stream).await.expect("a handshake")
}

async fn try_http1(
    served: &Served,
    stream: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    try_tls(served, stream, "http/1.1").await
}

async fn try_tls(
    served: &Served,
    stream: TcpStream,
    protocol: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let trust = Trust::Pinned { pin: served.pin, authorities: None };
    let mut config = infra_shared::http::client_config(&trust, false).expect("a configuration");
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").expect("a name");
    timeout(BOUND, tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream))
        .await
        .expect("an outcome in time")
}

/// Sends a request with these headers. Returns the answer up to its length or the end of the connection.
async fn ask(stream: &mut tokio_rustls::client::TlsStream<TcpStream>, headers: &str) -> String {
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"~") {
        if timeout(BOUND, stream.read(&mut byte)).await.expect("in time").unwrap_or(0) == 0 {
            break;
        }
        answer.extend(byte);
    }
    String::from_utf8(answer).expect("text")
}

/// Answers with the client address and `~`.
fn whoami() -> Router {
    let tell =
        |Extension(PeerAddress(peer)): Extension<PeerAddress>| async move { format!("{}~", peer.ip()) };
    Router::new().route("/", get(tell))
}

fn trusting(network: &str, speak_proxy_protocol: bool) -> Proxies {
    let trusted = crate::addresses::Networks::new(vec![network.parse().expect("a network")]);
    Proxies { trusted, speak_proxy_protocol }
}

/// A PROXY header of version 2 with this command, for 203.0.113.7.
fn proxy_header(command: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, 0x11, 0, 12, 203, 0, 113, 7, 127, 0, 0, 1, 0x12, 0x34, 0x01, 0xbb]);
    header
}

#[tokio::test]
async fn trusted_proxy_names_its_client() {
    let served = Served::behind(trusting("127.0.0.0/8", true), whoami(), ListenerLimits::default()).await;
    for (command, address) in [(1, "203.0.113.7"), (0, "127.0.0.1")] {
        let mut stream = served.connect().await;
        stream.write_all(&proxy_header(command)).await.expect("sent");
        let mut stream = speak_http1(&served, stream).await;
        let answer = ask(&mut stream, "X-Forwarded-For: 198.51.100.1\r\n").await;
        assert!(answer.ends_with(&format!("{address}~")), "{answer}");
    }
    try_http1(&served, served.connect().await).await.expect_err("a proxy that introduces nobody");
}

#[tokio::test]
async fn proxy_header_of_untrusted_peer_is_rejected() {
    for proxies in [Proxies::default(), trusting("192.0.2.0/24", true), trusting("127.0.0.1/32", false)] {
        let served = Served::behind(proxies, whoami(), ListenerLimits::default()).await;
        let mut stream = served.connect().await;
        stream.write_all(&proxy_header(1)).await.expect("sent");
        try_http1(&served, stream).await.expect_err("a PROXY header is no ClientHello");
    }
    let served = Served::behind(trusting("192.0.2.0/24", true), whoami(), ListenerLimits::default()).await;
    let mut stream = speak_http1(&served, served.connect().await).await;
    assert!(ask(&mut stream, "X-Forwarded-For: 198.51.100.1\r\n").await.ends_with("127.0.0.1~"));
}

#[tokio::test]
async fn proxied_client_is_limited_and_proxy_is_not() {
    let limits = ListenerLimits { connections_per_address: 1, ..ListenerLimits::default() };
    let served = Served::behind(trusting("127.0.0.0/8", true), whoami(), limits).await;
    let mut local = Vec::new();
    for command in [0, 0, 1] {
        let mut stream = served.connect().await;
        stream.write_all(&proxy_header(command)).await.expect("sent");
        local.push(speak_http1(&served, stream).await);
    }
    let mut second = served.connect().await;
    second.write_all(&proxy_header(1)).await.expect("sent");
    try_http1(&served, second).await.expect_err("203.0.113.7 has its one connection");
}

#[tokio::test]
async fn endless_proxy_header_times_out() {
    let limits = ListenerLimits { handshake: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::behind(trusting("127.0.0.0/8", true), whoami(), limits).await;
    let mut stream = served.connect().await;
    stream.write_all(proxy_header(1).get(..20).expect("longer")).await.expect("sent");
    is_closed(stream).await;
}

#[tokio::test]
async fn forwarded_address_applies_per_request() {
    let served = Served::behind(trusting("127.0.0.0/8", false), whoami(), ListenerLimits::default()).await;
    let mut stream = speak_http1(&served, served.connect().await).await;
    for (header, address) in [
        ("X-Forwarded-For: 10.9.9.9, 203.0.113.7\r\n", "203.0.113.7"),
        ("X-Forwarded-For: 203.0.113.8\r\nX-Forwarded-For: 127.0.0.9\r\n", "203.0.113.8"),
        ("Forwarded: for=203.0.113.9\r\n", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let answer = ask(&mut stream, header).await;
        assert!(answer.ends_with(&format!("\r\n{address}~")), "{header} {answer}");
    }
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let (idle, request_head) = (Duration::from_millis(200), Duration::from_mins(1));
    let limits = ListenerLimits { request_head, idle, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let mut stream = speak_http1(&served, served.connect().await).await;
    // The time before the first request is that of its head.
    assert!(ask(&mut stream, "").await.ends_with("127.0.0.1~"));
    assert_eq!(timeout(BOUND, stream.read(&mut [0])).await.expect("closed in time").unwrap_or(0), 0);

    let stream = try_tls(&served, served.connect().await, "h2").await.expect("a handshake");
    let stream = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream)
            .await
            .expect("HTTP/2");
    let driver = tokio::spawn(driver);
    let request =
        axum::http::Request::get(served.url("/")).body(axum::body::Body::empty()).expect("a request");
    assert_eq!(sender.send_request(request).await.expect("an answer").status(), 200);
    // The connection stays open and answers pings until the other end closes it.
    let _ = timeout(BOUND, driver).await.expect("closed in time");
}

#[test]
fn use_of_connection_restarts_its_idle_time() {
    let activity = activity::Activity::new();
    let response = activity.begin_response(100);
    assert_eq!(activity.waiting_since(), None, "it is used");
    let used = Instant::now();
    drop(response);
    assert!(activity.waiting_since() >= Some(used));
}

#[tokio::test]
async fn connection_speaks_only_negotiated_protocol() {
    // No timeout is reached in this test.
    let hour = Duration::from_hours(1);
    let limits = ListenerLimits { request_head: hour, idle: hour, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let mut stream = try_tls(&served, served.connect().await, "h2").await.expect("a handshake");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await.expect("sent");
    is_closed(stream).await;
    let mut stream = try_tls(&served, served.connect().await, "http/1.1").await.expect("a handshake");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    is_closed(stream).await;
}

#[tokio::test]
async fn silence_after_handshake_ends_at_head_timeout() {
    let (request_head, idle) = (Duration::from_millis(50), Duration::from_hours(1));
    let served =
        Served::new(whoami(), ListenerLimits { request_head, idle, ..ListenerLimits::default() }).await;
    for protocol in ["h2", "http/1.1"] {
        is_closed(try_tls(&served, served.connect().await, protocol).await.expect("a handshake")).await;
    }
}

#[tokio::test]
async fn oversized_client_hello_is_closed() {
    let hour = Duration::from_hours(1);
    let served = Served::new(whoami(), ListenerLimits { handshake: hour, ..ListenerLimits::default() }).await;
    let mut stream = served.connect().await;
    // A ClientHello of 64 kB in records of maximum size.
    let first = [&b"\x16\x03\x01\x40\x00\x01\x00\xff\xfc\x03\x03"[..], &[7; 16_378]].concat();
    stream.write_all(&first).await.expect("sent");
    is_closed(stream).await;
}

#[tokio::test]
async fn unclear_host_is_rejected_before_fast_path() {
    let fast_path: FastPath = Arc::new(|_, _, _| Some(CachedResponse::Ready("from memory".into_response())));
    for fast_path in [None, Some(fast_path)] {
        let served = Served::with(fast_path, Proxies::default(), whoami(), ListenerLimits::default()).await;
        for (hosts, status) in [
            ("Host: a\r\n", "200"),
            ("", "400"),
            ("Host: a\r\nHost: a\r\n", "400"),
            ("Host: a\r\nhOsT: b\r\n", "400"),
            ("Host: \r\n", "400"),
            ("Host: a@b\r\n", "400"),
            ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", "400"),
            ("Host: a\r\nTransfer-Encoding: gzip\r\n", "400"),
        ] {
            let mut stream = try_tls(&served, served.connect().await, "http/1.1").await.expect("a handshake");
            stream
                .write_all(format!("GET / HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n").as_bytes())
                .await
                .expect("sent");
            let mut answer = String::new();
            let _ = timeout(BOUND, stream.read_to_string(&mut answer)).await.expect("closed in time");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn body_beyond_memory_budget_ends_its_connection() {
    let limits = ListenerLimits { memory: 512 * 1024, ..ListenerLimits::default() };
    let is_read = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let reading = is_read.clone();
    let read = move |_: axum::body::Bytes| async move {
        reading.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let router = Router::new()
        .route("/", get(|| async { "hello" }).post(read))
        .layer(axum::extract::DefaultBodyLimit::disable());
    let served = Served::new(router, limits).await;
    let mut honest = speak_http1(&served, served.connect_from(2).await).await;
    let mut greedy = try_tls(&served, served.connect().await, "http/1.1").await.expect("a handshake");
    greedy.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await.expect("sent");
    let part = [b'x'; 10_000];
    let sending = async { while greedy.write_all(&part).await.is_ok() {} };
    timeout(BOUND, sending).await.expect("cut off");
    assert!(!is_read.load(std::sync::atomic::Ordering::Relaxed), "all of it was kept");
    honest.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    let mut answer = [0; 12];
    timeout(BOUND, honest.read_exact(&mut answer)).await.expect("in time").expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn bind_falls_back_to_ipv4_if_ipv6_is_disabled() {
    let disabled = |address: SocketAddr| {
        let errno = rustix::io::Errno::AFNOSUPPORT;
        if address.is_ipv6() { Err(errno.into()) } else { Ok(address) }
    };
    let bind = |text: &str| bind_or_fall_back(text.parse().expect("an address"), disabled);
    assert_eq!(bind("[::]:443").expect("IPv4"), "0.0.0.0:443".parse().expect("an address"));
    assert!(lacks_ipv6(&bind("[::1]:443").expect_err("one address alone was wanted")));
    let taken = |_: SocketAddr| Err::<(), _>(rustix::io::Errno::ADDRINUSE.into());
    assert!(bind_or_fall_back("[::]:443".parse().expect("an address"), taken).is_err());
}

#[tokio::test]
async fn connection_ends_at_request_limit() {
    let limits = ListenerLimits { requests_per_connection: 3, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let mut stream = speak_http1(&served, served.connect().await).await;
    for _ in 0..2 {
        assert!(!ask(&mut stream, "").await.to_ascii_lowercase().contains("connection: close"));
    }
    let last = ask(&mut stream, "").await;
    assert!(last.to_ascii_lowercase().contains("connection: close") && last.ends_with('~'), "{last}");
    assert_eq!(timeout(BOUND, stream.read(&mut [0])).await.expect("closed in time").unwrap_or(0), 0);

    // An HTTP/2 client receives GOAWAY, loses no request, and reconnects automatically.
    let client = served.client();
    for _ in 0..20 {
        assert_eq!(client.get(served.url("/")).send().await.expect("an answer").status(), 200);
    }
}

#[tokio::test]
async fn oversized_request_head_is_rejected() {
    let limits = ListenerLimits { head_bytes: 8192, headers: 16, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    for headers in [format!("X-Large: {}\r\n", "a".repeat(9000)), "X-Many: a\r\n".repeat(20)] {
        let mut stream = speak_http1(&served, served.connect().await).await;
        assert!(ask(&mut stream, "").await.starts_with("HTTP/1.1 200"), "the honest one");
        let answer = ask(&mut stream, &headers).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let two = served.client().get(served.url("/")).header("x-large", "a".repeat(9000)).send().await;
        assert!(two.is_err() || two.is_ok_and(|answer| answer.status() == 431));
    }
}

#[tokio::test]
async fn full_listener_still_admits_honest_client() {
    let limits = ListenerLimits { connections: 16, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let mut idle = Vec::new();
    for _ in 0..16 {
        idle.push(served.connect().await);
    }
    let mut stream = speak_http1(&served, served.connect_from(2).await).await;
    assert!(ask(&mut stream, "").await.ends_with("127.0.0.2~"));
}

#[tokio::test]
async fn attacker_with_many_addresses_locks_out_no_client() {
    let limits = ListenerLimits { connections: 16, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let mut kept = Vec::new();
    for number in 100..116 {
        // Use each connection once, so that it no longer counts as new.
        let mut stream = speak_http1(&served, served.connect_from(number).await).await;
        ask(&mut stream, "").await;
        kept.push(stream);
    }
    // For one second each may still send a request; then the first is evicted.
    let admitted = async {
        loop {
            if let Ok(mut stream) = try_tls(&served, served.connect_from(2).await, "http/1.1").await {
                return ask(&mut stream, "").await;
            }
        }
    };
    assert!(timeout(BOUND, admitted).await.expect("a place in time").ends_with("127.0.0.2~"));
    let mut kept = kept.into_iter();
    is_closed(kept.next().expect("the first")).await;
    for mut stream in kept {
        assert!(ask(&mut stream, "").await.ends_with('~'), "one gives way for one");
    }
}

#[tokio::test]
async fn streams_beyond_limit_are_refused() {
    let limits = ListenerLimits { streams: 8, ..ListenerLimits::default() };
    let served = Served::new(whoami(), limits).await;
    let stream = try_tls(&served, served.connect().await, "h2").await.expect("a handshake");
    let stream = hyper_util::rt::TokioIo::new(stream);
    // hyper opens up to 100 streams before it learns the limit.
    let (sender, driver) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), stream)
            .await
            .expect("HTTP/2");
    let driver = tokio::spawn(driver);
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..90 {
        let mut sender = sender.clone();
        let request =
            axum::http::Request::get(served.url("/")).body(axum::body::Body::empty()).expect("a request");
        asking.spawn(async move { sender.send_request(request).await.is_ok_and(|it| it.status() == 200) });
    }
    let answered = timeout(BOUND, asking.join_all()).await.expect("in time");
    assert!(answered.iter().filter(|answered| **answered).count() >= 8, "{answered:?}");
    assert!(!driver.is_finished(), "the connection goes on");
}

/// Incoming HTTP/2 frames: type, flags, stream and payload.
struct Frames<S>(S);

impl<S: AsyncRead + Unpin> Frames<S> {
    async fn next(&mut self) -> (u8, u8, u32, Vec<u8>) {
        let mut head = [0; 9];
        timeout(BOUND, self.0.read_exact(&mut head)).await.expect("a frame in time").expect("a frame");
        let [a, b, c, kind, flags, s1, s2, s3, s4] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        timeout(BOUND, self.0.read_exact(&mut payload)).await.expect("it in time").expect("a whole frame");
        (kind, flags, u32::from_be_bytes([s1, s2, s3, s4]), payload)
    }
}

/// Starts an HTTP/2 request whose body is rejected, and returns the error codes of its reset. If `is_ending`, sends
/// the whole body after the answer.
async fn refused_before_its_body(served: &Served, headers: usize, is_ending: bool) -> Vec<Vec<u8>> {
    use infra_harness::attacks::{field, frame, preface, request};
    const END_STREAM: u8 = 1;
    let mut stream = try_tls(served, served.connect().await, "h2").await.expect("a handshake");
    let more = field(0, "x", "y").repeat(headers);
    let head = [preface(65_535), frame(1, 4, 1, &[request("POST", "/nothing"), more].concat())].concat();
    stream.write_all(&head).await.expect("sent");
    let (mut frames, mut resets) = (Frames(stream), Vec::new());
    loop {
        match frames.next().await {
            (3, _, 1, code) => resets.push(code),
            (0 | 1, flags, 1, _) if flags & END_STREAM != 0 => break,
            _ => {}
        }
    }
    // The answer to another request comes after all frames of the first one.
    let next = frame(1, 5, 3, &request("GET", "/"));
    let rest = if is_ending { frame(0, END_STREAM, 1, b"{}") } else { Vec::new() };
    frames.0.write_all(&[rest, next].concat()).await.expect("sent");
    let mut is_answered = false;
    while !is_answered || (!is_ending && resets.is_empty()) {
        match frames.next().await {
            (3, _, 1, code) => resets.push(code),
            (0 | 1, flags, 3, _) => is_answered |= flags & END_STREAM != 0,
            _ => {}
        }
    }
    resets
}

#[tokio::test]
async fn request_rejected_before_body_end_is_not_reset() {
    let fast_path: FastPath = Arc::new(|_, uri, _| {
        (uri.path() == "/nothing").then(|| CachedResponse::Ready(StatusCode::UNAUTHORIZED.into_response()))
    });
    for fast_path in [None, Some(fast_path)] {
        let served = Served::with(fast_path, Proxies::default(), whoami(), ListenerLimits::default()).await;
        // 404 or 401, and 431.
        for headers in [0, 100] {
            assert_eq!(refused_before_its_body(&served, headers, true).await, Vec::<Vec<u8>>::new());
        }
    }
}

#[tokio::test]
async fn endless_rejected_request_is_reset_without_error() {
    let served = Served::new(whoami(), ListenerLimits::default()).await;
    assert_eq!(refused_before_its_body(&served, 0, false).await, [[0, 0, 0, 0]]);
}
