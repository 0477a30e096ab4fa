//! Rate limits per address for login starts, for failed login finishes and for failed exchanges of workloads.
//!
//! A request counts only once it costs something: a start when it returns a ticket, a finish when it fails after its
//! ticket was accepted, and the client caused that. Earlier rejections do not count, so a web page or a neighbour behind
//! the same address cannot use up the limits.
//!
//! One connection may use a quarter of its address's failures. When an address has used up its starts, each
//! connection still has a few, because a new connection costs the client more than a start costs the daemon.

mod buckets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use infra_shared::token_text::SessionID;
use tokio::time::Instant;

use super::Api;
use super::problem::{ProblemResponse, TOO_MANY_LOGINS};
use crate::addresses::client_key;
use crate::sessions::LoginRateLimit;
use buckets::{Buckets, Capacity};

/// Limits per minute and address (IPv6: each /64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    pub login_starts: u32,
    /// Successful finishes do not count, nor failures that the client did not cause.
    pub failed_login_finishes: u32,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { login_starts: 60, failed_login_finishes: 20 }
    }
}

/// Login starts per minute for each connection after its address has used up its own.
const CONNECTION_STARTS: u32 = 3;
/// One connection may use this fraction of its address's failures.
const CONNECTION_SHARE: u32 = 4;

/// Tokens per minute for the workloads of one rule, wherever they run.
const WORKLOAD_TOKENS: u32 = 600;

/// Audience tokens per minute for one session: more opaque ones than it may have at the same time.
const SESSION_TOKENS: u32 = 600;

/// Sessions that one session delegates per minute. Each leaves a row and lines in the audit log, also after it ended.
const DELEGATIONS: u32 = 60;

/// What each address and connection has used of its limits.
pub(super) struct Rates {
    begun: Instant,
    starts: Buckets,
    starts_of_connections: Buckets,
    failed_finishes: Failures,
    failed_exchanges: Failures,
    /// By rule.
    workload_tokens: Buckets,
    /// By session. A delegated one counts for its parent.
    session_tokens: Buckets,
    /// By session.
    delegations: Buckets,
}

/// Failures of one kind, by address and by connection.
struct Failures {
    of_addresses: Buckets,
    of_connections: Buckets,
}

impl Failures {
    fn new(a_minute: u32) -> Self {
        Self {
            of_addresses: Buckets::new(a_minute, Capacity::Addresses),
            of_connections: Buckets::new(a_minute.div_ceil(CONNECTION_SHARE), Capacity::Connections),
        }
    }

    fn check(&self, peer: SocketAddr, now: Duration) -> Result<(), Duration> {
        if let Some(connection) = connection(peer) {
            self.of_connections.check(connection, now)?;
        }
        self.of_addresses.check(client_key(peer.ip()), now)
    }

    fn count(&self, peer: SocketAddr, now: Duration) {
        if let Some(connection) = connection(peer) {
            let _ = self.of_connections.take(connection, now);
        }
        let _ = self.of_addresses.take(client_key(peer.ip()), now);
    }
}

