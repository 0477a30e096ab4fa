//! Shell completion: commands, options, and known servers and providers.
//!
//! It only reads files. It uses no network, lock or prompt, and never changes, repairs or reports anything.

mod known;

pub use known::{audiences, providers, servers, sessions};
