//! Clients that sign in, validate and sign out, whatever happens to daemons and database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use infra_harness::api::Api;
use infra_harness::oracle::{Oracle, Stopped};
use infra_harness::wait;
use infra_shared::random;

/// The pause after a failure, so that clients leave some of the machine to those that they wait for.
const PAUSE: Duration = Duration::from_millis(20);
const BOUND: Duration = Duration::from_mins(2);

/// Stops the clients, also if the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `during` while this many clients use the daemons. Returns its result once all clients have stopped.
pub(super) fn under_load<T>(oracle: &Oracle<'_>, clients: usize, during: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| be_a_client(oracle, &stop));
        }
        let _stop = Stop(&stop);
        during()
    })
}

/// Waits until this many more sign-ins are acknowledged.
#[track_caller]
pub(super) fn wait_for_sign_ins(oracle: &Oracle<'_>, more: usize) {
    let enough = oracle.acknowledged() + more;
    let are_enough = || (oracle.acknowledged() >= enough).then_some(());
    assert!(wait::until(BOUND, are_enough).is_some(), "no client signs in");
}

fn be_a_client(oracle: &Oracle<'_>, stop: &AtomicBool) {
    let mut api = oracle.client();
    while !stop.load(Ordering::Relaxed) {
        let done = once(oracle, &mut api);
        if done.is_err() {
            std::thread::sleep(PAUSE);
        }
        // Another connection, which may be to another daemon.
        if done.is_err() || is_one_of(4) {
            api = oracle.client();
        }
    }
}

fn once(oracle: &Oracle<'_>, api: &mut Api) -> Result<(), Stopped> {
    let session = oracle.log_in(api)?;
    oracle.validate(api, session)?;
    if is_one_of(4) {
        *api = oracle.client();
        oracle.validate(api, session)?;
    }
    match random::bytes::<1>() {
        [0..96] => oracle.log_out(api, session),
        [96..160] => oracle.log_out_by_proof(api, session),
        [_] => Ok(()),
    }
}

fn is_one_of(count: u8) -> bool {
    let [number] = random::bytes::<1>();
    number % count == 0
}

/// A random time up to `most`.
pub(super) fn up_to(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).expect("a short time");
    Duration::from_millis(u64::from_le_bytes(random::bytes()) % most)
}