impl Rates {
    pub(super) fn new(limits: &RateLimits) -> Arc<Self> {
        let failed = limits.failed_login_finishes;
        Arc::new(Self {
            begun: Instant::now(),
            starts: Buckets::new(limits.login_starts, Capacity::Addresses),
            starts_of_connections: Buckets::new(CONNECTION_STARTS, Capacity::Connections),
            failed_finishes: Failures::new(failed),
            failed_exchanges: Failures::new(failed),
            workload_tokens: Buckets::new(WORKLOAD_TOKENS, Capacity::Connections),
            session_tokens: Buckets::new(SESSION_TOKENS, Capacity::Connections),
            delegations: Buckets::new(DELEGATIONS, Capacity::Connections),
        })
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn may_start(&self, peer: SocketAddr) -> Result<(), Duration> {
        let now = self.now();
        self.starts.check(client_key(peer.ip()), now).or_else(|wait| match connection(peer) {
            Some(connection) => self.starts_of_connections.check(connection, now),
            None => Err(wait),
        })
    }

    pub(super) fn count_start(&self, peer: SocketAddr) {
        let now = self.now();
        if self.starts.take(client_key(peer.ip()), now).is_err()
            && let Some(connection) = connection(peer)
        {
            // Ignore the result: concurrent starts may exceed the limit of the connection.
            let _ = self.starts_of_connections.take(connection, now);
        }
    }

    fn may_finish(&self, peer: SocketAddr) -> Result<(), Duration> {
        self.failed_finishes.check(peer, self.now())
    }

    /// Counts a login that used its ticket and failed.
    pub(super) fn count_failed_finish(&self, peer: SocketAddr) {
        self.failed_finishes.count(peer, self.now());
    }

    /// Whether an address may exchange a workload's token, or how long it must wait.
    pub(super) fn may_exchange(&self, peer: SocketAddr) -> Result<(), Duration> {
        self.failed_exchanges.check(peer, self.now())
    }

    /// Counts an exchange that failed with a token that its issuer signed.
    pub(super) fn count_failed_exchange(&self, peer: SocketAddr) {
        self.failed_exchanges.count(peer, self.now());
    }

    /// Whether a rule may issue another token, or how long to wait.
    pub(super) fn may_issue_workload_token(&self, rule: &str) -> Result<(), Duration> {
        self.workload_tokens.check(rule, self.now())
    }

    /// Counts a token that a rule issued. Refused exchanges leave the limit to others.
    pub(super) fn count_workload_token(&self, rule: &str) {
        let _ = self.workload_tokens.take(rule, self.now());
    }

    /// Counts an audience token that a session requests, or returns how long it must wait. A signed token has no row that would
    /// limit their number.
    pub(super) fn take_session_token(&self, session: &SessionID) -> Result<(), Duration> {
        self.session_tokens.take(session.as_str(), self.now())
    }

    /// Counts a session that `parent` delegates, or returns how long it must wait.
    pub(super) fn take_delegation(&self, parent: &SessionID) -> Result<(), Duration> {
        self.delegations.take(parent.as_str(), self.now())
    }
}

/// The key of a connection. `None` behind a proxy that names clients in `X-Forwarded-For`.
fn connection(peer: SocketAddr) -> Option<SocketAddr> {
    Some(peer).filter(|peer| peer.port() != 0)
}

/// Rejects a login start if its address exceeds the rate limit. Counts nothing.
pub(super) fn check_start(api: &Api, peer: SocketAddr) -> Result<(), ProblemResponse> {
    api.rates.may_start(peer).map_err(|wait| rate_limited(api, LoginRateLimit::Start, wait))
}

/// Rejects a login finish if its address exceeds the rate limit. Its ticket stays unused.
pub(super) fn check_finish(api: &Api, peer: SocketAddr) -> Result<(), ProblemResponse> {
    api.rates.may_finish(peer).map_err(|wait| rate_limited(api, LoginRateLimit::Finish, wait))
}

fn rate_limited(api: &Api, what: LoginRateLimit, wait: Duration) -> ProblemResponse {
    api.sessions.count_rate_limited_login(what);
    ProblemResponse::rate_limited(wait, TOO_MANY_LOGINS)
}

#[cfg(test)]
mod tests {
    use infra_shared::token_text::SessionToken;

    use super::*;

    fn rates() -> Arc<Rates> {
        Rates::new(&RateLimits { login_starts: 2, failed_login_finishes: 8 })
    }

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("an address and a port")
    }

    #[test]
    fn new_connection_can_start_login_at_address_limit() {
        let rates = rates();
        let flood = peer("192.0.2.1:1000");
        let accepted = (0..100).filter(|_| rates.may_start(flood).map(|()| rates.count_start(flood)).is_ok());
        assert_eq!(accepted.count(), 5, "two of the address and three of the connection");
        assert_eq!(rates.may_start(peer("192.0.2.1:1001")), Ok(()));
        assert!(rates.may_start(peer("192.0.2.1:0")).is_err(), "behind a proxy the address alone counts");
        assert_eq!(rates.may_start(peer("192.0.2.2:0")), Ok(()));
    }

    #[test]
    fn tokens_of_one_session_spare_others() {
        let rates = rates();
        let [flood, other] = [(); 2].map(|()| SessionToken::mint());
        let issued = (0..1000).filter(|_| rates.take_session_token(flood.id()).is_ok()).count();
        assert!((600..700).contains(&issued), "{issued}");
        assert_eq!(rates.take_session_token(other.id()), Ok(()));
    }

    #[test]
    fn delegations_of_one_session_spare_others() {
        let rates = rates();
        let [flood, other] = [(); 2].map(|()| SessionToken::mint());
        let opened = (0..200).filter(|_| rates.take_delegation(flood.id()).is_ok()).count();
        assert!((60..70).contains(&opened), "{opened}");
        assert_eq!(rates.take_delegation(other.id()), Ok(()));
    }

    #[test]
    fn failures_of_one_connection_spare_its_address() {
        let rates = rates();
        let flood = peer("192.0.2.1:1000");
        let accepted =
            (0..100).filter(|_| rates.may_finish(flood).map(|()| rates.count_failed_finish(flood)).is_ok());
        assert_eq!(accepted.count(), 2, "a quarter of the address");
        assert_eq!(rates.may_finish(peer("192.0.2.1:1001")), Ok(()));
        for port in 2000..2100 {
            rates.count_failed_finish(peer(&format!("192.0.2.1:{port}")));
        }
        assert!(rates.may_finish(peer("192.0.2.1:1001")).is_err(), "all of the address");
        assert_eq!(rates.may_finish(peer("192.0.2.2:1001")), Ok(()));
    }
}
