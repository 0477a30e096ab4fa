//! Login starts from many client addresses.

#![expect(clippy::print_stdout, reason = "what was measured is worth reading")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use infra_harness::daemon::Daemon;
use infra_harness::floods::{Target, address, bytes_below, processor, resident};
use infra_harness::login;
use infra_harness::provider::Provider;
use tokio::task::JoinSet;

/// Bytes that a probe of the store may add, one a minute. Login starts add none.
const PROBE: u64 = 64 * 1024;
/// The daemon's limit per address and minute.
const STARTS_PER_ADDRESS: usize = 60;
const CONCURRENCY: usize = 32;

/// Starts logins from these addresses, as many from each as its limit allows. Returns how many received a ticket.
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
            if clients.len() >= CONCURRENCY {
                let _ = clients.join_next().await;
            }
            let (target, body, started) = (target.clone(), body.clone(), started.clone());
            clients.spawn(async move {
                let stream = target.shake_hands(address(16, number)).await?;
                let mut http2 = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
                // The other requests wait until the daemon announces its stream limit.
                http2.initial_max_send_streams(1);
                let (connection, driver) = http2.handshake(TokioIo::new(stream)).await.ok()?;
                let driver = tokio::spawn(driver);
                let mut requests = JoinSet::new();
                for _ in 0..STARTS_PER_ADDRESS {
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

fn assert_starts_use_no_memory_and_no_disk(addresses: usize) {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    login::over_http(&daemon, &provider);
    // Warms up with as many concurrent clients as later.
    let warm = (addresses / 10).max(2 * CONCURRENCY);
    assert_eq!(start_logins(&daemon, 0..warm), warm * STARTS_PER_ADDRESS);
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
    assert_eq!(started, (addresses - warm) * STARTS_PER_ADDRESS, "an honest start was refused");
    let (written, probes) = (bytes_below(&daemon.data_dir()).saturating_sub(disk), 4 + took.as_secs() / 60);
    assert!(written <= probes * PROBE, "{written} bytes were written");
    assert!(later <= memory + 32, "memory grew from {memory} to {later} MiB");
}

#[test]
fn login_starts_use_no_memory_and_no_disk() {
    assert_starts_use_no_memory_and_no_disk(130);
}

#[test]
#[ignore = "10⁶ requests: minutes"]
fn million_login_starts_use_no_memory_and_no_disk() {
    assert_starts_use_no_memory_and_no_disk(1_000_000_usize.div_ceil(STARTS_PER_ADDRESS) * 10 / 9);
}
