//! Starts daemons, providers and programs for the tests.
//!
//! Everything listens on loopback, every wait is bounded, and dropping a value stops what it started. If the
//! harness itself fails, it panics with everything that it observed.

#![expect(clippy::missing_panics_doc, reason = "a harness panics whenever a test has to fail")]
#![expect(clippy::panic, reason = "a harness panics whenever a test has to fail")]
#![expect(clippy::indexing_slicing, reason = "a harness panics whenever a test has to fail")]
#![expect(
    clippy::return_self_not_must_use,
    reason = "assertions are chained, and the last of a chain is dropped"
)]
#![expect(clippy::disallowed_methods, reason = "a test reads its environment and dials with its own clients")]

pub mod acme_authority;
pub mod api;
pub mod attacks;
pub mod authority;
pub mod browser;
pub mod canaries;
pub mod clock;
pub mod copy;
pub mod daemon;
pub mod disk;
pub mod documents;
pub mod floods;
pub mod fuzz;
pub mod generated;
pub mod handshake;
pub mod hostile_daemon;
pub mod hostile_text;
pub mod https;
pub mod impostor;
pub mod kubernetes;
pub mod load;
pub mod login;
pub mod namespace;
pub mod network;
pub mod odd_file_system;
pub mod oracle;
pub mod peers;
pub mod pending_login;
pub mod planted;
pub mod ports;
pub mod program;
pub mod provider;
pub mod proxy;
pub mod recording;
pub mod relay;
pub mod services;
pub mod skip;
pub mod tmux;
pub mod unreliable;
pub mod view;
pub mod wait;
pub mod workloads;

/// A script that does what `infrad as-service` needs of `systemd-run`, on a host without systemd. A booted Debian has
/// the real one.
pub const SYSTEMD_RUN: &str = include_str!("systemd-run");
