//! Statements with typed parameters.
//!
//! They are not prepared on the server: a statement is one round trip, leaves nothing behind on the connection, and works
//! through a pooler in transaction mode.

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use crate::store::{StoreError, time};

/// A parameter and its type, so that the server does not have to describe the statement first.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A Rust type that is always sent as the same type of PostgreSQL.
pub(super) trait Typed: ToSql + Sync {
    const TYPE: Type;
}

macro_rules! typed {
    ($($rust:ty => $postgres:ident),* $(,)?) => {
        $(impl Typed for $rust { const TYPE: Type = Type::$postgres; })*
    };
}

typed! {
    bool => BOOL,
    i32 => INT4,
    i64 => INT8,
    &str => TEXT,
    String => TEXT,
    &[u8] => BYTEA,
    Vec<u8> => BYTEA,
    Vec<&str> => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<i64> => INT8_ARRAY,
    Vec<Vec<u8>> => BYTEA_ARRAY,
    Vec<Option<Vec<u8>>> => BYTEA_ARRAY,
    Vec<Option<&str>> => TEXT_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    Vec<i32> => INT4_ARRAY,
    Vec<bool> => BOOL_ARRAY,
}

impl<T: Typed> Typed for Option<T> {
    const TYPE: Type = T::TYPE;
}

pub(super) fn parameter<T: Typed>(value: &T) -> Parameter<'_> {
    (value, T::TYPE)
}

/// The parameters of a statement, in order.
macro_rules! parameters {
    ($($value:expr),* $(,)?) => {
        &[$($crate::store::postgres::statements::parameter(&$value)),*]
    };
}

pub(super) use parameters;

/// Reads a count, which PostgreSQL has as a signed number.
pub(super) fn count(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::UnexpectedRow("a count"))
}

pub(super) fn moment(milliseconds: Option<i64>) -> Result<Option<Timestamp>, StoreError> {
    milliseconds.map(time::from_database).transpose()
}

/// Returns the rows with valid contents, and logs the others: an attacker with write access must not stop a daemon.
pub(super) fn well_formed<T>(
    rows: impl Iterator<Item = Result<T, StoreError>>,
) -> Result<Vec<T>, StoreError> {
    let mut read = Vec::new();
    for row in rows {
        match row {
            Ok(row) => read.push(row),
            Err(StoreError::UnexpectedRow(what)) => {
                tracing::error!(what, "left out a row that infrad did not write like this");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}
