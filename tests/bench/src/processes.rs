//! Measures whole processes, from start to exit code, against a program that does nothing.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use infra_harness::daemon::Daemon;
use infra_harness::login;
use infra_harness::program::{User, built};
use infra_harness::provider::Provider;

use crate::statistics::{milliseconds, percentile};

const RUNS: usize = 200;

pub(crate) fn measure() {
    let (provider, alice) = (Provider::start(), User::new());
    let daemon = Daemon::start(&provider);
    login::succeed(&alice, &daemon, &provider);
    println!(
        "| command | median | p99 | a program that does nothing | more than that |\n|---|---:|---:|---:|---:|"
    );
    // The arguments, and the shell to complete for, if any.
    let calls: [(&[&str], &str); 6] = [
        (&["token"], ""),
        (&["status", "--offline"], ""),
        (&["status"], ""),
        // Uses fish's completion protocol, because other shells also pass the cursor position in the
        // environment.
        (&["--", "infra", "use", ""], "fish"),
        (&["--", "infra", "login", "--"], "fish"),
        (&["completions", "bash"], ""),
    ];
    for (arguments, shell) in calls {
        let (mut times, mut nothing) = (Vec::with_capacity(RUNS), Vec::with_capacity(RUNS));
        // Alternate between both programs, so that other load on the machine affects both.
        for _ in 0..RUNS {
            nothing.push(time(Command::new(built("nothing"))));
            let mut command = Command::new(built("infra"));
            command
                .args(arguments)
                .env_clear()
                .env("HOME", alice.home())
                .env("INFRA_HOME", alice.infra_home())
                .env("INFRA_COMPLETE", shell);
            times.push(time(command));
        }
        let (median, base) = (percentile(&mut times, 0.5), percentile(&mut nothing, 0.5));
        let call = match (shell, arguments) {
            ("", arguments) => format!("`infra {}`", arguments.join(" ")),
            (_, arguments) => format!("TAB after `{}`", arguments.get(1..).unwrap_or_default().join(" ")),
        };
        println!(
            "| {call} | {} | {} | {} | {} |",
            milliseconds(median),
            milliseconds(percentile(&mut times, 0.99)),
            milliseconds(base),
            milliseconds(median.saturating_sub(base))
        );
    }
}

fn time(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("the program starts");
    let time = start.elapsed();
    assert!(status.success(), "{command:?} failed");
    time
}
