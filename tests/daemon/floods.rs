//! A daemon under floods: from many addresses of loopback, with honest users who go on meanwhile.

#![expect(clippy::print_stdout, reason = "what was measured is worth reading")]

use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_harness::attacks;
use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_shared::http::{Trust, client_config};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than anything takes that is not to be waited for.
const BOUND: Duration = Duration::from_secs(20);
/// As many as the daemon takes from one address in a minute.
const STARTS_OF_ADDRESS: usize = 60;
const AT_ONCE: usize = 32;

#[derive(Clone)]
struct Target {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Target {
    fn of(daemon: &Daemon, protocol: &str) -> Self {
        let trust = Trust::Pinned { pin: daemon.pin(), authorities: None };
        let mut config = client_config(&trust, false).expect("a configuration");
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        // Each handshake is a whole one.
        config.resumption = Resumption::disabled();
        Self {
            address: (Ipv4Addr::LOCALHOST, daemon.port()).into(),
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    async fn connect(&self, from: Ipv4Addr) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().ok()?;
        socket.set_reuseaddr(true).ok()?;
        socket.bind((from, 0).into()).ok()?;
        tokio::time::timeout(BOUND, socket.connect(self.address)).await.ok()?.ok()
    }

    async fn shake_hands(&self, from: Ipv4Addr) -> Option<TlsStream<TcpStream>> {
        let stream = self.connect(from).await?;
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        tokio::time::timeout(BOUND, self.connector.connect(name, stream)).await.ok()?.ok()
    }
}

/// The number-th address of a network of loopback of its own.
fn address(group: u8, number: usize) -> Ipv4Addr {
    let number = u32::try_from(number).expect("fewer addresses");
    Ipv4Addr::from_bits(Ipv4Addr::new(127, group, 0, 1).to_bits() + number)
}

/// Resident memory of a process in MiB.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_ascii_whitespace().nth(1).expect("a size").parse::<u64>().expect("a number") / 1024
}

/// Seconds of the processor that a process has used.
fn processor(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_ascii_whitespace().collect();
    fields.iter().skip(11).take(2).map(|field| field.parse::<u64>().expect("ticks")).sum::<u64>() / 100
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").metadata().expect("a file").len()).sum()
}

/// Starts logins from so many addresses, as many from each as it may start; how many were answered with a ticket.
fn start_logins(daemon: &Daemon, addresses: std::ops::Range<usize>) -> usize {
    let body = Bytes::from(
        serde_json::json!({
            "provider": "okta",
            "redirectURI": format!("http://127.0.0.1:{}/callback", daemon.redirect_ports().first().expect("a port")),
            "state": "s".repeat(43),
            "codeChallenge": "c".repeat(43),
        })
        .to_string(),
    );
    let target = Target::of(daemon, "h2");
    let started = Arc::new(AtomicUsize::new(0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for number in addresses {
            if clients.len() >= AT_ONCE {
                let _ = clients.join_next().await;
            }
            let (target, body, started) = (target.clone(), body.clone(), started.clone());
            clients.spawn(async move {
                let stream = target.shake_hands(address(16, number)).await?;
                let mut http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                // More wait until the daemon has said how many it allows.
                http2.initial_max_send_streams(1);
                let (connection, driver) = http2.handshake(TokioIo::new(stream)).await.ok()?;
                let driver = tokio::spawn(driver);
                let mut requests = JoinSet::new();
                for _ in 0..STARTS_OF_ADDRESS {
                    let (mut connection, body) = (connection.clone(), body.clone());
                    let url = format!("https://{}/v1/logins", target.address);
                    let request = Request::post(url)
                        .header("content-type", "application/json")
                        .body(Full::new(body))
                        .expect("a request of known parts");
                    let started = started.clone();
                    requests.spawn(async move {
                        let answer = connection.send_request(request).await.ok()?;
                        let is_started = answer.status() == 200;
                        answer.into_body().collect().await.ok()?;
                        started.fetch_add(usize::from(is_started), Ordering::Relaxed);
                        Some(())
                    });
                }
                while requests.join_next().await.is_some() {}
                drop(connection);
                driver.abort();
                Some(())
            });
        }
        while clients.join_next().await.is_some() {}
    });
    started.load(Ordering::Relaxed)
}

fn starts_take_no_memory_and_no_disk(addresses: usize) {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    // As many at once as later on.
    let warm = (addresses / 10).max(2 * AT_ONCE);
    assert_eq!(start_logins(&daemon, 0..warm), warm * STARTS_OF_ADDRESS);
    let (memory, disk) = (resident(daemon.process()), bytes_below(&daemon.data_dir()));

    let begun = Instant::now();
    let started = start_logins(&daemon, warm..addresses);
    let (later, took) = (resident(daemon.process()), begun.elapsed());

    println!(
        "{started} starts from {} addresses in {took:.0?}: memory {memory} then {later} MiB; processor: daemon {} s, client {} s",
        addresses - warm,
        processor(daemon.process()),
        processor(std::process::id()),
    );
    assert_eq!(started, (addresses - warm) * STARTS_OF_ADDRESS, "an honest start was refused");
    assert_eq!(bytes_below(&daemon.data_dir()), disk, "something was written");
    assert!(later <= memory + 32, "memory grew from {memory} to {later} MiB");
}

#[test]
fn login_starts_from_many_addresses_take_no_memory_and_no_disk() {
    starts_take_no_memory_and_no_disk(130);
}

#[test]
#[ignore = "10⁶ requests: minutes"]
fn a_million_login_starts_take_no_memory_and_no_disk() {
    starts_take_no_memory_and_no_disk(1_000_000_usize.div_ceil(STARTS_OF_ADDRESS) * 10 / 9);
}

/// What honest users saw.
#[derive(Default)]
struct Seen {
    validations: Vec<Duration>,
    failed_validations: usize,
    logins: usize,
    failed_logins: usize,
}

impl Seen {
    /// The time that 99 of 100 validations took no longer than.
    fn p99(&mut self) -> Duration {
        self.validations.sort_unstable();
        self.validations.get(self.validations.len() * 99 / 100).copied().unwrap_or(Duration::MAX)
    }
}

/// Validates tokens and signs in until `stop`.
fn be_honest(daemon: &Daemon, provider: &Provider, stop: &AtomicBool) -> Seen {
    let token = login::over_http(daemon, provider);
    std::thread::scope(|scope| {
        let validating = scope.spawn(|| {
            let (api, mut seen) = (daemon.api(), Seen::default());
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let request = api.request("GET", "/v1/session").bearer_auth(&token);
                match infra_harness::api::Answered::try_of(request) {
                    Ok(answered) if answered.status == 200 => seen.validations.push(begun.elapsed()),
                    _ => seen.failed_validations += 1,
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            seen
        });
        let signing_in = scope.spawn(|| {
            let (mut logins, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                let outcome = catch_unwind(AssertUnwindSafe(|| login::over_http(daemon, provider)));
                logins += 1;
                failed += usize::from(outcome.is_err());
                std::thread::sleep(Duration::from_millis(200));
            }
            (logins, failed)
        });
        let mut seen = validating.join().expect("it ends");
        (seen.logins, seen.failed_logins) = signing_in.join().expect("it ends");
        seen
    })
}

/// Keeps `slow` connections that never come to an end, and shakes hands `a_second` times, until `stop`; how many
/// handshakes came about.
async fn flood(daemon: &Daemon, slow: usize, a_second: usize, stop: Arc<AtomicBool>) -> usize {
    let target = Target::of(daemon, "http/1.1");
    let mut connections = JoinSet::new();
    for number in 0..slow {
        let (target, stop) = (target.clone(), stop.clone());
        connections.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                hold(&target, number).await;
                // Who was cut off comes again, and not at once.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let shaken = Arc::new(AtomicUsize::new(0));
    let mut turns = tokio::time::interval(Duration::from_millis(10));
    let (mut handshakes, mut number) = (JoinSet::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        turns.tick().await;
        while handshakes.try_join_next().is_some() {}
        for _ in 0..a_second / 100 {
            if handshakes.len() >= 1000 {
                break;
            }
            let (target, shaken) = (target.clone(), shaken.clone());
            number += 1;
            handshakes.spawn(async move {
                if target.shake_hands(address(18, number % 5_000)).await.is_some() {
                    shaken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    handshakes.shutdown().await;
    connections.shutdown().await;
    shaken.load(Ordering::Relaxed)
}

/// One slow connection, until it is closed: silent, in the middle of a ClientHello, or of a request's head.
async fn hold(target: &Target, number: usize) {
    let from = address(17, number / 60);
    let mut bytes = [0; 16];
    if number % 3 == 2 {
        let Some(mut stream) = target.shake_hands(from).await else { return };
        let _ = stream.write_all(b"GET /v1/server HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
        let _ = tokio::time::timeout(BOUND, stream.read(&mut bytes)).await;
        return;
    }
    let Some(mut stream) = target.connect(from).await else { return };
    if number % 3 == 1 {
        let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc").await;
    }
    let _ = tokio::time::timeout(BOUND, stream.read(&mut bytes)).await;
}

fn honest_users_go_on(slow: usize, a_second: usize, time: Duration) -> (Seen, u64, Duration) {
    allow_files();
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        // All honest users of this test share an address, and are the same.
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        "limits: {loginStartsPerMinute: 10000}\n".clone_into(&mut configuration.more);
    });
    let stop = Arc::new(AtomicBool::new(false));
    let (mut most, mut shaken) = (0, 0);
    let mut seen = std::thread::scope(|scope| {
        let honest = scope.spawn(|| be_honest(&daemon, &provider, &stop));
        let flooding = scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let shaken = runtime.block_on(flood(&daemon, slow, a_second, stop.clone()));
            runtime.shutdown_background();
            shaken
        });
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::thread::sleep(Duration::from_millis(200));
            most = most.max(resident(daemon.process()));
        }
        stop.store(true, Ordering::Relaxed);
        shaken = flooding.join().expect("it ends");
        honest.join().expect("it ends")
    });
    let over = Instant::now();
    let recovered = infra_harness::wait::until(BOUND, || {
        let begun = Instant::now();
        let is_well = catch_unwind(AssertUnwindSafe(|| login::over_http(&daemon, &provider))).is_ok();
        (is_well && begun.elapsed() < Duration::from_secs(1)).then(|| over.elapsed())
    });
    let recovered = recovered.expect("it never recovers");
    println!(
        "{slow} slow connections and {} handshakes a second for {time:?}: validations {} (p99 {:?}, failed {}), logins {} \
         (failed {}), at most {most} MiB, recovered after {recovered:?}; processor: daemon {} s, client and provider {} s",
        shaken / usize::try_from(time.as_secs()).expect("seconds"),
        seen.validations.len(),
        seen.p99(),
        seen.failed_validations,
        seen.logins,
        seen.failed_logins,
        processor(daemon.process()),
        processor(std::process::id()),
    );
    (seen, most, recovered)
}

fn allow_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

#[test]
fn honest_users_go_on_under_a_flood_of_connections() {
    let (seen, most, _) = honest_users_go_on(300, 100, Duration::from_secs(3));
    assert!(
        !seen.validations.is_empty() && seen.failed_validations == 0,
        "{} failed",
        seen.failed_validations
    );
    assert!(seen.logins > 0 && seen.failed_logins == 0, "{} of {} failed", seen.failed_logins, seen.logins);
    assert!(most <= 256, "{most} MiB");
}

#[test]
#[ignore = "a minute, and all of the machine"]
fn honest_users_go_on_under_5000_slow_connections_and_1000_handshakes_a_second() {
    let (mut seen, most, recovered) = honest_users_go_on(5_000, 1_000, Duration::from_mins(1));
    let (p99, validations) = (seen.p99(), seen.validations.len());
    assert!(p99 <= Duration::from_millis(100), "{p99:?}");
    assert!(seen.failed_validations * 100 <= validations, "{} of {validations}", seen.failed_validations);
    assert!(seen.failed_logins * 100 <= seen.logins, "{} of {}", seen.failed_logins, seen.logins);
    assert!(most <= 256, "{most} MiB");
    assert!(recovered <= Duration::from_secs(5), "{recovered:?}");
}

/// More than any load without credentials may take: of the design's figures.
const MOST_MEMORY: u64 = 160;

/// What a daemon may keep resident of that, a minute later.
const KEPT: u64 = 16;

/// A limit on the memory of one process, where this machine has cgroups that can be written.
struct Confined(std::path::PathBuf);

impl Confined {
    /// The kernel's own memory for sockets counts in as well: it is let have half as much again.
    fn new(process: u32) -> Option<Self> {
        let group = Path::new("/sys/fs/cgroup/memory").join(format!("infrad-{process}"));
        std::fs::create_dir(&group).ok()?;
        let this = Self(group);
        let limit = (MOST_MEMORY * 3 / 2 * 1024 * 1024).to_string();
        std::fs::write(this.0.join("memory.limit_in_bytes"), limit).ok()?;
        std::fs::write(this.0.join("cgroup.procs"), process.to_string()).ok()?;
        Some(this)
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // It fails while the process is still there.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// The most memory that a process had resident since the last call, in MiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its memory");
    let peak = line.split_ascii_whitespace().nth(1).expect("a size").parse::<u64>().expect("a number");
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("its own peak is forgotten");
    peak / 1024
}

/// What one connection of an attack does, once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// A ClientHello that never ends.
    Hello,
    /// As many requests at a time as there may be, with large heads and bodies that never end.
    Bodies,
    /// A header block of many small fields that never ends.
    Block,
    /// Requests with more small fields than there may be, and bodies that never end.
    Fields,
    /// The same with as many as there may be.
    AllowedFields,
    /// A frame that never ends, after a table of HPACK was filled.
    Frame,
    /// A table of HPACK with small entries, each in a buffer of its own.
    Table,
    /// Requests whose answers may not be sent: the window is a byte.
    Window,
    /// Requests whose answers nobody reads.
    Unread,
    /// The same over HTTP/1.1, one behind the other.
    Pipeline,
    /// A head of HTTP/1.1 that never ends.
    Head,
    /// A body of HTTP/1.1 that never ends.
    Body,
}

impl Attack {
    const ALL: [Self; 12] = [
        Self::Hello,
        Self::Bodies,
        Self::Block,
        Self::Fields,
        Self::AllowedFields,
        Self::Frame,
        Self::Table,
        Self::Window,
        Self::Unread,
        Self::Pipeline,
        Self::Head,
        Self::Body,
    ];

    fn protocol(self) -> &'static str {
        if matches!(self, Self::Pipeline | Self::Head | Self::Body) { "http/1.1" } else { "h2" }
    }

    /// Opens a connection, sends what fills memory, and holds it until it is closed or dropped.
    async fn run(self, target: &Target, from: Ipv4Addr) -> Option<()> {
        if self == Self::Hello {
            let mut stream = target.connect(from).await?;
            let hello = [&b"\x16\x03\x01\x40\x00\x01\x00\xff\xfc\x03\x03"[..], &[7; 16_373]].concat();
            let again = [&b"\x16\x03\x01\x40\x00"[..], &[7; 16_384]].concat();
            for part in [hello, again.clone(), again] {
                attacks::send(&mut stream, &part).await.then_some(())?;
            }
            return held(stream).await;
        }
        let mut stream = target.shake_hands(from).await?;
        let small: Vec<u8> = (0..400).flat_map(|_| attacks::field(0, "a", "b")).collect();
        let post = attacks::request("POST", "/v1/logins/finish");
        let json = attacks::field(0, "content-type", "application/json");
        let large = attacks::field(0, "x-large", &"x".repeat(12_000));
        let block = |fields: &[&[u8]]| fields.concat();
        match self {
            Self::Hello => {}
            Self::Bodies => return bodies(stream).await,
            Self::Fields | Self::AllowedFields => {
                let few = small.get(..60 * 5).expect("400 fields");
                let small = if self == Self::Fields { &small[..] } else { few };
                attacks::send(&mut stream, &attacks::preface(65_535)).await.then_some(())?;
                for stream_id in (1..200).step_by(2) {
                    let head = attacks::frame(1, 4, stream_id, &block(&[&post, &json, small]));
                    let body = attacks::frame(0, 0, stream_id, &[b' '; 600]);
                    attacks::send(&mut stream, &block(&[&head, &body])).await.then_some(())?;
                }
            }
            Self::Block => {
                let (head, more) = (attacks::frame(1, 0, 1, &post), attacks::frame(9, 0, 1, &small));
                attacks::send(&mut stream, &block(&[&attacks::preface(65_535), &head, &more]))
                    .await
                    .then_some(())?;
            }
            Self::Frame => {
                let table: Vec<u8> = (0..30)
                    .flat_map(|number| attacks::field(0x40, &format!("x-{number}"), &"y".repeat(90)))
                    .collect();
                let head = attacks::frame(1, 5, 1, &block(&[&attacks::request("GET", "/healthz"), &table]));
                let part = attacks::frame(1, 4, 3, &block(&[&post, &large]));
                let part = part.get(..part.len() - 1).expect("a frame");
                attacks::send(&mut stream, &block(&[&attacks::preface(65_535), &head, part]))
                    .await
                    .then_some(())?;
            }
            Self::Table => {
                attacks::send(&mut stream, &attacks::preface(65_535)).await.then_some(())?;
                for stream_id in (1..250).step_by(2) {
                    let fields = [attacks::request("GET", "/healthz"), attacks::field(0x40, "x", "y")];
                    let head = attacks::frame(1, 5, stream_id, &fields.concat());
                    // Of a kind that nobody knows: it is skipped (RFC 9113 §5.5).
                    let skipped = attacks::frame(0x20, 0, 0, &[0; 16_384]);
                    attacks::send(&mut stream, &block(&[&head, &skipped])).await.then_some(())?;
                }
            }
            Self::Window | Self::Unread => {
                let window = if self == Self::Window { 1 } else { 0x7fff_ffff };
                attacks::send(&mut stream, &attacks::preface(window)).await.then_some(())?;
                for stream_id in (1..2000).step_by(2) {
                    let head =
                        attacks::frame(1, 5, stream_id, &block(&[&attacks::request("GET", "/v1/server")]));
                    attacks::send(&mut stream, &head).await.then_some(())?;
                }
            }
            Self::Pipeline => {
                for _ in 0..900 {
                    let get = b"GET /v1/server HTTP/1.1\r\nHost: a\r\n\r\n";
                    attacks::send(&mut stream, get).await.then_some(())?;
                }
            }
            Self::Head => {
                let head = format!("GET /v1/server HTTP/1.1\r\nHost: a\r\nX-Large: {}", "x".repeat(15_000));
                attacks::send(&mut stream, head.as_bytes()).await.then_some(())?;
            }
            Self::Body => {
                let head = "POST /v1/logins/finish HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
                            Content-Length: 65536\r\n\r\n";
                let body = " ".repeat(65_535);
                attacks::send(&mut stream, format!("{head}{body}").as_bytes()).await.then_some(())?;
            }
        }
        // What is answered is not read.
        std::future::pending().await
    }
}

/// Until the other end closes it.
async fn held(mut stream: impl tokio::io::AsyncRead + Unpin) -> Option<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.ok()? > 0 {}
    Some(())
}

/// Requests with 12 kB of head and all of a body but its last byte, as many as the server allows.
async fn bodies(stream: TlsStream<TcpStream>) -> Option<()> {
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (connection, driver) = handshake.await.ok()?;
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let mut connection = connection.clone();
        let body = unfinished_body(65_535);
        let request = Request::post("https://127.0.0.1/v1/logins/finish")
            .header("content-type", "application/json")
            .header("x-large", "x".repeat(12_000))
            .body(body)
            .expect("a request of known parts");
        requests.spawn(async move { connection.send_request(request).await.is_ok() });
    }
    let _ = driver.await;
    Some(())
}

/// A body of so many bytes that does not end.
fn unfinished_body(
    bytes: usize,
) -> impl hyper::body::Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin
{
    struct Unfinished(usize);
    impl hyper::body::Body for Unfinished {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            mut self: std::pin::Pin<&mut Self>,
            _context: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            const PART: &[u8] = &[b' '; 1024];
            let length = self.0.min(PART.len());
            if length == 0 {
                return std::task::Poll::Pending;
            }
            self.0 -= length;
            let part = Bytes::from_static(PART.get(..length).expect("no longer than it"));
            std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(part))))
        }
    }
    Unfinished(bytes)
}

