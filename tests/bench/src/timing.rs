//! Checks if response time reveals why a token is invalid: unknown ID, wrong secret or revoked session.
//!
//! Prints Welch's t for each pair of these, over all samples and over the fastest 90 % (the rest is noise of
//! the machine). A value beyond 4.5 means a measurable difference.

use std::time::{Duration, Instant};

use infra_harness::api::{Answered, Api};
use infra_harness::services;
use infra_shared::random;
use infra_shared::token_text::AudienceToken;

/// Samples per kind and route.
const SAMPLES: usize = 100_000;
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1], [2, 1, 0], [1, 0, 2]];
const KINDS: [&str; 3] = ["unknown id", "wrong secret", "ended session"];

/// A route, and the function that sends a token to it.
type SendFn<'a> = (&'a str, Box<dyn Fn(&str) -> Answered + 'a>);

/// Invalid tokens of one service, an equal number of each kind in [`KINDS`].
///
/// They are prepared in advance, because work that the client does just before a request would distort the
/// timing.
pub(crate) struct Tokens([Vec<String>; 3]);

impl Tokens {
    /// Takes tokens of live sessions and tokens of revoked sessions.
    pub(crate) fn new(live: &[String], ended: Vec<String>) -> Self {
        let unknown = live.iter().map(|_| AudienceToken::mint().expose().to_owned()).collect();
        Self([unknown, live.iter().map(|token| wrong_secret(token)).collect(), ended])
    }
}

/// Measures refusals of invalid tokens of the services `wiki` and `prod`.
pub(crate) fn measure(api: &Api, wiki: &Tokens, prod: &Tokens) {
    let ways: [SendFn<'_>; 3] = [
        ("POST /v1/introspect", Box::new(|token| services::introspect(api, "wiki", token))),
        ("/v1/verify/wiki", Box::new(|token| services::verify(api, "wiki", token))),
        ("tokenreview", Box::new(|token| services::review(api, "prod", token, &[]))),
    ];
    println!("| route | between | t of all | t of the quicker 90 % | medians |\n|---|---|---:|---:|---:|");
    for (route, send) in &ways {
        let Tokens(tokens) = if *route == "tokenreview" { prod } else { wiki };
        let mut times: [Vec<Duration>; 3] = Default::default();
        for sample in 0..SAMPLES {
            // Vary the order, so that no kind always follows the same other kind.
            for kind in ORDERS.get(sample % ORDERS.len()).copied().unwrap_or_default() {
                let (Some(tokens), Some(times)) = (tokens.get(kind), times.get_mut(kind)) else { continue };
                let Some(token) = tokens.get(sample / ORDERS.len() % tokens.len()) else { continue };
                let begun = Instant::now();
                let answered = send(token);
                times.push(begun.elapsed());
                assert!(!answered.body.contains("\"active\":true"), "{answered:?}");
            }
        }
        for times in &mut times {
            times.sort_unstable();
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            let pair = (times.get(one), times.get(other), KINDS.get(one), KINDS.get(other));
            let (Some(a), Some(b), Some(name), Some(other_name)) = pair else { continue };
            let quick = |times: &[Duration]| times.get(..times.len() * 9 / 10).unwrap_or_default().to_vec();
            let median = |times: &[Duration]| {
                times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
            };
            println!(
                "| {route} | {name}, {other_name} | {:.1} | {:.1} | {:.1} µs, {:.1} µs |",
                welch(a, b),
                welch(&quick(a), &quick(b)),
                median(a),
                median(b),
            );
        }
    }
}

/// Returns a token with the same ID and a different secret.
fn wrong_secret(token: &str) -> String {
    let (id, _) = token.split_once('.').unwrap_or_default();
    format!("{id}.{}", random::alphanumeric(24))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of samples")]
fn welch(a: &[Duration], b: &[Duration]) -> f64 {
    let moments = |times: &[Duration]| {
        let count = times.len() as f64;
        let mean = times.iter().map(Duration::as_secs_f64).sum::<f64>() / count;
        let variance =
            times.iter().map(|time| (time.as_secs_f64() - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, variance / count)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn welch_t_detects_only_real_differences() {
        let times =
            |base: u64| (0..1000).map(|step| Duration::from_nanos(base + step % 100)).collect::<Vec<_>>();
        assert!(welch(&times(1000), &times(1000)).abs() < 0.1);
        assert!(welch(&times(1000), &times(1010)).abs() > 4.5);
    }
}
