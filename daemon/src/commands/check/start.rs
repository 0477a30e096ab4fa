//! Checks if the daemon would start: the problems that `serve` would find, with the rights of the user it runs as.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::credentials;
use super::live::Tried;
use crate::assembly::{
    AssemblyError, StartOverrides, StartProblem, check_addresses, find_start_problems, find_store_problem,
};
use crate::commands::{Context, hint_for, service_access};
use crate::config::Config;
use crate::control::{self, DaemonStatus, Operation};
use crate::identity::{CheckResult, Outcome};
use crate::listener;
use crate::platform::{self, Account, SOCKET_UNIT, Unit, run_as};

/// A running daemon answers from memory.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns what prevents a start and what cannot be determined here. Skips what `found` already reports.
pub(super) async fn check(context: &Context, config: &Config, found: &[Tried]) -> Vec<Tried> {
    let unit = service_access::unit_of(&context.config_path);
    let own = Account::of_this_process();
    let mut checked = match &unit {
        None => find(config, |_| false).await,
        Some(unit) => match unit.account() {
            Some(account) if account.uid == own.uid => of_unit(config, unit, find_for(config, unit).await),
            Some(account) if own.uid == 0 => of_unit(config, unit, find_as(&account, config, unit)),
            Some(_) => {
                vec![unknown(
                    "start",
                    "if the service starts",
                    "only root can check this: run `sudo infrad check`",
                )]
            }
            // The checks of files report the unknown user.
            None => Vec::new(),
        },
    };
    let failed: BTreeSet<&str> = found
        .iter()
        .filter(|tried| matches!(tried.finding.outcome, Outcome::Fails { .. }))
        .map(|tried| tried.about.as_str())
        .collect();
    checked.retain(|tried| !failed.contains(tried.about.as_str()));
    checked
}

/// Like [`find_for`], on a thread with the rights of `account`.
fn find_as(account: &Account, config: &Config, unit: &Unit) -> Vec<Tried> {
    let find = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(find_for(config, unit)))
    };
    run_as(account, find).flatten().unwrap_or_else(|error: std::io::Error| {
        let cause = format!("cannot switch to the user {}: {error}", account.name);
        vec![unknown("start", "if the service starts", &cause)]
    })
}

/// Skips addresses that systemd opens for the unit or permits it to open.
async fn find_for(config: &Config, unit: &Unit) -> Vec<Tried> {
    let handed = unit.handed_addresses();
    let may_open = |address: SocketAddr| address.port() < 1024 && unit.may_open_low_ports();
    find(config, |address| handed.contains(&address) || may_open(address)).await
}

async fn find(config: &Config, is_opened_for_it: impl Fn(SocketAddr) -> bool) -> Vec<Tried> {
    let is_running = matches!(platform::lock_holder(&config.data_dir), Ok(Some(_)));
    let running = if is_running { addresses_of_running(config).await } else { Some(Vec::new()) };
    let ports: Vec<u16> = running.iter().flatten().map(SocketAddr::port).collect();
    let is_open = |address: SocketAddr| is_opened_for_it(address) || ports.contains(&address.port());
    let mut found: Vec<Tried> = Vec::new();
    for problem in find_start_problems(config, StartOverrides::default(), is_open).await {
        let is_in_use = matches!(
            &problem.error,
            AssemblyError::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse
        );
        found.push(if is_in_use && running.is_none() {
            let cause = "it is in use, perhaps by the running infrad, which does not report its addresses";
            unknown(problem.about, &problem.what, cause)
        } else {
            failed(problem, config)
        });
    }
    found.extend(check_room(config));
    if !is_running && found.iter().all(|tried| ["address", "disk"].contains(&tried.about.as_str())) {
        match find_store_problem(config).await {
            Ok(problem) => found.extend(problem.map(|problem| failed(problem, config))),
            Err(error) => {
                let cause = format!("the check needs a copy of the store, which cannot be created: {error}");
                found.push(unknown("store", &config.data_dir.display().to_string(), &cause));
            }
        }
    }
    found
}