/// Attacks from so many addresses with 64 connections each for a while, again and again where they are cut off, while an
/// honest user goes on; the most memory that the daemon had, and what the honest user saw.
fn attacked(attack: Attack, addresses: usize, time: Duration) -> (u64, Seen) {
    allow_files();
    let provider = Provider::start();
    // Removed after the daemon's end.
    let confined = std::cell::OnceCell::new();
    let daemon = Daemon::start_with(&provider, |configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        "limits: {loginStartsPerMinute: 10000}\n".clone_into(&mut configuration.more);
    });
    login::over_http(&daemon, &provider);
    let before = resident(daemon.process());
    peak(daemon.process());
    let _ = confined.set(Confined::new(daemon.process()));
    let (stop, target) = (Arc::new(AtomicBool::new(false)), Target::of(&daemon, attack.protocol()));
    let seen = std::thread::scope(|scope| {
        let honest = scope.spawn(|| be_honest(&daemon, &provider, &stop));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connections = JoinSet::new();
            for number in 0..addresses * 64 {
                let (target, stop) = (target.clone(), stop.clone());
                connections.spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        attack.run(&target, address(19, number / 64)).await;
                        tokio::time::sleep(Duration::from_millis(200)).await;
                    }
                });
            }
            tokio::time::sleep(time).await;
        });
        stop.store(true, Ordering::Relaxed);
        let seen = honest.join().expect("it ends");
        runtime.shutdown_background();
        seen
    });
    let most = peak(daemon.process());
    let over = Instant::now();
    let is_given_back = infra_harness::wait::until(Duration::from_mins(1), || {
        (resident(daemon.process()) <= before + KEPT).then_some(())
    });
    let (afterwards, took) = (resident(daemon.process()), over.elapsed());
    println!(
        "{attack:?} from {addresses} addresses: memory {before}, then at most {most}, then {afterwards} MiB after {took:.1?}; validations {} (failed {}), logins {} (failed {})",
        seen.validations.len(),
        seen.failed_validations,
        seen.logins,
        seen.failed_logins,
    );
    login::over_http(&daemon, &provider);
    assert!(
        is_given_back.is_some(),
        "{attack:?}: {afterwards} MiB resident a minute later, {before} MiB before"
    );
    (most, seen)
}

