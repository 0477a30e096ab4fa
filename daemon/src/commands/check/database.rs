//! Tests the servers of `database`, and says what a failover can lose.

use infra_shared::clock::{Clock, SystemClock};
use jiff::SignedDuration;

use super::live::Tried;
use crate::config::Config;
use crate::identity::{CheckResult, Outcome};
use crate::keys::SharedKeys;
use crate::store::{HostReport, PostgresDatabase, ServerFacts, StoreError, StoreState, Written};

const OLDEST: i32 = 140_000;
/// Newer ones are not tested.
const FIRST_UNTESTED: i32 = 190_000;
/// Daemons use the clock of the database, but a host's own one judges certificates.
const CLOCKS_MAY_DIFFER: SignedDuration = SignedDuration::from_secs(60);

pub(super) async fn check(config: &Config) -> Vec<Tried> {
    let Some(settings) = &config.database else { return Vec::new() };
    let mut tried = Vec::new();
    let mut add = |what: String, outcome| {
        tried.push(Tried { about: "database".to_owned(), finding: CheckResult { what, outcome } });
    };
    let database = match PostgresDatabase::new(settings) {
        Ok(database) => database,
        Err(error) => {
            add(settings.describe(), fails(error.to_string(), "correct `database.caFile`", false));
            return tried;
        }
    };
    let reports = database.diagnose(|| SystemClock.now()).await;
    for HostReport { host, facts } in &reports {
        match facts {
            Ok(facts) => describe(host, facts).into_iter().for_each(|(what, outcome)| add(what, outcome)),
            Err(failure) => {
                let (problem, cause) = (failure.problem, failure.cause.clone());
                add(host.clone(), fails(cause, problem.hint(), problem.is_transient()));
            }
        }
    }
    let primaries = reports.iter().filter(|it| it.facts.as_ref().is_ok_and(|facts| !facts.is_standby));
    let what = "a server that accepts writes".to_owned();
    match primaries.count() {
        0 if reports.iter().all(|it| it.facts.is_err()) => {}
        0 => add(
            what,
            fails("all are standbys".to_owned(), "promote one, or add the primary to `database.hosts`", true),
        ),
        1 => {}
        count => add(
            what,
            fails(
                format!("{count} servers are primaries"),
                "stop the old one at once, and rebuild it as a standby",
                false,
            ),
        ),
    }
    let outcome = if reports.iter().all(|it| it.facts.is_err()) {
        // The causes are in the lines above.
        Outcome::Unknown { cause: "no server answers".to_owned() }
    } else {
        keys(config, &database).await
    };
    add("schema and keys".to_owned(), outcome);
    tried
}

/// Opens the keys and checks the state of the store, as a start would.
async fn keys(config: &Config, database: &PostgresDatabase) -> Outcome {
    let create = "create them once, on one host: `infrad database create`";
    let stored = match database.keys().await {
        Ok(Some(stored)) => stored,
        Ok(None) => return fails("there are no keys yet".to_owned(), create, false),
        Err(error) => {
            let hint = match &error {
                StoreError::NoSchema { .. } => create,
                StoreError::OlderSchema { .. } => "upgrade it once, on one host: `infrad database create`",
                StoreError::Unavailable { problem, .. } => problem.hint(),
                StoreError::Forbidden(_) => GRANT,
                _ => "",
            };
            return fails(error.to_string(), hint, error.is_transient());
        }
    };
    let opened = SharedKeys::open(stored, database.describe(), &config.root_keys, &config.data_dir).await;
    if let Err(error) = opened {
        return fails(error.to_string(), &error.hint().unwrap_or_default(), error.is_transient());
    }
    match database.state().await {
        Ok(None | Some((_, StoreState::Ready))) => Outcome::Works,
        Ok(Some((_, state))) => {
            let error = StoreError::NotReady { database: database.describe().to_owned(), state };
            fails(error.to_string(), state.hint().unwrap_or_default(), false)
        }
        Err(error) => fails(error.to_string(), "", error.is_transient()),
    }
}

/// For a role that does not own the tables.
const GRANT: &str = "make the role the owner of the tables, or grant it, as an administrator of PostgreSQL in this database: \
    `GRANT USAGE ON SCHEMA public TO ROLE; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ROLE`; \
    for a role that only reads, also `ALTER ROLE ROLE RESET default_transaction_read_only`";

