//! Real servers and programs that the tests install: identity providers, secret backends, Kubernetes, reverse proxies,
//! browsers and scanners.
//!
//! If a peer cannot be installed, its tests say so and end, or fail under `CI=true`.

#![expect(clippy::missing_panics_doc, reason = "a harness panics whenever a test has to fail")]
#![expect(clippy::panic, reason = "a harness panics whenever a test has to fail")]
#![expect(clippy::indexing_slicing, reason = "a harness panics whenever a test has to fail")]
#![expect(clippy::disallowed_methods, reason = "a test reads its environment and dials with its own clients")]

pub mod aws_metadata;
pub mod canaille;
pub mod certified_provider;
pub mod haproxy;
pub mod kubernetes_api;
pub mod moto;
pub mod openbao;
pub mod patroni;
pub mod pebble;
pub mod pgbouncer;
pub mod postgresql;
pub mod public_daemon;
pub mod real_browser;
pub mod reverse_proxies;
pub mod root_keys;
pub mod scanners;
pub mod secret_service;
pub mod website;
