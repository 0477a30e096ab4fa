//! Measures what users and operators wait for, each beside a bare program or server in the same run, and prints Markdown.
//! A figure that depends on the machine says little; a ratio says more. Nothing here asserts a time.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]
#![expect(
    clippy::disallowed_methods,
    reason = "it measures with the clock, and is told by its environment what"
)]

mod daemon;
mod population;
mod processes;
mod statistics;
mod validation;

use std::time::Duration;

use infra_harness::provider::Provider;
use infra_shared::token_text::SessionToken;

use daemon::Populated;

/// Tokens that are used again and again, among all that are stored.
const HOT: usize = 1000;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(3);

fn main() {
    let sizes: Vec<usize> = match std::env::var("INFRA_BENCH_SESSIONS") {
        Ok(text) => {
            let numbers = text.split(',').map(str::trim).filter(|number| !number.is_empty());
            numbers.map(|number| number.parse().expect("a number of sessions")).collect()
        }
        Err(_) => vec![1000, 100_000],
    };
    println!("### Programs\n");
    daemon::print_sizes();
    println!("\n### Whole processes\n");
    processes::measure();
    if sizes.is_empty() {
        return;
    }
    println!("\n### Validation of tokens: `GET /v1/session` over keep-alive HTTPS\n");
    println!(
        "| sessions stored | tokens asked about | requests/s | of the bare server's | p50 | p99 | bare p99 |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|");
    let mut starts = Vec::new();
    for size in sizes {
        let provider = Provider::start();
        eprintln!("storing {size} sessions");
        let mut populated = Populated::new(&provider, size);
        starts.push((size, populated.measure_start()));
        let idle = populated.start();
        let bare = validation::BareServer::start(populated.answer_length());
        let hot: Vec<&SessionToken> = populated.tokens().iter().take(HOT).collect();
        let all: Vec<&SessionToken> = populated.tokens().iter().collect();
        for (name, tokens) in [("1,000 hot ones", hot), ("all of them", all)] {
            validation::compare(&populated, &bare, name, &tokens, ROUNDS, ROUND);
        }
        let loaded = populated.resident();
        starts.last_mut().expect("one was pushed").1.resident = Some((idle, loaded));
    }
    println!("\n### The daemon\n");
    daemon::print_starts(&starts);
}