fn describe(host: &str, facts: &ServerFacts) -> Vec<(String, Outcome)> {
    let role = if facts.is_standby { "standby" } else { "primary" };
    // The server sees the connection of a pooler, if there is one.
    let tls = match &facts.tls {
        Some(version) => version.as_str(),
        None if host.starts_with('/') => "a Unix socket",
        None => "TLS to a pooler, which uses no TLS itself",
    };
    let pooled = if facts.is_pooled { ", through a pooler in transaction mode" } else { "" };
    let mut found = vec![(
        format!("{host}: PostgreSQL {}, {role}, over {tls}{pooled}", facts.version),
        version(facts.version_number),
    )];
    found.push((format!("{host}: clock, {} s ahead of this host", seconds(facts.clock_ahead)), clock(facts)));
    if facts.is_superuser {
        let hint = "create a role without rights of its own: `CREATE ROLE infrad LOGIN`";
        let cause =
            "the role is a superuser, so a stolen password opens every database of the server".to_owned();
        found.push((format!("{host}: role"), fails(cause, hint, false)));
    }
    if !facts.lacking.is_empty() {
        let cause = format!("the role lacks {}", listed(&facts.lacking));
        found.push((format!("{host}: rights of the role"), fails(cause, GRANT, false)));
    }
    match &facts.written {
        Written::Untested => {}
        Written::Done => found.push((format!("{host}: a write"), Outcome::Works)),
        Written::Hangs(seconds) => {
            let cause = format!("the database did not answer in {seconds} s");
            let hint = if facts.synchronous_standbys.is_empty() {
                "look for a transaction that holds the row: `SELECT * FROM pg_stat_activity`"
            } else {
                STANDBY
            };
            found.push((format!("{host}: a write"), fails(cause, hint, true)));
        }
        Written::Failed(cause) => {
            let hint = "look for the cause in the log of the server";
            found.push((format!("{host}: a write"), fails(cause.clone(), hint, false)));
        }
    }
    if !facts.is_standby {
        found.push((format!("{host}: durability"), durability(facts)));
        found.push((format!("{host}: failover"), failover(facts)));
    }
    found
}

