//! The Rust example of `docs/validate-a-token.md`, built with the crates of this workspace.

use std::error::Error;

#[expect(clippy::disallowed_methods, reason = "a program of its own, which reads its environment and clock")]
#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a program of its own, with a log")]
mod hello {
    include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/rust/src/main.rs"));

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        main()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The workspace builds reqwest without a cryptography provider. The example's own Cargo.toml includes one.
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.install_default().map_err(|_| "a provider is installed already")?;
    hello::run()
}
