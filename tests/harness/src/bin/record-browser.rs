//! A `BROWSER` for tests: records the URL that it opens, and follows it if the test requests that.

#![expect(clippy::disallowed_methods, reason = "a program of the tests, told by its environment what to do")]
#![expect(clippy::print_stderr, reason = "a program of the tests")]

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use infra_harness::browser::{Browser, follow};

fn main() -> ExitCode {
    let (Some(url), Ok(log)) = (std::env::args().nth(1), std::env::var("INFRA_TEST_BROWSER_LOG")) else {
        eprintln!("usage: INFRA_TEST_BROWSER_LOG=FILE record-browser URL");
        return ExitCode::from(2);
    };
    // A single write, so that concurrent browsers do not mix their lines.
    let recorded = std::fs::File::options()
        .append(true)
        .create(true)
        .open(&log)
        .and_then(|mut file| file.write_all(format!("{url}\n").as_bytes()));
    if let Err(error) = recorded {
        eprintln!("{log}: {error}");
        return ExitCode::FAILURE;
    }

    let Ok(user) = std::env::var("INFRA_TEST_BROWSER_USER") else { return ExitCode::SUCCESS };
    let authorities = std::env::var_os("INFRA_TEST_BROWSER_AUTHORITIES").unwrap_or_default();
    let browser = Browser {
        user,
        cancel: std::env::var_os("INFRA_TEST_BROWSER_CANCEL").is_some(),
        authorities: std::env::split_paths(&authorities).filter(|path| *path != PathBuf::new()).collect(),
    };
    match follow(&url, &browser) {
        Ok(followed) => {
            // Stores the page next to the log, for tests that read it.
            let _ = std::fs::write(format!("{log}.page"), followed.page);
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = std::fs::write(format!("{log}.error"), error.to_string());
            ExitCode::FAILURE
        }
    }
}
