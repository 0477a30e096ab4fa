//! A database that answers late, and strangers who present tokens that do not exist.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use infra_harness::floods::{Target, address, allow_files};
use infra_harness::{login, wait};
use infra_peers::postgresql::PostgreSQL;
use infra_shared::token_text::SessionToken;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::group::{Access, DATABASE, Group};
use super::{LIMIT, session};

/// How late the answers of the database arrive.
const DELAY: Duration = Duration::from_millis(200);
/// The daemon allows 64 connections from one address.
const ADDRESSES: usize = 8;
const CONNECTIONS: usize = 60;

/// Accepts connections on a port of its own, and forwards them to `port` with late answers. Runs as long as the runtime.
fn delay(runtime: &Runtime, port: u16) -> u16 {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
    let own = listener.local_addr().expect("an address").port();
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await.ok()?;
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(forward_late(from_server, to_client));
                tokio::io::copy(&mut from_client, &mut to_server).await.ok()
            });
        }
    });
    own
}

async fn forward_late(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Option<()> {
    let (mut late, mut bytes) = (VecDeque::<(Instant, Vec<u8>)>::new(), [0; 16 * 1024]);
    loop {
        let due = late.front().map(|(due, _)| *due);
        tokio::select! {
            read = from.read(&mut bytes) => {
                let read = read.ok().filter(|read| *read > 0)?;
                late.push_back((Instant::now() + DELAY, bytes.get(..read)?.to_vec()));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let (_, part) = late.pop_front()?;
                to.write_all(&part).await.ok()?;
            }
        }
    }
}

/// Presents tokens that do not exist, one after the other on one connection. Counts the answers.
async fn present_unknown_tokens(target: Target, from: Ipv4Addr, answers: Arc<AtomicUsize>) {
    while let Some(mut stream) = target.shake_hands(from).await {
        loop {
            let token = SessionToken::mint();
            let request = format!(
                "GET /v1/session HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
                target.address,
                token.expose()
            );
            if stream.write_all(request.as_bytes()).await.is_err() || !skip_response(&mut stream).await {
                break;
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Whether there was a whole response.
async fn skip_response(stream: &mut (impl AsyncRead + Unpin)) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or_default()];
    stream.read_exact(&mut body).await.is_ok()
}

/// `store::postgres::tests::look_ups` has a short form.
#[test]
#[ignore = "a flood and promises about time: needs the machine for itself"]
fn honest_user_is_served_during_flood_of_unknown_tokens() {
    let Some(server) = PostgreSQL::start() else { return };
    allow_files();
    server.create_database(DATABASE);
    let runtime = Runtime::new().expect("a runtime");
    let port = delay(&runtime, server.port());
    let near = Access::to(&server);
    let far = near.clone().through([format!("localhost:{port}")]);
    // The schema is made without delay.
    let mut group = Group::prepare(1, &near, |_, _| {});
    group.daemons[0].change(|configuration| {
        configuration.more = configuration.more.replace(&near.to_yaml(), &far.to_yaml());
    });
    group.daemons[0].start_again();
    let daemon = &group.daemons[0];
    let target = Target::of(daemon, "http/1.1");
    let answers = Arc::new(AtomicUsize::new(0));
    let mut strangers = JoinSet::new();
    for number in 0..ADDRESSES * CONNECTIONS {
        let from = address(19, number % ADDRESSES);
        strangers
            .spawn_on(present_unknown_tokens(target.clone(), from, Arc::clone(&answers)), runtime.handle());
    }
    let is_flooded = || (answers.load(Ordering::Relaxed) > 2 * CONNECTIONS).then_some(());
    assert!(wait::until(LIMIT, is_flooded).is_some(), "{answers:?} answers\n{}", daemon.log());

    for _ in 0..2 {
        let token = login::over_http(daemon, &group.provider);
        assert_eq!(session(daemon, &token).status, 200, "{}", daemon.log());
        assert_eq!(daemon.api().get("/readyz").status, 204, "{}", daemon.log());
        assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204, "{}", daemon.log());
        assert_eq!(session(daemon, &token).status, 401, "{}", daemon.log());
    }
    let log = daemon.log().to_string();
    assert!(!log.contains("cannot learn from the database what changed"), "the poll failed\n{log}");
    runtime.block_on(strangers.shutdown());
    runtime.shutdown_background();
}
