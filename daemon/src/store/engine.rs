//! Which database holds the store.

use std::sync::Arc;

use super::postgres::Postgres;
use super::sqlite::Sqlite;

#[derive(Clone)]
pub(super) enum Engine {
    /// An encrypted file in the data directory.
    Sqlite(Sqlite),
    /// A database that several daemons share.
    Postgres(Arc<Postgres>),
}

/// Calls a function of the engine in use.
macro_rules! on_engine {
    ($store:expr, $engine:ident => $call:expr) => {
        match &$store.engine {
            $crate::store::engine::Engine::Sqlite($engine) => $call,
            $crate::store::engine::Engine::Postgres($engine) => $call,
        }
    };
}

/// Awaits an operation of the engine in use. Boxed where it waits for a network, so that the futures of the callers stay
/// small.
macro_rules! await_engine {
    ($store:expr, $engine:ident => $call:expr) => {
        match &$store.engine {
            $crate::store::engine::Engine::Sqlite($engine) => $call.await,
            $crate::store::engine::Engine::Postgres($engine) => Box::pin($call).await,
        }
    };
}

pub(super) use {await_engine, on_engine};
