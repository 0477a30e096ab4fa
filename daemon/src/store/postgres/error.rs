//! What PostgreSQL reports, in the store's terms and without the values of rows.

use std::error::Error;

use tokio_postgres::error::SqlState;

use crate::store::{DatabaseError, StoreError};

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let cause = describe(&error);
        match error.code() {
            Some(&(SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED)) => {
                Self::Conflict(cause)
            }
            // The limits of a statement, and of its wait for a lock.
            Some(&(SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE)) => Self::Busy,
            Some(state) if is_away(state) => Self::Unavailable { cause },
            Some(state) => DatabaseError::new(cause, *state == SqlState::DISK_FULL).into(),
            None if is_lost(&error) => Self::Unavailable { cause },
            None => DatabaseError::new(cause, false).into(),
        }
    }
}

/// Whether the server is stopping, starting, full, or no primary any more.
fn is_away(state: &SqlState) -> bool {
    const AWAY: [SqlState; 6] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_SESSION_TIMEOUT,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::TOO_MANY_CONNECTIONS,
    ];
    // Class 08: connection exceptions, among them those of a pooler.
    AWAY.contains(state) || state.code().starts_with("08")
}

/// Whether the connection broke. Everything else that is not of the server, such as a value of another type, would be the same
/// on another connection.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    error.is_closed() || error.source().is_some_and(<dyn Error>::is::<std::io::Error>)
}

/// The cause, without `DETAIL`, which may contain the values of a row.
pub(super) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(reported) if has_fixed_words(reported.code()) => {
            let message: String = reported.message().chars().take(LONGEST_MESSAGE).collect();
            format!("{message} (SQLSTATE {})", reported.code().code())
        }
        Some(reported) => format!("SQLSTATE {}", reported.code().code()),
        None => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                let next_text = next.to_string();
                if !text.contains(&next_text) {
                    text = format!("{text}: {next_text}");
                }
                cause = next.source();
            }
            text
        }
    }
}

/// The longest part of a message for the log, in characters.
const LONGEST_MESSAGE: usize = 200;

/// Whether messages of the class name at most roles, databases, tables and columns. Others may quote values, or are the words of
/// whoever can write functions.
fn has_fixed_words(state: &SqlState) -> bool {
    const CLASSES: [&str; 12] = ["08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "XX"];
    CLASSES.iter().any(|class| state.code().starts_with(class))
}
