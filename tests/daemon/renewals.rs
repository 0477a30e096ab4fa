//! Certificate renewals under load: open connections stay open, and no request fails.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::handshake::tls_handshake;
use infra_harness::load::{Load, Tally, Target};
use infra_harness::provider::Provider;
use infra_harness::wait;
use infra_peers::pebble::{Endpoint, Options};
use infra_peers::public_daemon::{NAME, PublicDaemon, retry_now, status};

const OPEN: usize = 1_000;
const BUSY: usize = 4;
const SWAPS: usize = 100;
/// Memory for that many unauthenticated connections.
const ROOM: &str = "limits: {maxMemoryBytes: 268435456}\n";
/// Longer than opening all connections or any renewal takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn three_renewals_fail_no_request() {
    // The order has the last third of it.
    renew_three_times(Duration::from_secs(45));
}

#[test]
#[ignore = "takes more than four minutes: `tests/soak/run`"]
fn three_renewals_of_two_minute_certificate_fail_no_request() {
    renew_three_times(Duration::from_mins(2));
}

fn renew_three_times(certificates_live: Duration) {
    let Some(public) = start(Options { certificates_live, ..Options::default() }) else {
        return;
    };
    // The renewals take minutes: one busy client leaves room for other tests.
    let load = Load::start(&public.target(), OPEN, 1);
    wait_for_open(&load);
    let before = load.tally().certificates.len();
    // The daemon renews after two thirds of the lifetime.
    let limit = certificates_live * 3 + LIMIT;
    let is_renewed = || (load.tally().certificates.len() >= before + 3).then_some(());
    let renewed = wait::until(limit, is_renewed);
    let tally = load.stop();
    assert!(renewed.is_some(), "{} certificates\n{}", tally.certificates.len(), public.daemon.log());
    assert_undisturbed(&tally);
    assert_eq!(public.status().get("failures"), Some(&0.into()));
}

#[test]
fn ten_renewals_on_demand_fail_no_request() {
    renew_on_demand(10);
}

#[test]
#[ignore = "takes some minutes: `tests/soak/run`"]
fn hundred_renewals_on_demand_fail_no_request() {
    renew_on_demand(100);
}

fn renew_on_demand(renewals: usize) {
    let Some(public) = start(Options::default()) else { return };
    let load = Load::start(&public.target(), OPEN, BUSY);
    wait_for_open(&load);
    let mut before = public.presented_for(NAME);
    for _ in 0..renewals {
        public.daemon.infrad(["certificate", "renew"]).wait().expect(0);
        let now = public.presented_for(NAME);
        assert_ne!(now.leaf(), before.leaf());
        before = now;
    }
    assert_undisturbed(&load.stop());
    assert_eq!(public.pebble.requests(Endpoint::NewOrder), renewals + 1);
}

#[test]
fn hundred_certificate_file_changes_fail_no_request() {
    let (provider, authority) = (Provider::start(), Authority::new());
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let folder = daemon.directory().join("tls");
    std::fs::create_dir(&folder).expect("a directory");
    // Both files are behind one symlink, which is replaced, as in a Kubernetes secret mount.
    let replace = |number: usize| {
        let (leaf, version) = (authority.issue(), folder.join(format!("..{number}")));
        std::fs::create_dir(&version).expect("a directory");
        std::fs::write(version.join("tls.crt"), &leaf.chain_pem).expect("a chain");
        infra_harness::services::write_private(&version.join("tls.key"), &leaf.key_pem);
        let fresh = folder.join("..fresh");
        symlink(&version, &fresh).expect("a link");
        std::fs::rename(&fresh, folder.join("..data")).expect("the link is replaced");
        leaf
    };
    replace(0);
    let data = folder.join("..data");
    let files = format!(
        "tls: {{files: {{certificate: {}, privateKey: {}}}}}\n{ROOM}",
        data.join("tls.crt").display(),
        data.join("tls.key").display()
    );
    daemon.change(|configuration| configuration.more = files);
    daemon.start_again();

    let roots = std::fs::read_to_string(authority.file()).expect("its file");
    let load = Load::start(&Target { port: daemon.port(), name: "127.0.0.1".to_owned(), roots }, OPEN, BUSY);
    wait_for_open(&load);
    for number in 1..=SWAPS {
        let leaf = replace(number);
        // The daemon notices the last replacement automatically.
        if number < SWAPS {
            retry_now(&daemon);
        }
        let begin = Instant::now();
        let is_shown = || {
            let shown = tls_handshake(daemon.port(), "127.0.0.1", &["http/1.1"]).expect("a handshake");
            (shown.chain.first() == leaf.chain.first()).then_some(())
        };
        let shown = wait::until(LIMIT, is_shown);
        assert!(shown.is_some(), "swap {number} was not seen in {:?}\n{}", begin.elapsed(), daemon.log());
    }
    assert_undisturbed(&load.stop());
    assert_eq!(status(&daemon, "files")["failures"], 0);
}

fn start(options: Options) -> Option<PublicDaemon> {
    let mut public = PublicDaemon::prepare(options, "")?;
    public.daemon.change(|configuration| configuration.more.push_str(ROOM));
    public.set_address("127.0.0.1");
    public.daemon.start_again();
    public.wait_for_certificate();
    Some(public)
}

/// Waits until all connections are open.
#[track_caller]
fn wait_for_open(load: &Load) {
    let opened = wait::until(LIMIT, || (load.tally().open == OPEN).then_some(()));
    let tally = load.tally();
    assert!(opened.is_some(), "{} connections are open: {:?}", tally.open, tally.failures.first());
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "`--nocapture` shows what was measured")]
fn assert_undisturbed(tally: &Tally) {
    let Tally { open, requests, handshakes, failures, certificates } = tally;
    println!(
        "{open} open connections, {handshakes} handshakes, {requests} requests, {} certificates",
        certificates.len()
    );
    assert_eq!(failures.len(), 0, "{:?}", failures.get(..failures.len().min(5)));
    // The control: every connection sent a request, and another at the end.
    assert!(*requests >= 2 * OPEN, "{requests}");
}
