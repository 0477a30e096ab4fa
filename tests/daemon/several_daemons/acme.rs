//! Certificates from an ACME server for two daemons behind a load balancer.

use std::sync::Arc;

use infra_harness::daemon::Daemon;
use infra_harness::handshake::{Presented, tls_handshake};
use infra_harness::view::View;
use infra_harness::wait;
use infra_peers::haproxy::HAProxy;
use infra_peers::pebble::{Endpoint, Options, Pebble};
use infra_peers::postgresql::PostgreSQL;
use infra_peers::public_daemon::{NAME, settings};

use super::group::{Access, DATABASE, Group};
use super::key_rotation::AFTER_KILL;

/// Waits until every daemon serves the same certificate of Pebble's, another one than `before`.
#[track_caller]
fn wait_for_certificate(group: &Group, pebble: &Pebble, before: Option<&Presented>) -> Presented {
    let root = pebble.root();
    let shown = |daemon: &Daemon| {
        let shown = tls_handshake(daemon.port(), NAME, &["http/1.1"]).ok()?;
        shown.verify(&root, NAME).is_ok().then_some(shown)
    };
    let served = wait::until(AFTER_KILL, || {
        let mut served = group.daemons.iter().map(shown).collect::<Option<Vec<_>>>()?;
        let first = served.swap_remove(0);
        let is_new = before.is_none_or(|before| before.leaf() != first.leaf());
        (is_new && served.iter().all(|other| other.leaf() == first.leaf())).then_some(first)
    });
    assert!(served.is_some(), "they serve no such certificate\n{}\n{}", group.logs(), pebble.log());
    served.expect("asserted")
}

/// Orders at this daemon. Tries again while the other one has the job.
#[track_caller]
fn renew(daemon: &Daemon) {
    let mut last = None;
    let renewed = wait::until(AFTER_KILL, || {
        let ran = daemon.infrad(["certificate", "renew"]).wait();
        let is_done = ran.code == Some(0);
        assert!(is_done || ran.stderr.contains("try again"), "{ran}\n{}", daemon.log());
        last = Some(ran);
        is_done.then_some(())
    });
    assert!(renewed.is_some(), "{}", last.expect("it ran"));
}

#[test]
fn certificate_ordered_by_one_member_is_served_by_all() {
    let (Some(server), Some(view)) = (PostgreSQL::start(), View::new()) else { return };
    server.create_database(DATABASE);
    let ports = HAProxy::reserve();
    // The CA connects to the load balancer, as users do.
    let port = ports.all()[0];
    let Some(pebble) = Pebble::start(port, Options::default()) else { return };
    let acme = settings(&pebble.directory_url(), &pebble.authority_file(), port, "");
    let mut group = Group::prepare(2, &Access::to(&server), |_, configuration| {
        configuration.public_urls.insert(0, format!("https://{NAME}:{port}"));
        configuration.more.push_str(&acme);
    });
    let members: Vec<u16> = group.daemons.iter().map(Daemon::port).collect();
    let Some(mut balancer) = HAProxy::start(ports, &members) else { return };
    view.resolve(&[(NAME, "127.0.0.1")]);
    pebble.names().set(NAME, "127.0.0.1");
    let view = Arc::new(view);
    for daemon in &mut group.daemons {
        daemon.set_view(&view);
        daemon.start_again();
    }
    let mut before = wait_for_certificate(&group, &pebble, None);
    assert_eq!(pebble.requests(Endpoint::NewOrder), 1, "{}", group.logs());
    assert_eq!(pebble.requests(Endpoint::NewAccount), 1, "{}", group.logs());
    let through = tls_handshake(balancer.port(), NAME, &["http/1.1"]).expect("through the balancer");
    assert_eq!(through.leaf(), before.leaf());

    // The CA, and the check before an order, reach only the daemon that does not order.
    for (ordering, answering) in [(0, 1), (1, 0)] {
        balancer.route_to(&[members[answering]]);
        renew(&group.daemons[ordering]);
        before = wait_for_certificate(&group, &pebble, Some(&before));
    }
    assert_eq!(pebble.requests(Endpoint::NewOrder), 3, "{}", group.logs());
    assert_eq!(pebble.requests(Endpoint::NewAccount), 1, "{}", group.logs());
    // What one stored, the other one finds at its start.
    balancer.route_to(&members);
    for daemon in &mut group.daemons {
        daemon.restart();
    }
    let after = wait_for_certificate(&group, &pebble, None);
    assert_eq!(after.leaf(), before.leaf());
    assert_eq!(pebble.requests(Endpoint::NewOrder), 3, "{}", group.logs());
}
