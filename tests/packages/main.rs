//! The packages, the chart and the tarball as users install them.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program of tests, whose helpers say what went wrong"
)]

mod booted;
mod debian;
mod fresh_root;
#[path = "../helm/helm.rs"]
mod helm;
mod install_script;
mod making;
mod page;
mod release;
mod tarball;
mod unit;
