//! A check that cannot be made on this machine says so, and never passes in silence.

/// Tells that the rest of a test was skipped, and why: this machine, or who runs the test, does not allow it.
#[expect(clippy::print_stderr, reason = "a check that did not run must be seen")]
pub fn told(reason: &str) {
    eprintln!("skipped: {reason}");
}
