//! A daemon that a network failure cuts off from the database, while its clients still reach it.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::time::{Duration, Instant};

use infra_harness::api::Api;
use infra_harness::network::Network;
use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::LIMIT;
use super::group::{Access, DATABASE, Group, expect_soon, rounds, validated};

/// What a daemon learned counts for this long.
const TRUSTED: Duration = Duration::from_secs(1);

/// What the daemon did while it was cut off.
#[derive(Debug)]
struct Figures {
    refused: usize,
    /// From the cut to the start of the last validation that succeeded.
    last_valid: Option<Duration>,
    slowest_answer: Duration,
}

/// Cuts a daemon off until `is_over`, and signs its user out at another one meanwhile. `None` if a peer is missing.
fn cut_off(is_over: impl Fn(&Figures, Duration) -> bool) -> Option<Figures> {
    let network = Network::with_two_links()?;
    let (to_database, to_clients) = (network.link_to(0), network.link_to(1));
    let mut server = PostgreSQL::start()?;
    server.listen_on(&to_database.outside.to_string());
    server.create_database(DATABASE);
    let access = Access::to(&server);
    let inner = access.clone().through([format!("{}:{}", to_database.outside, server.port())]);
    let mut group = Group::prepare(2, &access, |number, configuration| {
        if number == 1 {
            configuration.more = configuration.more.replace(&access.to_yaml(), &inner.to_yaml());
            configuration.listen = configuration.listen.replace("127.0.0.1", &to_clients.inside.to_string());
            configuration.public_urls.push(format!("https://{}", configuration.listen));
        }
    });
    group.daemons[0].start_again();
    assert!(group.daemons[1].start_under(network.enter()), "{}", group.logs());
    let origin = format!("https://{}:{}", to_clients.inside, group.daemons[1].port());
    let inside = Api::pinned(&origin.parse().expect("an origin"), group.daemons[0].pin());
    let outside = group.daemons[0].api();

    let token = group.sign_in(0);
    expect_soon(&inside, &token, 200, &group.daemons[1]);
    network.cut(to_database);
    let cut = Instant::now();
    let mut figures = Figures { refused: 0, last_valid: None, slowest_answer: Duration::ZERO };
    let mut is_signed_out = false;
    while !is_over(&figures, cut.elapsed()) {
        assert!(cut.elapsed() < LIMIT + Duration::from_mins(11), "{figures:?}\n{}", group.logs());
        let asked = Instant::now();
        let status = validated(&inside, &token);
        figures.slowest_answer = figures.slowest_answer.max(asked.elapsed());
        if status == Some(200) {
            assert_eq!(figures.refused, 0, "it trusts its memory again\n{}", group.daemons[1].log());
            figures.last_valid = Some(asked.duration_since(cut));
        } else {
            assert_eq!(status, Some(503), "{}", group.daemons[1].log());
            figures.refused += 1;
        }
        if !is_signed_out && figures.refused > 0 {
            assert_eq!(outside.delete_as("/v1/session", &token).status, 204);
            is_signed_out = true;
        }
    }
    network.join(to_database);
    let refused = wait::until(LIMIT, || (validated(&inside, &token) == Some(401)).then_some(()));
    assert!(refused.is_some(), "it never learns of the sign-out\n{}", group.daemons[1].log());
    println!("cut off for {:?}: {figures:?}", cut.elapsed());
    Some(figures)
}

#[test]
fn member_cut_off_from_database_accepts_nothing() {
    cut_off(|figures, _| figures.refused == 3);
}

#[test]
#[ignore = "takes ten minutes"]
fn member_cut_off_for_ten_minutes_accepts_nothing() {
    let time = Duration::from_secs(u64::try_from(rounds(600)).expect("few seconds"));
    let Some(figures) = cut_off(|_, passed| passed > time) else { return };
    assert!(figures.last_valid.is_none_or(|last| last < TRUSTED), "{figures:?}");
}
