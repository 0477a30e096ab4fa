//! Measures logins from ticket to token, with a provider that responds immediately.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use infra_harness::daemon::{Daemon, MANY_LOGINS};
use infra_harness::login;
use infra_harness::provider::Provider;

use crate::statistics::{milliseconds, percentile};

const USERS: usize = 8;
const TIME: Duration = Duration::from_secs(10);

pub(crate) fn measure() {
    let provider = Provider::start();
    let daemon =
        Daemon::start_with(&provider, |configuration| MANY_LOGINS.clone_into(&mut configuration.more));
    let count = AtomicUsize::new(0);
    let begun = Instant::now();
    let mut times: Vec<Duration> = std::thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    while begun.elapsed() < TIME {
                        let start = Instant::now();
                        login::over_http(&daemon, &provider);
                        times.push(start.elapsed());
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                    times
                })
            })
            .collect();
        users.into_iter().flat_map(|user| user.join().expect("a user signs in")).collect()
    });
    let count = f64::from(u32::try_from(count.into_inner()).unwrap_or(u32::MAX));
    println!("| users at once | logins/s | p50 | p99 |\n|---:|---:|---:|---:|");
    println!(
        "| {USERS} | {:.0} | {} | {} |",
        count / begun.elapsed().as_secs_f64(),
        milliseconds(percentile(&mut times, 0.5)),
        milliseconds(percentile(&mut times, 0.99)),
    );
}
