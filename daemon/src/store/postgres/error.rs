//! What PostgreSQL reports, in the store's terms and without the values of rows.

use std::error::Error;

use infra_shared::http::{Untrusted, untrusted};
use tokio_postgres::error::SqlState;

use super::limited_stream::Refused;
use crate::store::{DatabaseError, StoreError};

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let cause = describe(&error);
        match error.code() {
            Some(&(SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED)) => {
                Self::Conflict(cause)
            }
            // The limits of a statement, and of its wait for a lock.
            Some(&(SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE)) => Self::TimedOut { cause },
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Self::Forbidden(cause),
            Some(state) if is_away(state) => Self::Unavailable { cause, problem: AccessProblem::of(&error) },
            Some(state) => DatabaseError::new(cause, *state == SqlState::DISK_FULL).into(),
            None if is_lost(&error) => Self::Unavailable { cause, problem: AccessProblem::of(&error) },
            None => DatabaseError::new(cause, false).into(),
        }
    }
}

/// Why this daemon has no connection, as far as the advice differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessProblem {
    Unreachable,
    Standby,
    NoPassword,
    Password,
    WeakPasswordMethod,
    UnknownAuthority,
    WrongName,
    CertificateDates,
    NoDatabase,
    NoEntry,
    Forbidden,
    Other,
}

impl AccessProblem {
    pub(super) fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(&SqlState::INVALID_PASSWORD) => return Self::Password,
            Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => return Self::NoEntry,
            Some(&SqlState::INVALID_CATALOG_NAME) => return Self::NoDatabase,
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => return Self::Forbidden,
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => return Self::Standby,
            Some(state) if is_away(state) => return Self::Unreachable,
            Some(_) => return Self::Other,
            None => {}
        }
        match Refused::in_causes(error) {
            Some(Refused::ClearText | Refused::MD5) => return Self::WeakPasswordMethod,
            Some(_) => return Self::Other,
            None => {}
        }
        match untrusted(error) {
            Some(Untrusted::WrongName) => return Self::WrongName,
            Some(Untrusted::Expired | Untrusted::NotYetValid) => return Self::CertificateDates,
            Some(Untrusted::NoTLS) => return Self::Other,
            Some(_) => return Self::UnknownAuthority,
            None => {}
        }
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        if cause == PASSWORD_MISSING {
            return Self::NoPassword;
        }
        if cause == READ_ONLY {
            return Self::Standby;
        }
        if is_lost(error) || error.to_string() == "timeout waiting for server" {
            return Self::Unreachable;
        }
        Self::Other
    }

    /// What the operator can try.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Unreachable => {
                "start PostgreSQL there, or correct `database.hosts`; a firewall may be between both hosts"
            }
            Self::Standby => "promote one of the standbys, or add the primary to `database.hosts`",
            Self::NoPassword => "set `database.password`, or `clientCertificate` and `clientKey`",
            Self::Password => {
                "store the password of this role where `database.password` points; an administrator of PostgreSQL changes it \
                 with `\\password ROLE` in psql"
            }
            Self::WeakPasswordMethod => {
                "let the server ask with SCRAM: `scram-sha-256` in `pg_hba.conf`, or as `auth_type` of PgBouncer; then set the \
                 password of the role again with `\\password ROLE` in psql"
            }
            Self::UnknownAuthority => {
                "set `database.caFile` to the CA that issued the certificate of the server"
            }
            Self::WrongName => {
                "write a name of the server's certificate in `database.hosts`, or give the server a certificate for this name"
            }
            Self::CertificateDates => {
                "compare the clock of this host with the dates of the server's certificate; if the clock is right, renew the \
                 certificate"
            }
            Self::NoDatabase => {
                "correct `database.name`, or create the database as an administrator of PostgreSQL: `createdb --owner=ROLE NAME`"
            }
            Self::NoEntry => {
                "correct `database.user`, or allow it in `pg_hba.conf` of the server, `hostssl DATABASE ROLE NETWORK \
                 scram-sha-256`, and reload the server"
            }
            Self::Forbidden => {
                "let the role connect, as an administrator of PostgreSQL: `GRANT CONNECT ON DATABASE NAME TO ROLE`"
            }
            Self::Other => "look for the cause in the log of the server, and correct `database`",
        }
    }

    /// Whether waiting may help.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Standby | Self::Other)
    }
}

/// What the client library says if the server requests a password.
const PASSWORD_MISSING: &str = "password missing";
/// What the client library says of a server that accepts no writes.
pub(super) const READ_ONLY: &str = "database does not allow writes";

/// Whether the server is stopping, starting, full, or no longer the primary.
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
    if let Some(reason) = Refused::in_causes(error) {
        return reason.to_string();
    }
    if let Some(reason) = untrusted(error) {
        return format!("this host rejects the certificate of the server: {reason}");
    }
    if error.source().is_some_and(|cause| cause.to_string() == PASSWORD_MISSING) {
        return "the server requires a password, and `database.password` is not set".to_owned();
    }
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

/// Whether messages of the class name at most roles, databases, tables and columns. Others may quote values, or come
/// from functions in the database.
fn has_fixed_words(state: &SqlState) -> bool {
    const CLASSES: [&str; 12] = ["08", "25", "28", "3D", "3F", "40", "42", "53", "55", "57", "58", "XX"];
    CLASSES.iter().any(|class| state.code().starts_with(class))
}
