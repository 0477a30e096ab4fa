//! A flood of connections, while honest users keep working.

#![expect(clippy::print_stdout, reason = "what was measured is worth reading")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use infra_harness::daemon::Daemon;
use infra_harness::floods::{BOUND, Seen, Target, address, allow_files, be_honest, processor, resident};
use infra_harness::login;
use infra_harness::provider::Provider;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

/// Keeps `slow` unfinished connections open and performs `a_second` handshakes per second until `stop`. Returns how
/// many handshakes succeeded.
async fn flood(daemon: &Daemon, slow: usize, a_second: usize, stop: Arc<AtomicBool>) -> usize {
    let target = Target::of(daemon, "http/1.1");
    let mut connections = JoinSet::new();
    for number in 0..slow {
        let (target, stop) = (target.clone(), stop.clone());
        connections.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                hold(&target, number).await;
                // The attacker reconnects after the daemon closed a connection, but not immediately.
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    let succeeded = Arc::new(AtomicUsize::new(0));
    let mut turns = tokio::time::interval(Duration::from_millis(10));
    let (mut handshakes, mut number) = (JoinSet::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        turns.tick().await;
        while handshakes.try_join_next().is_some() {}
        for _ in 0..a_second / 100 {
            if handshakes.len() >= 1000 {
                break;
            }
            let (target, succeeded) = (target.clone(), succeeded.clone());
            number += 1;
            handshakes.spawn(async move {
                if target.shake_hands(address(18, number % 5_000)).await.is_some() {
                    succeeded.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    handshakes.shutdown().await;
    connections.shutdown().await;
    succeeded.load(Ordering::Relaxed)
}

/// Holds one slow connection until it is closed: silent, inside a ClientHello, or inside a request's head.
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

fn measure_flood(slow: usize, a_second: usize, time: Duration) -> (Seen, u64, Duration) {
    allow_files();
    let provider = Provider::start();
    let daemon = Daemon::start_with(&provider, |configuration| {
        // All honest users of this test share one address and one identity.
        "{maxPerUser: 10000}".clone_into(&mut configuration.sessions);
        "limits: {loginStartsPerMinute: 10000}\n".clone_into(&mut configuration.more);
    });
    let token = login::over_http(&daemon, &provider);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut most, mut succeeded) = (0, 0);
    let mut seen = std::thread::scope(|scope| {
        let honest = scope.spawn(|| be_honest(&daemon, &provider, &token, &stop));
        let flooding = scope.spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let succeeded = runtime.block_on(flood(&daemon, slow, a_second, stop.clone()));
            runtime.shutdown_background();
            succeeded
        });
        let start = Instant::now();
        while start.elapsed() < time {
            std::thread::sleep(Duration::from_millis(200));
            most = most.max(resident(daemon.process()));
        }
        stop.store(true, Ordering::Relaxed);
        succeeded = flooding.join().expect("it ends");
        honest.join().expect("it ends")
    });
    let end = Instant::now();
    let recovered = infra_harness::wait::until(BOUND, || {
        let is_well = catch_unwind(AssertUnwindSafe(|| login::over_http(&daemon, &provider))).is_ok();
        is_well.then(|| end.elapsed())
    });
    let recovered = recovered.expect("it never recovers");
    println!(
        "{slow} slow connections and {} handshakes a second for {time:?}: validations {} (p99 {:?}, failed {}), logins {} \
         (failed {}), at most {most} MiB, recovered after {recovered:?}; processor: daemon {} s, client and provider {} s",
        succeeded / usize::try_from(time.as_secs()).expect("seconds"),
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

#[test]
fn honest_users_are_served_during_connection_flood() {
    let (seen, most, _) = measure_flood(300, 100, Duration::from_secs(3));
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
fn honest_users_are_served_during_large_connection_flood() {
    let (mut seen, most, recovered) = measure_flood(5_000, 1_000, Duration::from_mins(1));
    let (p99, validations) = (seen.p99(), seen.validations.len());
    assert!(p99 <= Duration::from_millis(100), "{p99:?}");
    assert!(seen.failed_validations * 100 <= validations, "{} of {validations}", seen.failed_validations);
    assert!(seen.failed_logins * 100 <= seen.logins, "{} of {}", seen.failed_logins, seen.logins);
    assert!(most <= 256, "{most} MiB");
    assert!(recovered <= Duration::from_secs(5), "{recovered:?}");
}