#[test]
fn header_blocks_of_many_addresses_stay_within_the_memory_budget() {
    let (most, seen) = attacked(Attack::Block, 16, Duration::from_secs(4));
    assert!(most <= MOST_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
fn repeated_fields_of_one_address_stay_within_the_memory_budget() {
    let (most, seen) = attacked(Attack::Fields, 1, Duration::from_secs(4));
    assert!(most <= MOST_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
fn unfinished_bodies_of_one_address_stay_within_the_memory_budget() {
    let (most, seen) = attacked(Attack::Bodies, 1, Duration::from_secs(4));
    assert!(most <= MOST_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
#[ignore = "4,096 connections for each kind of attack: minutes"]
fn attacks_of_many_addresses_stay_within_the_memory_budget() {
    let over: Vec<String> = Attack::ALL
        .into_iter()
        .flat_map(|attack| [1, 64].map(|addresses| (attack, addresses)))
        .filter_map(|(attack, addresses)| {
            let (most, _) = attacked(attack, addresses, Duration::from_secs(6));
            (most > MOST_MEMORY).then(|| format!("{attack:?} from {addresses} addresses: {most} MiB"))
        })
        .collect();
    assert!(over.is_empty(), "{over:?}");
}

/// A connection of HTTP, to send requests on.
enum Kept {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Kept {
    async fn open(target: &Target, from: Ipv4Addr, is_http2: bool) -> Option<Self> {
        let stream = TokioIo::new(target.shake_hands(from).await?);
        if is_http2 {
            let (sender, driver) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.ok()?;
            tokio::spawn(driver);
            return Some(Self::Http2(sender));
        }
        let (sender, driver) = hyper::client::conn::http1::handshake(stream).await.ok()?;
        tokio::spawn(driver);
        Some(Self::Http1(sender))
    }

    /// Whether a token is said to be valid.
    async fn validate(&mut self, token: &str) -> bool {
        let request = |url: &str| {
            let request = Request::get(url).header("host", "127.0.0.1");
            let request = request.header("authorization", format!("Bearer {token}"));
            request.body(Full::new(Bytes::new())).expect("a request of known parts")
        };
        let answer = match self {
            Self::Http1(sender) => sender.send_request(request("/v1/session")).await,
            Self::Http2(sender) => sender.send_request(request("https://127.0.0.1/v1/session")).await,
        };
        let Ok(answer) = answer else { return false };
        let is_valid = answer.status() == 200;
        answer.into_body().collect().await.is_ok() && is_valid
    }
}

#[test]
fn idle_connections_of_services_fit_into_the_memory_budget() {
    const CONNECTIONS: usize = 2_000;
    allow_files();
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        "limits: {idleTime: 600s}\n".clone_into(&mut configuration.more);
    });
    let token = login::over_http(&daemon, &provider);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut kept = Vec::new();
        for (protocol, is_http2) in [("http/1.1", false), ("h2", true)] {
            let (target, before) = (Target::of(&daemon, protocol), resident(daemon.process()));
            for number in 0..CONNECTIONS / 2 {
                let from = address(if is_http2 { 20 } else { 21 }, number / 50);
                let mut connection = Kept::open(&target, from, is_http2).await.expect("a connection");
                assert!(connection.validate(&token).await, "{protocol}: connection {number}");
                kept.push(connection);
            }
            let resident = resident(daemon.process());
            println!("{} idle connections of {protocol}: {before}, then {resident} MiB", CONNECTIONS / 2);
        }
        for (number, connection) in kept.iter_mut().enumerate() {
            assert!(connection.validate(&token).await, "connection {number} was closed");
        }
    });
}
