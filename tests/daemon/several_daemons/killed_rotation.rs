//! A rotation of the data key whose daemon is killed in each of its transactions.

use std::sync::atomic::AtomicBool;

use infra_harness::program::Running;
use infra_harness::wait;
use infra_peers::postgresql::PostgreSQL;

use super::LIMIT;
use super::group::{DATABASE, Group, expect_soon, wait_until_ready};
use super::key_rotation::{AFTER_KILL, Stop, rotate, start, use_sessions};

/// The table and the change of each transaction, in order: the rotation publishes a key, uses it, seals every table again.
const STEPS: [(&str, &str); 11] = [
    ("keys", "INSERT"),
    ("store", "UPDATE OF data_key_version"),
    ("sessions", RESEAL),
    ("audience_tokens", RESEAL),
    ("refresh_tokens", RESEAL),
    ("providers", RESEAL),
    ("provider_endpoints", RESEAL),
    ("certificates", RESEAL),
    ("acme_accounts", RESEAL),
    ("acme_successes", RESEAL),
    ("acme_challenges", RESEAL),
];
const RESEAL: &str = "UPDATE OF key_version";
/// A daemon drops the replaced key once no ticket can need it.
const DROP: (&str, &str) = ("keys", "DELETE");

/// Holds a statement, so that its transaction neither commits nor ends. Of those that seal rows again, only statements of a
/// rotation beyond the given data key. The limit of a statement is ten seconds.
const HALT: &str = "CREATE FUNCTION halt() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_TABLE_NAME IN ('keys', 'store') OR current_query() LIKE '%coalesce(u.sealed%'
        AND (SELECT data_key_version FROM store) > TG_ARGV[0]::integer
    THEN PERFORM pg_sleep(9); END IF;
    RETURN NULL;
END $$";
const HELD: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
const END: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";

/// Holds the statement of this step once the data key is newer than `current`.
fn hold(server: &PostgreSQL, (table, event): (&str, &str), current: u32) {
    let execute = format!("FOR EACH STATEMENT EXECUTE FUNCTION halt({current})");
    let create = format!("CREATE TRIGGER halt AFTER {event} ON {table} {execute}");
    server.sql_as("postgres", DATABASE, &create);
}

/// Waits until the statement of this step is held, and kills these daemons. Nothing of its transaction is stored.
fn kill_at(server: &PostgreSQL, group: &mut Group, daemons: &[usize], step: (&str, &str)) {
    let (rotates, limit) = if step == DROP { (false, AFTER_KILL * 5) } else { (true, LIMIT) };
    let mut rotation: Option<Running> = None;
    let held = wait::until(limit, || {
        // The other daemon may have the job for a moment.
        if rotates && rotation.as_mut().is_none_or(|rotation| !rotation.is_running()) {
            rotation = Some(group.daemons[0].infrad(["key", "rotate"]));
        }
        (number(server, HELD) == 1).then_some(())
    });
    assert!(held.is_some(), "{step:?} never came\n{}", group.logs());
    for &daemon in daemons {
        group.daemons[daemon].kill();
    }
    assert_eq!(number(server, END), 1, "{step:?} ended before the kill");
    server.sql_as("postgres", DATABASE, &format!("DROP TRIGGER halt ON {}", step.0));
}

fn number(server: &PostgreSQL, select: &str) -> u32 {
    server.sql_as("postgres", DATABASE, select).parse().expect("a number")
}

/// Kills the rotating daemon at these steps, while the other one serves. Then both serve, and another rotation succeeds.
fn kill_rotations(steps: &[(&str, &str)], drops: bool) {
    let Some((server, mut group)) = start() else { return };
    server.sql_as("postgres", DATABASE, HALT);
    let mut tokens = vec![group.sign_in(0)];
    for &step in steps {
        let current = || number(&server, "SELECT data_key_version FROM store");
        let before = current();
        hold(&server, step, before);
        kill_at(&server, &mut group, &[0], step);
        let is_used = !matches!(step.0, "keys" | "store");
        assert_eq!(current() - before, u32::from(is_used), "killed before {step:?}");

        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| use_sessions(&group, [1, 1], &stop));
            {
                let _stop = Stop(&stop);
                rotate(&group, 1);
            }
            assert!(load.join().expect("no request fails") > 0);
        });
        assert!(current() > before, "after {step:?}");
        for (table, event) in STEPS {
            let older = format!(
                "SELECT count(*) FROM {table} WHERE key_version < (SELECT data_key_version FROM store)"
            );
            assert!(event != RESEAL || number(&server, &older) == 0, "{table} after {step:?}");
        }
        group.daemons[0].start_again();
        wait_until_ready(&group.clients());
        tokens.push(group.sign_in(0));
        expect_valid(&group, &tokens);
        rotate(&group, 0);
    }
    if drops {
        hold(&server, DROP, 0);
        // Whichever daemon drops them.
        kill_at(&server, &mut group, &[0, 1], DROP);
        assert!(number(&server, "SELECT count(*) FROM keys WHERE kind = 'data'") > 1, "nothing was dropped");
        for daemon in &mut group.daemons {
            daemon.start_again();
        }
        wait_until_ready(&group.clients());
        expect_valid(&group, &tokens);
    }
}

fn expect_valid(group: &Group, tokens: &[String]) {
    for daemon in &group.daemons {
        for token in tokens {
            expect_soon(&daemon.api(), token, 200, daemon);
        }
    }
}

#[test]
fn rotation_killed_while_it_seals_rows_can_be_repeated() {
    kill_rotations(&[("sessions", RESEAL)], false);
}

#[test]
#[ignore = "takes ten minutes"]
fn rotation_killed_at_any_step_can_be_repeated() {
    kill_rotations(&STEPS, true);
}
