//! The listener over real sockets, with limits short enough to be met in a test.

use std::net::Ipv4Addr;

use axum::Router;
use axum::extract::Extension;
use axum::routing::get;
use infra_shared::clock::SystemClock;
use infra_shared::http::{Limits, Trust, async_client};
use infra_shared::pin::Pin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::audit::Audit;
use crate::keys::{Keys, RootKeySettings};
use crate::store::Store;
use crate::tls::{Certificates, LocalAuthority, MinimumVersion, OtherSource};

/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(10);

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
        let directory = tempfile::tempdir().expect("a directory");
        let data_dir = directory.path().join("data");
        std::fs::create_dir(&data_dir).expect("a directory");
        let root_key = RootKeySettings::Native { path: directory.path().join("root.key") };
        let keys = Keys::open_or_create(&data_dir, &[root_key]).await.expect("keys");
        let store = Store::open(&data_dir.join(keys.database_file()), &keys.database_key()).expect("a store");
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
        let serving = tokio::spawn(async move {
            let site = Site::uncounted(router, proxies);
            serve(listener, Transport::Tls(tls), site, limits, async { stopped.await.unwrap_or(()) }).await;
        });
        Self { address, pin, stop: Some(stop), serving }
    }

    fn client(&self) -> reqwest::Client {
        let trust = Trust::Pinned { pin: self.pin, authorities: None };
        async_client(&trust, Limits { connect: BOUND, total: BOUND }, false).expect("a client")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    fn stop(&mut self) {
        self.stop.take().expect("not stopped yet").send(()).expect("it waits");
    }

    async fn end(self) {
        timeout(BOUND, self.serving).await.expect("it ends in time").expect("it does not panic");
    }
}

/// Waits until the other end closes the connection, whatever it says before.
async fn is_closed(mut stream: TcpStream) {
    let mut bytes = [0; 1024];
    while !matches!(timeout(BOUND, stream.read(&mut bytes)).await.expect("closed in time"), Ok(0) | Err(_)) {}
}

fn hello() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn requests_are_answered_and_know_where_they_came_from() {
    let router = Router::new().route(
        "/",
        get(|Extension(PeerAddress(peer)): Extension<PeerAddress>| async move { peer.ip().to_string() }),
    );
    let served = Served::new(router, ListenerLimits::default()).await;
    let client = served.client();
    for _ in 0..3 {
        let answer = client.get(served.url("/")).send().await.expect("an answer");
        assert_eq!(answer.version(), axum::http::Version::HTTP_2);
        assert_eq!(answer.text().await.expect("a body"), "127.0.0.1");
    }
}

#[tokio::test]
async fn a_connection_that_never_shakes_hands_is_closed() {
    let limits = ListenerLimits { handshake: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::new(hello(), limits).await;
    is_closed(served.connect().await).await;
}

#[tokio::test]
async fn plain_http_is_closed_and_others_are_served_on() {
    let served = Served::new(hello(), ListenerLimits::default()).await;
    let mut plain = served.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    is_closed(plain).await;
    assert_eq!(served.client().get(served.url("/")).send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
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
    // Closed without close_notify, or with: both end the reading.
    let _ = timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("closed in time");
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_with_503() {
    let router = Router::new().route("/", get(std::future::pending::<()>));
    let limits = ListenerLimits { request: Duration::from_millis(50), ..ListenerLimits::default() };
    let served = Served::new(router, limits).await;
    assert_eq!(served.client().get(served.url("/")).send().await.expect("an answer").status(), 503);
}

#[tokio::test]
async fn more_connections_than_allowed_are_closed_at_once() {
    let limits = ListenerLimits { connections_per_address: 1, ..ListenerLimits::default() };
    let served = Served::new(hello(), limits).await;
    let first = served.connect().await;
    is_closed(served.connect().await).await;
    drop(first);
    // The place is free once the listener has seen the first one go.
    let answered = timeout(BOUND, async {
        while served.client().get(served.url("/")).send().await.is_err() {
            tokio::task::yield_now().await;
        }
    });
    answered.await.expect("the place is free again");
}

#[tokio::test]
async fn what_is_under_way_may_end_after_a_stop() {
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
async fn what_does_not_end_is_cut_off_after_a_stop() {
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
