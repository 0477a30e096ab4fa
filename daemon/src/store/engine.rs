//! Which database holds the store.

use super::sqlite::Sqlite;

#[derive(Clone)]
pub(super) enum Engine {
    /// An encrypted file in the data directory.
    Sqlite(Sqlite),
}

/// Calls an operation of the engine in use.
macro_rules! on_engine {
    ($store:expr, $engine:ident => $call:expr) => {
        match &$store.engine {
            $crate::store::engine::Engine::Sqlite($engine) => $call,
        }
    };
}

pub(super) use on_engine;
