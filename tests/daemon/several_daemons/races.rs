//! What must happen once, or a bounded number of times, although several daemons are asked at the same moment.

#![expect(clippy::print_stdout, reason = "prints figures for manual runs")]

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use infra_harness::api::Api;
use infra_harness::login::Started;
use infra_harness::provider::Endpoint;
use infra_peers::postgresql::PostgreSQL;
use infra_shared::origin::Origin;
use serde_json::Value;

use super::group::{Access, DATABASE, Group, rounds, validated};

const MEMBERS: usize = 3;
const LOGINS: usize = 100;
const MAX_PER_USER: usize = 5;

/// The origin that users type, whichever daemon they reach.
const ORIGIN: &str = "https://infra.example.com";

fn start(sessions: &str) -> Option<(PostgreSQL, Group)> {
    let server = PostgreSQL::start()?;
    server.create_database(DATABASE);
    let group = Group::start(MEMBERS, &Access::to(&server), |_, configuration| {
        configuration.public_urls.push(ORIGIN.to_owned());
        sessions.clone_into(&mut configuration.sessions);
    });
    Some((server, group))
}

/// The body that finishes a login, which was started at this daemon.
fn begin(group: &Group, number: usize) -> Value {
    let daemon = &group.daemons[number % MEMBERS];
    let origin: Origin = ORIGIN.parse().expect("an origin");
    let started = Started::bound_to(daemon, &origin, Some(&daemon.pin()));
    started.finish_body(&started.sign_in(&group.provider))
}

fn finish(api: &Api, body: &Value) -> (u16, String) {
    let answered = api.post("/v1/logins/finish", body);
    (answered.status, answered.body)
}

/// Uses each ticket at all daemons at the same moment.
fn race_tickets(count: usize) {
    let Some((_server, group)) = start("{maxPerUser: 10000}") else { return };
    let clients = group.clients();
    let barrier = Barrier::new(MEMBERS);
    for number in 0..count {
        let body = begin(&group, number);
        let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
            let racers: Vec<_> = clients
                .iter()
                .map(|api| {
                    let (barrier, body) = (&barrier, &body);
                    scope.spawn(move || {
                        barrier.wait();
                        finish(api, body)
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
        });
        let accepted = answers.iter().filter(|(status, _)| *status == 201).count();
        let refused = answers.iter().filter(|(_, body)| body.contains("already completed")).count();
        let is_sound = (accepted, refused) == (1, MEMBERS - 1);
        assert!(is_sound, "ticket {number}: {answers:?}\n{}", group.logs());
    }
    // The provider accepts a code once, so it would hide a ticket that is used twice.
    assert_eq!(group.provider.calls(Endpoint::Token), count);
    println!("{count} tickets raced at {MEMBERS} daemons: each was accepted once");
}

#[test]
fn ticket_raced_at_three_members_is_accepted_once() {
    race_tickets(20);
}

#[test]
#[ignore = "takes an hour"]
fn ten_thousand_raced_tickets_are_each_accepted_once() {
    race_tickets(rounds(10_000));
}

#[test]
fn parallel_logins_never_exceed_limit_of_user() {
    let Some((server, group)) = start(&format!("{{maxPerUser: {MAX_PER_USER}}}")) else { return };
    let bodies: Vec<Value> = (0..LOGINS).map(|number| begin(&group, number)).collect();
    let (clients, stop) = (group.clients(), AtomicBool::new(false));
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let most = "SELECT coalesce(max(live), 0) FROM \
                        (SELECT count(*) AS live FROM sessions WHERE ended_at IS NULL GROUP BY user_key) AS users";
            let mut seen = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                seen.push(server.sql(DATABASE, most).parse::<usize>().expect("a number"));
            }
            seen
        });
        let logins: Vec<_> = bodies
            .iter()
            .enumerate()
            .map(|(number, body)| {
                let api = &clients[(number + 1) % MEMBERS];
                scope.spawn(move || finish(api, body))
            })
            .collect();
        let answers: Vec<(u16, String)> =
            logins.into_iter().map(|login| login.join().expect("an answer")).collect();
        stop.store(true, Ordering::Relaxed);
        let seen = watcher.join().expect("the watcher");
        assert!(seen.iter().all(|most| *most <= MAX_PER_USER), "{seen:?}");
        answers
            .iter()
            .map(|(status, body)| {
                assert_eq!(*status, 201, "{body}\n{}", group.logs());
                let body: Value = serde_json::from_str(body).expect("JSON");
                body["token"].as_str().expect("a token").to_owned()
            })
            .collect()
    });
    let live = tokens.iter().filter(|token| validated(&clients[0], token) == Some(200)).count();
    assert_eq!(live, MAX_PER_USER, "{}", group.logs());
}
