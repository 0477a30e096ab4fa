//! Audit events. Their names are stable: `docs/audit.md` lists them.

use std::net::IpAddr;

use serde::Serialize;

/// One audit event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// The daemon serves. `configuration` is its SHA-256, left out if the configuration contains a secret.
    Started {
        version: &'a str,
        configuration: Option<&'a str>,
        providers: &'a [String],
    },
    Stopped,
    /// A reload was requested. `configuration` describes the current file; `outcome` is `done`, or `fault` if it is
    /// unreadable.
    Reloaded {
        outcome: &'a str,
        configuration: Option<&'a str>,
        /// The sections that differ from the running configuration.
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
        /// The client address of the login, if recorded.
        address: Option<IpAddr>,
    },
    /// `reason` is a fixed word, `detail` explains it in the daemon's own words.
    LoginRefused {
        provider: Option<&'a str>,
        reason: &'a str,
        detail: &'a str,
        /// The request id that the user saw.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<&'a str>,
        /// The verified user, if only the policy rejected them.
        #[serde(flatten)]
        user: Option<&'a RefusedUser>,
    },
    /// The endpoints of a provider moved to other hosts.
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
        /// The session that revoked it, if it was another one.
        by: Option<&'a str>,
    },
    /// A session obtained an audience token.
    TokenOpened {
        session: &'a str,
        audience: &'a str,
    },
    /// Number of rejected tokens since the last such line.
    TokensRefused {
        unknown: u64,
        expired: u64,
        revoked: u64,
        /// Valid tokens that were presented to another service.
        other_audience: u64,
    },
    /// Number of logins without their own line since the last such line, because of a rate limit per address or of
    /// the log.
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
    /// Part of the database was older than before.
    RollbackDetected {
        detail: &'a str,
    },
    /// A task of the daemon panicked and was restarted.
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

/// A verified user that the policy rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedUser {
    pub subject: String,
    pub email: Option<String>,
    pub email_verified: bool,
    /// The provider's groups claim, bounded and printable.
    pub groups: String,
}
