//! Measures what users and operators wait for, and prints Markdown.
//!
//! Each figure has a baseline in the same run: a bare program or server. Absolute figures depend on the
//! machine; ratios depend on it less. Nothing here asserts a time.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures with the clock, and is told by its environment what"
)]

mod daemon;
mod load;
mod logins;
mod others;
mod population;
mod processes;
mod statistics;
mod timing;
mod validation;

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::provider::Provider;
use infra_harness::services::{self, CREDENTIAL};
use infra_shared::token_text::SessionToken;

use daemon::Populated;
use load::{BenchRequest, Wire};
use timing::Tokens;
use validation::{BareServer, compare};

/// Tokens in the hot set, out of all that are stored.
const HOT_TOKENS: usize = 1000;
/// Live sessions, and as many revoked ones, in the timing measurement of refusals.
const TIMED_SESSIONS: usize = 128;
/// Streams of a connection in the row with many.
const STREAMS: usize = 100;

fn main() {
    let sizes: Vec<usize> = match std::env::var("INFRA_BENCH_SESSIONS") {
        Ok(text) => {
            let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty());
            numbers.map(|number| number.parse().expect("a number of sessions")).collect()
        }
        Err(_) => vec![1000, 100_000],
    };
    let is_wanted = |what: &str| std::env::var("INFRA_BENCH_ONLY").map_or(true, |only| only == what);
    if is_wanted("programs") {
        println!("### Programs\n");
        daemon::print_sizes();
        println!("\n### Whole processes\n");
        processes::measure();
    }
    if is_wanted("validation") && !sizes.is_empty() {
        validate(&sizes);
    }
    if is_wanted("others") {
        compare_others();
    }
    if is_wanted("logins") {
        println!("\n### Logins\n");
        logins::measure();
    }
    // Takes minutes, so it runs only on request.
    if std::env::var("INFRA_BENCH_ONLY").is_ok_and(|only| only == "timing") {
        measure_refusals();
    }
}

fn sessions(tokens: &[SessionToken]) -> Arc<Vec<BenchRequest>> {
    Arc::new(tokens.iter().map(|token| BenchRequest::get("/v1/session", token.expose())).collect())
}

fn hot(tokens: &[SessionToken]) -> &[SessionToken] {
    tokens.get(..HOT_TOKENS).unwrap_or(tokens)
}

fn introspections<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Arc<Vec<BenchRequest>> {
    let authorization = format!("Basic {}", BASE64_STANDARD.encode(format!("wiki:{CREDENTIAL}")));
    let send = |token| BenchRequest::form("/v1/introspect", authorization.clone(), format!("token={token}"));
    Arc::new(tokens.into_iter().map(send).collect())
}

fn reviews(tokens: &[String]) -> Arc<Vec<BenchRequest>> {
    let send = |token: &String| {
        let body = services::token_review(token, &[]).to_string();
        let authorization = format!("Bearer {CREDENTIAL}");
        BenchRequest::post("/v1/kubernetes/prod/tokenreview", authorization, "application/json", body)
    };
    Arc::new(tokens.iter().map(send).collect())
}

fn verifications(tokens: &[SessionToken]) -> Arc<Vec<BenchRequest>> {
    Arc::new(tokens.iter().map(|token| BenchRequest::get("/v1/verify/wiki", token.expose())).collect())
}

/// Compares the daemon with the bare server, with few and with many sessions.
fn validate(sizes: &[usize]) {
    println!("\n### Validation of tokens over keep-alive HTTPS, beside a bare server with a fixed answer\n");
    validation::print_head("sessions stored, tokens, route", "the bare server's");
    let mut starts = Vec::new();
    for size in sizes {
        let provider = Provider::start();
        eprintln!("storing {size} sessions");
        let mut populated = Populated::new(&provider, *size);
        starts.push((*size, populated.measure_start()));
        let idle = populated.start();
        let hot = hot(populated.tokens());
        let row = |what: &str, requests: Arc<Vec<BenchRequest>>, wire| {
            let daemon = populated.target(requests.clone());
            let bare = BareServer::start(&daemon);
            compare(&format!("{size}, {what}"), (&daemon, &bare.target(requests)), wire);
        };
        row("1,000 hot, `GET /v1/session`", sessions(hot), Wire::Http1);
        if *size > hot.len() {
            row("all of them, `GET /v1/session`", sessions(populated.tokens()), Wire::Http1);
        }
        if Some(size) == sizes.first() {
            let (one, many) = (Wire::Http2 { streams: 1 }, Wire::Http2 { streams: STREAMS });
            row("1,000 hot, `GET /v1/session`, HTTP/2", sessions(hot), one);
            row("1,000 hot, `GET /v1/session`, HTTP/2, 100 streams a connection", sessions(hot), many);
            row("1,000 hot, `GET /v1/session`, a full handshake each", sessions(hot), Wire::Handshakes);
            row("1,000 hot, `/v1/verify`", verifications(hot), Wire::Http1);
            let tokens = hot.iter().map(SessionToken::expose);
            row("1,000 hot, `POST /v1/introspect`", introspections(tokens), Wire::Http1);
            let tokens = audience_tokens(&populated, hot, "wiki");
            let introspections = introspections(tokens.iter().map(String::as_str));
            row("1,000 audience tokens, `POST /v1/introspect`", introspections, Wire::Http1);
            let tokens = audience_tokens(&populated, hot, "prod");
            row("1,000 audience tokens, TokenReview", reviews(&tokens), Wire::Http1);
        }
        let loaded = populated.resident();
        starts.last_mut().expect("one was pushed").1.resident = Some((idle, loaded));
    }
    println!("\n### The daemon\n");
    daemon::print_starts(&starts);
}

fn audience_tokens(populated: &Populated, sessions: &[SessionToken], service: &str) -> Vec<String> {
    let api = populated.daemon().api();
    sessions.iter().map(|session| services::token(&api, session.expose(), service)).collect()
}

/// Compares the daemon's introspection with that of other servers.
fn compare_others() {
    println!("\n### Introspection by the daemon, beside that of others\n");
    validation::print_head("beside", "its");
    let provider = Provider::start();
    let mut populated = Populated::new(&provider, HOT_TOKENS);
    populated.start();
    let tokens = populated.tokens().iter().map(SessionToken::expose);
    let daemon = populated.target(introspections(tokens));
    for other in others::start() {
        compare(&other.name, (&daemon, &other.target), Wire::Http1);
    }
}

fn measure_refusals() {
    println!("\n### Whether the time of a refusal says why\n");
    let provider = Provider::start();
    let mut populated = Populated::new(&provider, HOT_TOKENS);
    populated.start();
    let api = populated.daemon().api();
    let (live, ended) = populated.tokens().split_at(TIMED_SESSIONS);
    let ended = ended.get(..TIMED_SESSIONS).unwrap_or_default();
    let tokens = |sessions, service| audience_tokens(&populated, sessions, service);
    let [wiki, prod] =
        ["wiki", "prod"].map(|service| Tokens::new(&tokens(live, service), tokens(ended, service)));
    for session in ended {
        assert_eq!(api.delete_as("/v1/session", session.expose()).status, 204);
    }
    timing::measure(&api, &wiki, &prod);
}