/// The first few, and how many more.
fn listed(lacking: &[String]) -> String {
    const MOST: usize = 5;
    let shown = lacking.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match lacking.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// For a primary that waits for a standby it lost.
const STANDBY: &str = "start the standby; or, to go on without it, remove it from `synchronous_standby_names` and run `SELECT \
    pg_reload_conf()`. Two standbys and `ANY 1 (a, b)` survive the loss of one";

fn version(number: i32) -> Outcome {
    match number {
        ..OLDEST => fails("it is older than PostgreSQL 14".to_owned(), "upgrade the server", false),
        FIRST_UNTESTED.. => {
            Outcome::Unknown { cause: "infrad is tested with PostgreSQL 14 to 18".to_owned() }
        }
        _ => Outcome::Works,
    }
}

fn clock(facts: &ServerFacts) -> Outcome {
    if facts.clock_ahead.abs() <= CLOCKS_MAY_DIFFER {
        return Outcome::Works;
    }
    let cause = "the clocks differ by more than a minute: sessions expire by the clock of the database, certificates by that of this \
                 host"
        .to_owned();
    fails(cause, "synchronize both clocks (NTP)", false)
}

fn durability(facts: &ServerFacts) -> Outcome {
    if !facts.is_durable {
        let cause = "`fsync` or `full_page_writes` is off: a crash can damage the database".to_owned();
        return fails(cause, "turn both on", false);
    }
    if facts.synchronous_commit == "off" {
        let cause = "`synchronous_commit` is off: a crash loses the last sign-ins and sign-outs, although users got an answer";
        return fails(cause.to_owned(), "`ALTER ROLE infrad SET synchronous_commit = on`", false);
    }
    Outcome::Works
}

/// What a failover to a standby can lose.
fn failover(facts: &ServerFacts) -> Outcome {
    let waits = matches!(facts.synchronous_commit.as_str(), "on" | "remote_apply" | "remote_write");
    let cause = match (facts.synchronous_standbys.as_str(), facts.connected_standbys) {
        ("", 0) => {
            "no standby is connected: if the server is lost, so is everything since its last backup; users sign in again"
        }
        ("", _) => {
            "`synchronous_standby_names` is empty: a failover can lose the last sign-ins and sign-outs, so a session that \
             was signed out may be valid again"
        }
        (_, 0) if waits => {
            let cause = "`synchronous_standby_names` is set, and no standby is connected: sign-ins and sign-outs hang";
            return fails(cause.to_owned(), STANDBY, true);
        }
        (_, _) if waits && facts.confirming_standbys == Some(0) => {
            let cause =
                "no connected standby is one of `synchronous_standby_names`: sign-ins and sign-outs hang";
            return fails(cause.to_owned(), STANDBY, true);
        }
        (_, _) if waits && facts.confirming_standbys.is_none() && facts.written != Written::Done => {
            "this role cannot see if a standby confirms commits: `GRANT pg_read_all_stats TO ROLE` lets it"
        }
        _ if !waits => "`synchronous_commit` is `local`: a failover can lose the last sign-ins and sign-outs",
        _ => return Outcome::Works,
    };
    Outcome::Unknown { cause: cause.to_owned() }
}

fn seconds(duration: SignedDuration) -> String {
    format!("{:.1}", duration.as_secs_f64())
}

fn fails(cause: String, hint: &str, is_transient: bool) -> Outcome {
    Outcome::Fails { cause, hint: hint.to_owned(), is_transient }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> ServerFacts {
        ServerFacts {
            version: "15.18".to_owned(),
            version_number: 150_018,
            tls: Some("TLSv1.3".to_owned()),
            is_standby: false,
            synchronous_standbys: "ANY 1 (a, b)".to_owned(),
            connected_standbys: 2,
            synchronous_commit: "on".to_owned(),
            is_durable: true,
            is_superuser: false,
            clock_ahead: SignedDuration::from_millis(-1200),
            is_pooled: true,
            schema: Some(1),
            confirming_standbys: Some(1),
            lacking: Vec::new(),
            written: Written::Done,
        }
    }

    /// The word for each outcome, and the text of its cause.
    fn found(facts: &ServerFacts) -> Vec<String> {
        let described = describe("db1", facts).into_iter().map(|(what, outcome)| match outcome {
            Outcome::Works => format!("ok {what}"),
            Outcome::Unknown { cause } => format!("unknown {what}: {cause}"),
            Outcome::Fails { cause, .. } => format!("failed {what}: {cause}"),
        });
        described.collect()
    }

    #[test]
    fn sound_primary_has_no_problem() {
        assert_eq!(
            found(&facts()),
            [
                "ok db1: PostgreSQL 15.18, primary, over TLSv1.3, through a pooler in transaction mode",
                "ok db1: clock, -1.2 s ahead of this host",
                "ok db1: a write",
                "ok db1: durability",
                "ok db1: failover",
            ]
        );
    }

    #[test]
    fn report_says_what_failover_and_crash_can_lose() {
        let is = |change: fn(&mut ServerFacts), word: &str, text: &str| {
            let mut changed = facts();
            change(&mut changed);
            let found = found(&changed);
            let has = |line: &String| line.starts_with(word) && line.contains(text);
            assert_eq!(found.iter().filter(|line| has(line)).count(), 1, "{found:?}");
        };
        is(|it| it.synchronous_standbys.clear(), "unknown db1: failover", "can lose the last");
        is(
            |it| (it.synchronous_standbys, it.connected_standbys) = (String::new(), 0),
            "unknown db1: failover",
            "no standby is connected",
        );
        is(|it| it.connected_standbys = 0, "failed db1: failover", "no standby is connected");
        is(|it| it.confirming_standbys = Some(0), "failed db1: failover", "hang");
        is(
            |it| (it.confirming_standbys, it.written) = (None, Written::Hangs(4)),
            "unknown db1: failover",
            "cannot see",
        );
        is(|it| it.written = Written::Hangs(4), "failed db1: a write", "did not answer in 4 s");
        is(|it| it.lacking.push("INSERT on sessions".to_owned()), "failed db1: rights", "INSERT on sessions");
        is(|it| it.synchronous_commit = "local".to_owned(), "unknown db1: failover", "`local`");
        is(|it| it.synchronous_commit = "off".to_owned(), "failed db1: durability", "sign-outs");
        is(|it| it.is_durable = false, "failed db1: durability", "`fsync`");
        is(|it| it.is_superuser = true, "failed db1: role", "superuser");
        is(|it| it.version_number = 130_022, "failed db1: PostgreSQL", "older");
        is(|it| it.version_number = 190_000, "unknown db1: PostgreSQL", "14 to 18");
        is(|it| it.clock_ahead = SignedDuration::from_mins(5), "failed db1: clock", "differ");
    }
}
