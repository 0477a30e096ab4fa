//! A `BROWSER` for `tests/demo`: follows the redirects of a login and clicks Alice's button on the sign-in
//! page.

#![expect(clippy::print_stderr, reason = "a program of the tests")]

use std::process::ExitCode;

use infra_harness::browser::{Browser, follow};

fn main() -> ExitCode {
    let Some(url) = std::env::args().nth(1) else {
        eprintln!("usage: follow-login URL");
        return ExitCode::from(2);
    };
    match follow(&url, &Browser { user: "alice".to_owned(), ..Browser::default() }) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("follow-login: {error}");
            ExitCode::FAILURE
        }
    }
}
