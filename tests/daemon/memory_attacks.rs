//! Attacks without credentials that fill memory, while an honest user keeps working.

#![expect(clippy::print_stdout, reason = "what was measured is worth reading")]

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_harness::attacks;
use infra_harness::daemon::Daemon;
use infra_harness::floods::{Seen, Target, address, allow_files, be_honest, resident};
use infra_harness::login;
use infra_harness::provider::Provider;
use infra_harness::skip;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

/// The design's limit for any unauthenticated load, in MiB.
const MAX_MEMORY: u64 = 160;

/// How much of it a daemon may still hold a minute later, in MiB.
const MAX_RETAINED: u64 = 16;

/// A memory limit for one process, if this machine has writable cgroups.
struct Confined(std::path::PathBuf);

impl Confined {
    /// The kernel's socket memory also counts, so the limit is half as much again.
    fn new(process: u32) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let is_unified = root.join("cgroup.controllers").exists();
        let (root, file) = if is_unified {
            (root.to_owned(), "memory.max")
        } else {
            (root.join("memory"), "memory.limit_in_bytes")
        };
        let confine = || -> std::io::Result<Self> {
            let group = root.join(format!("infrad-{process}"));
            std::fs::create_dir(&group)?;
            let this = Self(group);
            std::fs::write(this.0.join(file), (MAX_MEMORY * 3 / 2 * 1024 * 1024).to_string())?;
            std::fs::write(this.0.join("cgroup.procs"), process.to_string())?;
            Ok(this)
        };
        confine()
            .inspect_err(|error| skip::report(&format!("no memory limit in {}: {error}", root.display())))
            .ok()
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // Fails while the process still exists.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Returns the peak resident memory since the last call, in MiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("its memory");
    let peak = line.split_ascii_whitespace().nth(1).expect("a size").parse::<u64>().expect("a number");
    std::fs::write(format!("/proc/{process}/clear_refs"), "5").expect("its own peak is forgotten");
    peak / 1024
}

/// What each connection of an attack does once it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attack {
    /// A ClientHello that never ends.
    Hello,
    /// A handshake that ends after the ClientHello.
    Handshake,
    /// As many concurrent requests as allowed, with large heads and bodies that never end.
    Bodies,
    /// A header block of many small fields that never ends.
    Block,
    /// Requests with more small fields than allowed, and bodies that never end.
    Fields,
    /// Like `Fields`, but with as many fields as allowed.
    AllowedFields,
    /// A frame that never ends, after an HPACK table was filled.
    Frame,
    /// An HPACK table of small entries, each with its own buffer.
    Table,
    /// Requests whose answers cannot be sent, because the window is one byte.
    Window,
    /// Requests whose answers the client never reads.
    Unread,
    /// Pipelined HTTP/1.1 requests whose answers the client never reads.
    Pipeline,
    /// An HTTP/1.1 head that never ends.
    Head,
    /// An HTTP/1.1 body that never ends.
    Body,
}

