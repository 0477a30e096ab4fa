//! Daemons that share a provider, a root key and a database.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use infra_harness::api::{Answered, Api};
use infra_harness::daemon::{Configuration, Daemon, MANY_LOGINS, ProviderEntry};
use infra_harness::provider::Provider;
use infra_harness::{login, wait};
use infra_peers::postgresql::{PostgreSQL, USER};

use super::LIMIT;

/// The database that every test of this folder creates.
pub(super) const DATABASE: &str = "infra";

/// How a daemon reaches the database.
#[derive(Clone)]
pub(super) struct Access {
    hosts: Vec<String>,
    password: PathBuf,
    authority: PathBuf,
}

/// Members of one store, with one configuration.
pub(super) struct Group {
    pub(super) provider: Provider,
    pub(super) daemons: Vec<Daemon>,
}

impl Access {
    pub(super) fn to(server: &PostgreSQL) -> Self {
        Self {
            hosts: vec![format!("localhost:{}", server.port())],
            password: server.password_file(),
            authority: server.authority_file(),
        }
    }

    /// To servers at these hosts, with a file of the password and one of the CA.
    pub(super) fn at(hosts: impl IntoIterator<Item = String>, password: PathBuf, authority: PathBuf) -> Self {
        Self { hosts: hosts.into_iter().collect(), password, authority }
    }

    /// With these hosts instead.
    pub(super) fn through(self, hosts: impl IntoIterator<Item = String>) -> Self {
        Self { hosts: hosts.into_iter().collect(), ..self }
    }

    /// The lines of the configuration.
    pub(super) fn to_yaml(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("'{host}'")).collect();
        format!(
            "database: {{kind: postgresql, hosts: [{}], name: {DATABASE}, user: {USER}, password: 'file:{}', caFile: {}}}\n",
            hosts.join(", "),
            self.password.display(),
            self.authority.display(),
        )
    }
}

impl Group {
    /// Creates the schema and starts this many daemons. `change` gets the number of each.
    pub(super) fn start(count: usize, access: &Access, change: impl Fn(usize, &mut Configuration)) -> Self {
        let mut group = Self::prepare(count, access, change);
        for daemon in &mut group.daemons {
            daemon.start_again();
        }
        group
    }

    /// Like [`Self::start`], without starting them.
    pub(super) fn prepare(count: usize, access: &Access, change: impl Fn(usize, &mut Configuration)) -> Self {
        let provider = Provider::start();
        let mut daemons: Vec<Daemon> = Vec::with_capacity(count);
        for number in 0..count {
            let shared = daemons.first().map(|first| (first.root_key(), first.redirect_ports()));
            let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |configuration| {
                configuration.more = format!("{}{MANY_LOGINS}", access.to_yaml());
                if let Some((root_key, redirect_ports)) = shared {
                    (configuration.root_key, configuration.redirect_ports) = (root_key, redirect_ports);
                }
                change(number, configuration);
            });
            daemons.push(daemon);
        }
        daemons[0].infrad(["database", "create"]).wait().expect(0);
        Self { provider, daemons }
    }

    /// Signs in at this daemon and returns the token.
    #[track_caller]
    pub(super) fn sign_in(&self, number: usize) -> String {
        login::over_http(&self.daemons[number], &self.provider)
    }

    /// A client of each daemon.
    pub(super) fn clients(&self) -> Vec<Api> {
        clients(&self.daemons)
    }

    /// The log of each daemon.
    pub(super) fn logs(&self) -> String {
        logs(&self.daemons)
    }
}

pub(super) fn logs(daemons: &[Daemon]) -> String {
    let logs: Vec<String> = daemons.iter().map(|daemon| daemon.log().to_string()).collect();
    logs.join("\n")
}

pub(super) fn clients(daemons: &[Daemon]) -> Vec<Api> {
    daemons.iter().map(Daemon::api).collect()
}

/// The status of a validation; `None` if there was no answer.
pub(super) fn validated(api: &Api, token: &str) -> Option<u16> {
    let answered = Answered::try_of(api.request("GET", "/v1/session").bearer_auth(token));
    answered.ok().map(|answered| answered.status)
}

/// Waits until a validation has this status.
#[track_caller]
pub(super) fn expect_soon(api: &Api, token: &str, status: u16, daemon: &Daemon) {
    let mut last = None;
    let found = wait::until(LIMIT, || {
        last = validated(api, token);
        (last == Some(status)).then_some(())
    });
    assert!(found.is_some(), "{last:?} instead of {status}\n{}", daemon.log());
}

/// Waits until every daemon is ready. Returns how long the slowest took.
#[track_caller]
pub(super) fn wait_until_ready(clients: &[Api]) -> Duration {
    let begun = Instant::now();
    let mut waiting: Vec<&Api> = clients.iter().collect();
    let ready = wait::until(LIMIT, || {
        let is_ready =
            |api: &Api| Answered::try_of(api.request("GET", "/readyz")).is_ok_and(|it| it.status == 204);
        waiting.retain(|api| !is_ready(api));
        waiting.is_empty().then_some(())
    });
    assert!(ready.is_some(), "{} daemons never became ready", waiting.len());
    begun.elapsed()
}

/// How often a slow test repeats what it does: `INFRA_SOAK_ROUNDS`, or `usual`.
#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long they may take")]
pub(super) fn rounds(usual: usize) -> usize {
    std::env::var("INFRA_SOAK_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}
