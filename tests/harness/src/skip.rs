//! Reports skipped checks, so that a check never passes silently.

/// Reports that the rest of a test is skipped, with the reason: this machine or the user of the test does not
/// allow it.
#[expect(clippy::print_stderr, reason = "a check that did not run must be seen")]
pub fn report(reason: &str) {
    eprintln!("skipped: {reason}");
}