impl Attack {
    const ALL: [Self; 13] = [
        Self::Hello,
        Self::Handshake,
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
            return hold(stream).await;
        }
        if self == Self::Handshake {
            let mut stream = target.connect(from).await?;
            let name = ServerName::try_from("127.0.0.1").expect("an address");
            let mut client = ClientConnection::new(target.connector.config().clone(), name).ok()?;
            let mut hello = Vec::new();
            client.write_tls(&mut hello).ok()?;
            attacks::send(&mut stream, &hello).await.then_some(())?;
            return hold(stream).await;
        }
        let mut stream = target.shake_hands(from).await?;
        let small: Vec<u8> = (0..400).flat_map(|_| attacks::field(0, "a", "b")).collect();
        let post = attacks::request("POST", "/v1/logins/finish");
        let json = attacks::field(0, "content-type", "application/json");
        let large = attacks::field(0, "x-large", &"x".repeat(12_000));
        let block = |fields: &[&[u8]]| fields.concat();
        match self {
            Self::Hello | Self::Handshake => {}
            Self::Bodies => return bodies(stream).await,
            Self::Fields | Self::AllowedFields => {
                let few = small.get(..60 * 5).expect("400 fields");
                let small = if self == Self::Fields { &small[..] } else { few };
                attacks::send(&mut stream, &attacks::preface(65_535)).await.then_some(())?;
                // As many streams as the daemon allows. With more, it would close the connection.
                for stream_id in (1..64).step_by(2) {
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
                    // An unknown frame type, which the daemon ignores (RFC 9113 §5.5).
                    let skipped = attacks::frame(0x20, 0, 0, &[0; 16_384]);
                    attacks::send(&mut stream, &block(&[&head, &skipped])).await.then_some(())?;
                }
            }
            Self::Window | Self::Unread => {
                let window = if self == Self::Window { 1 } else { 0x7fff_ffff };
                attacks::send(&mut stream, &attacks::preface(window)).await.then_some(())?;
                for stream_id in (1..64).step_by(2) {
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
        // The client reads no answers.
        std::future::pending().await
    }
}

/// Waits until the peer closes the connection.
async fn hold(mut stream: impl tokio::io::AsyncRead + Unpin) -> Option<()> {
    let mut bytes = [0; 1024];
    while stream.read(&mut bytes).await.ok()? > 0 {}
    Some(())
}

/// Sends as many requests as the server allows, each with 12 kB of head and all but the last byte of its body.
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

/// Returns a body of this many bytes that never ends.
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

/// Attacks from this many addresses with 64 connections each, reconnecting when closed, while an honest user keeps
/// working. Returns the daemon's peak memory and what the honest user saw.
fn run_attack(attack: Attack, addresses: usize, time: Duration) -> (u64, Seen) {
    allow_files();
    let provider = Provider::start();
    // Dropped after the daemon.
    let confined = std::cell::OnceCell::new();
    let daemon = Daemon::start_with(&provider, |configuration| {
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        "limits: {loginStartsPerMinute: 10000}\n".clone_into(&mut configuration.more);
    });
    let token = login::over_http(&daemon, &provider);
    let before = resident(daemon.process());
    peak(daemon.process());
    let _ = confined.set(Confined::new(daemon.process()));
    let (stop, target) = (Arc::new(AtomicBool::new(false)), Target::of(&daemon, attack.protocol()));
    let seen = std::thread::scope(|scope| {
        let honest = scope.spawn(|| be_honest(&daemon, &provider, &token, &stop));
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
    let end = Instant::now();
    let is_released = infra_harness::wait::until(Duration::from_mins(1), || {
        (resident(daemon.process()) <= before + MAX_RETAINED).then_some(())
    });
    let (afterwards, took) = (resident(daemon.process()), end.elapsed());
    println!(
        "{attack:?} from {addresses} addresses: memory {before}, then at most {most}, then {afterwards} MiB after {took:.1?}; validations {} (failed {}), logins {} (failed {})",
        seen.validations.len(),
        seen.failed_validations,
        seen.logins,
        seen.failed_logins,
    );
    login::over_http(&daemon, &provider);
    assert!(
        is_released.is_some(),
        "{attack:?}: {afterwards} MiB resident a minute later, {before} MiB before"
    );
    (most, seen)
}

#[test]
fn stalled_handshakes_lock_out_no_client() {
    let (most, seen) = run_attack(Attack::Handshake, 16, Duration::from_secs(4));
    assert!(most <= MAX_MEMORY, "{most} MiB");
    assert!(
        !seen.validations.is_empty() && seen.failed_validations == 0,
        "{} failed",
        seen.failed_validations
    );
}

#[test]
fn header_blocks_stay_within_memory_budget() {
    let (most, seen) = run_attack(Attack::Block, 16, Duration::from_secs(4));
    assert!(most <= MAX_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
fn repeated_fields_stay_within_memory_budget() {
    let (most, seen) = run_attack(Attack::Fields, 1, Duration::from_secs(4));
    assert!(most <= MAX_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
fn unfinished_bodies_stay_within_memory_budget() {
    let (most, seen) = run_attack(Attack::Bodies, 1, Duration::from_secs(4));
    assert!(most <= MAX_MEMORY, "{most} MiB");
    assert!(!seen.validations.is_empty(), "the honest user saw nothing");
}

#[test]
#[ignore = "4,096 connections for each kind of attack: minutes"]
fn attacks_from_many_addresses_stay_within_memory_budget() {
    let exceeding: Vec<String> = Attack::ALL
        .into_iter()
        .flat_map(|attack| [1, 64].map(|addresses| (attack, addresses)))
        .filter_map(|(attack, addresses)| {
            let (most, _) = run_attack(attack, addresses, Duration::from_secs(6));
            (most > MAX_MEMORY).then(|| format!("{attack:?} from {addresses} addresses: {most} MiB"))
        })
        .collect();
    assert!(exceeding.is_empty(), "{exceeding:?}");
}
