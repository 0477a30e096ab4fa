//! Audit events. Their names are stable: `docs/audit.md` lists them.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// The daemon serves. `configuration_hash` is its SHA-256, left out if the configuration contains a secret.
    Started {
        version: &'a str,
        configuration_hash: Option<&'a str>,
        providers: &'a [String],
    },
    Stopped,
    /// A reload was requested. `configuration` describes the current file; `outcome` is `succeeded`, or `failed` if it is
    /// unreadable.
    Reloaded {
        outcome: &'a str,
        configuration_hash: Option<&'a str>,
        /// The sections that differ from the running configuration.
        restart_required: &'a [String],
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
    LoginRejected {
        provider: Option<&'a str>,
        reason: &'a str,
        detail: &'a str,
        /// The request id that the user saw.
        #[serde(rename = "requestID", skip_serializing_if = "Option::is_none")]
        request: Option<&'a str>,
        /// The verified user, if only the policy rejected them.
        #[serde(flatten)]
        user: Option<&'a DeniedUser>,
    },
    /// The endpoints of a provider moved to other hosts.
    EndpointsChanged {
        provider: &'a str,
        issuer: &'a str,
        change: &'a str,
    },
    /// A session of a login opened another one for a command.
    SessionDelegated {
        session: &'a str,
        parent: &'a str,
        issuer: &'a str,
        subject: &'a str,
        audiences: &'a [String],
        label: &'a str,
        /// The client address, if recorded.
        address: Option<IpAddr>,
    },
    SessionEnded {
        session: &'a str,
        issuer: &'a str,
        subject: &'a str,
        reason: &'a str,
        /// The session that revoked it, if it was another one.
        ended_by: Option<&'a str>,
    },
    AudienceTokenIssued {
        session: &'a str,
        audience: &'a str,
    },
    /// A workload got an audience token. `subject` is `workload:NAME/SUBJECT`.
    WorkloadTokenIssued {
        workload: &'a str,
        session: &'a str,
        issuer: &'a str,
        subject: &'a str,
        audience: &'a str,
        /// The client address, if recorded.
        address: Option<IpAddr>,
    },
    /// `reason` is a fixed word, `detail` explains it in the daemon's own words.
    WorkloadTokenRejected {
        /// The rule, if the token matched one.
        workload: Option<&'a str>,
        reason: &'a str,
        detail: &'a str,
        /// The request id that the client saw.
        #[serde(rename = "requestID")]
        request: &'a str,
    },
    /// Number of rejected exchanges of workloads without their own line since the last such line.
    WorkloadTokensSuppressed {
        rate_limited: u64,
        rejected: u64,
    },
    /// Number of rejected tokens since the last such line.
    TokensRejected {
        unknown: u64,
        expired: u64,
        revoked: u64,
        /// Valid tokens that were presented to another service.
        audience_mismatch: u64,
    },
    /// Number of logins without their own line since the last such line, because of a rate limit per address or of
    /// the log.
    LoginsSuppressed {
        start_rate_limited: u64,
        finish_rate_limited: u64,
        started: u64,
        rejected: u64,
    },
    /// `rewrap`, `rotate`, `create_recovery_key`, `backup`, `restore`, `move`, `announce_token_key`, `replace_token_keys`.
    KeyOperation {
        operation: &'a str,
        outcome: &'a str,
    },
    /// Part of the database was older than before.
    RollbackDetected {
        detail: &'a str,
    },
    /// An operator accepted older data, or a time that was ahead, which ended all sessions in it.
    RollbackAccepted {
        sessions_ended: usize,
    },
    /// The shared database lost commits in a `failover` or by a `restore`. The sessions that were revoked again have no
    /// events of their own.
    CommitsLost {
        cause: &'a str,
        sessions_ended: usize,
    },
    /// The first validation from memory since the database went away.
    GraceStarted {
        grace_seconds: u64,
    },
    /// Number of validations from memory since the last such line.
    ValidationsInGrace {
        count: u64,
    },
    /// Events before this one could not be written, for the first time at `since`.
    EventsMissing {
        count: u64,
        since: Timestamp,
    },
    /// A task of the daemon panicked and was restarted.
    TaskFailed {
        task: &'a str,
    },
    /// `source` as in `infrad status`; `outcome` is `issued`, `failed`, `ca_rollover_announced` or `ca_replaced`.
    Certificate {
        source: &'a str,
        outcome: &'a str,
        detail: Option<&'a str>,
    },
}

/// A verified user that the policy rejects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeniedUser {
    pub subject: String,
    pub email: Option<String>,
    pub email_verified: bool,
    /// The provider's groups claim, bounded and printable.
    pub groups: String,
}
