//! What is told in the audit log. The names are stable: `docs/audit.md` lists them.

use std::net::IpAddr;

use serde::Serialize;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// The daemon serves, with a configuration of this SHA-256, which is left out where a secret stands in it.
    Started {
        version: &'a str,
        configuration: Option<&'a str>,
        providers: &'a [String],
    },
    Stopped,
    /// Told to reload. `configuration` as it is in the file now; `outcome` is `done`, or `fault` where it cannot be read.
    Reloaded {
        outcome: &'a str,
        configuration: Option<&'a str>,
        /// The sections that differ from what runs.
        need_restart: &'a [String],
    },
    LoginStarted {
        provider: &'a str,
    },
    LoginFinished {
        provider: &'a str,
        session: &'a str,
        issuer: &'a str,
        subject: &'a str,
        email: Option<&'a str>,
        /// Where the login came from, where that is recorded.
        address: Option<IpAddr>,
    },
    /// `reason` is one of few words, `detail` says more in the daemon's own.
    LoginRefused {
        provider: Option<&'a str>,
        reason: &'a str,
        detail: &'a str,
        /// As the user saw it.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<&'a str>,
        /// Whom the provider proved, if the policy alone kept them out.
        #[serde(flatten)]
        user: Option<&'a RefusedUser>,
    },
    /// The endpoints of a provider are at other hosts than before.
    EndpointsChanged {
        provider: &'a str,
        issuer: &'a str,
        change: &'a str,
    },
    SessionEnded {
        session: &'a str,
        issuer: &'a str,
        subject: &'a str,
        reason: &'a str,
        /// The session from which it was ended, where it was another one.
        by: Option<&'a str>,
    },
    /// A session got a token for one audience.
    TokenOpened {
        session: &'a str,
        audience: &'a str,
    },
    /// How many tokens were not good since the last such line.
    TokensRefused {
        unknown: u64,
        expired: u64,
        revoked: u64,
        /// Good ones, shown to a service that they are not for.
        other_audience: u64,
    },
    /// How many logins have no line of their own since the last such line: because one address tried too many, or because
    /// there were more than the log takes.
    LoginsCounted {
        start_too_often: u64,
        finish_too_often: u64,
        started: u64,
        refused: u64,
    },
    /// `rewrap`, `rotate`, `createRecovery`, `backup`, `restore`.
    KeyOperation {
        operation: &'a str,
        outcome: &'a str,
    },
    /// Part of the database was older than it had been.
    RollbackDetected {
        detail: &'a str,
    },
    /// A task of the daemon panicked, and was started again.
    TaskFailed {
        task: &'a str,
    },
    /// `source` as in `infrad status`; `outcome` is `obtained`, `failed`, `authority_announced` or `authority_replaced`.
    Certificate {
        source: &'a str,
        outcome: &'a str,
        detail: Option<&'a str>,
    },
}

/// A user who was proven and is not admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedUser {
    pub subject: String,
    pub email: Option<String>,
    pub email_verified: bool,
    /// What the provider said of groups: bounded, and printable.
    pub groups: String,
}