/// Less room than this is a full disk soon: the database's write-ahead log alone takes 4 MiB.
const LEAST_ROOM: u64 = 8 * 1024 * 1024;

/// A full disk of the data directory: users could neither sign in nor out.
fn check_room(config: &Config) -> Option<Tried> {
    let place = config.data_dir.display();
    let left = platform::free_bytes(&config.data_dir).filter(|left| *left < LEAST_ROOM)?;
    let cause = format!("its file system has {} kB left: sign-ins fail when it is full", left / 1024);
    let hint = format!("free space there: `df {place}` names it");
    let outcome = Outcome::Fails { cause, hint, is_transient: false };
    let finding = CheckResult { what: format!("room in {place}"), outcome };
    Some(Tried { about: "disk".to_owned(), finding })
}

/// Addresses of the running daemon; `None` if it does not report them.
async fn addresses_of_running(config: &Config) -> Option<Vec<SocketAddr>> {
    let calling = control::call::<DaemonStatus>(&config.data_dir, Operation::Status);
    let status = tokio::time::timeout(CONTROL_TIMEOUT, calling).await.ok()?.ok()?;
    Some(status.addresses).filter(|addresses| !addresses.is_empty())
}

/// Corrects what was found for what systemd does before it starts the unit.
fn of_unit(config: &Config, unit: &Unit, mut found: Vec<Tried>) -> Vec<Tried> {
    let makes_data = unit.makes(&config.data_dir);
    let is_missing = |path: &Path| matches!(path.try_exists(), Ok(false));
    // systemd creates it for the unit's user.
    found.retain(|tried| !(tried.about == "data directory" && makes_data && is_missing(&config.data_dir)));
    found.retain(|tried| {
        let (about, what) = (tried.about.as_str(), Path::new(&tried.finding.what));
        let place = what.parent().unwrap_or(what);
        !(["audit log", "rollback guard"].contains(&about) && unit.makes(place) && is_missing(place))
    });
    // systemd passes credentials to the unit. A command outside of it has none, and root reads their source files.
    if platform::credentials_directory().is_none() {
        found.retain(|tried| {
            !(tried.about == "root key" && tried.finding.what.starts_with("systemd credential"))
        });
        found.extend(credentials::check_root_keys(config, unit));
    }
    let handed = unit.handed_addresses();
    if let Err(error) = check_addresses(config, handed.iter().copied()) {
        found.push(failed(StartProblem { about: "address", what: SOCKET_UNIT.to_owned(), error }, config));
    }
    if Account::of_this_process().uid == 0 && !is_active(SOCKET_UNIT) {
        let is_running = matches!(platform::lock_holder(&config.data_dir), Ok(Some(_)));
        for address in handed.into_iter().filter(|_| !is_running) {
            if let Err(source) = listener::check_address(address) {
                let error = AssemblyError::Listen { address, source };
                found.push(failed(
                    StartProblem { about: "address", what: address.to_string(), error },
                    config,
                ));
            }
        }
    }
    found
}

fn is_active(unit: &str) -> bool {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "--quiet", unit]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn failed(StartProblem { about, what, error }: StartProblem, config: &Config) -> Tried {
    let advice = match &error {
        AssemblyError::Key(error) => service_access::keep_running(config, error),
        _ => None,
    };
    let (cause, hint) = (error.to_string(), advice.or_else(|| hint_for(&error)).unwrap_or_default());
    let outcome = Outcome::Fails { cause, hint, is_transient: false };
    Tried { about: about.to_owned(), finding: CheckResult { what, outcome } }
}

fn unknown(about: &str, what: &str, cause: &str) -> Tried {
    let outcome = Outcome::Unknown { cause: cause.to_owned() };
    Tried { about: about.to_owned(), finding: CheckResult { what: what.to_owned(), outcome } }
}
