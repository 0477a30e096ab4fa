//! A host with the unit, as root meets it: messages lead to a command that works there, the pages work as written, and
//! `infrad check` passes only what starts.

mod host;

use std::time::Duration;

use host::Host;
use infra_harness::authority::Authority;
use infra_harness::documents::Page;
use infra_harness::wait;

const LIMIT: Duration = Duration::from_mins(1);
const CONFIGURATION: &str = "/etc/infra/infrad.yaml";
const ACCEPT: &str = "`infrad as-service serve --accept-rollback`";
/// The copy that systemd keeps for the running unit.
const RESTORE_KEPT: &str =
    "`install -o root -g root -m 0400 /run/credentials/infrad.service/root.key /etc/infra/root.key`";

#[test]
fn older_data_is_accepted_as_the_page_says() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    host.stop();
    host.run("cp -a /var/lib/infrad /root/older").expect(0);
    host.start();
    let fingerprint = host.fingerprint();
    host.stop();
    host.run("rm -r /var/lib/infrad; cp -a /root/older /var/lib/infrad").expect(0);

    let checked = host.run("infrad as-service check").expect(1).stdout;
    assert!(
        checked.contains("older than the data this host used last") && checked.contains(ACCEPT),
        "{checked}"
    );
    // Each message on the way leads on, not around.
    let typed = host.run("infrad serve --accept-rollback").expect(1);
    assert!(typed.stderr.contains("infrad as-service"), "{typed}");
    let refused = host.run("play-unit").expect(1);
    assert!(refused.stderr.contains(ACCEPT), "{refused}");

    host.follow("docs/keys.md", "A data directory that was rolled back", "");
    assert!(host.is_running());
    assert_eq!(host.fingerprint(), fingerprint);
    let audited = host.run("cat /var/log/infrad/audit.jsonl").expect(0).stdout;
    assert!(audited.contains("\"event\":\"rollback_accepted\",\"sessionsEnded\":0"), "{audited}");
    host.stop();
    let nothing = host.run("infrad as-service serve --accept-rollback").expect(0);
    assert!(nothing.stderr.contains("nothing to accept"), "{nothing}");
}

#[test]
fn new_store_is_created_only_on_request() {
    const CREATE: &str = "infrad as-service serve --new-store";
    let Some(mut host) = Host::new() else { return };
    host.start();
    let fingerprint = host.fingerprint();
    host.stop();
    host.run("mv /var/lib/infrad /root/aside; install -d -o infrad -g infrad -m 0700 /var/lib/infrad")
        .expect(0);
    for command in ["infrad check", "infrad as-service backup /var/backups/infrad/a.backup"] {
        let ran = host.run(command).expect(1);
        assert!(
            ran.to_string().contains("its volume is mounted") && ran.to_string().contains(CREATE),
            "{ran}"
        );
    }
    let created = host.run(CREATE).expect(0);
    assert!(created.stderr.contains("created a new store in /var/lib/infrad"), "{created}");
    host.start();
    assert_ne!(host.fingerprint(), fingerprint);
}

#[test]
fn check_rejects_damaged_root_key() {
    let Some(mut host) = Host::new() else { return };
    host.run("cp -a /etc/infra/root.key /root/copy; infrad check").expect(0);
    let damage = |host: &Host, bytes: &str, words: &[&str]| {
        host.run(&format!(
            "chmod 0600 /etc/infra/root.key; {bytes} >/etc/infra/root.key; chmod 0400 /etc/infra/root.key"
        ))
        .expect(0);
        for command in ["infrad check", "infrad as-service check"] {
            let checked = host.run(command).expect(1).stdout;
            assert!(
                checked.contains("failed   root key: systemd credential root.key"),
                "{command}: {checked}"
            );
            assert!(
                command.contains("as-service") || words.iter().all(|word| checked.contains(word)),
                "{checked}"
            );
        }
    };
    let becomes = |host: &Host, command: &str, words: &str| {
        let shown = || host.run(command).expect(0).stdout.contains(words).then_some(());
        assert!(wait::until(LIMIT, shown).is_some(), "{command}: {words}: {}", host.run(command));
    };
    // Before the first start, and with data.
    for _ in 0..2 {
        let restore =
            if host.is_running() { "keep infrad running" } else { "check the path in `LoadCredential=`" };
        damage(&host, "head -c 31 /dev/zero", &["/etc/infra/root.key has 31 bytes", restore]);
        if host.is_running() {
            // The daemon cannot read the file, and notices its length.
            becomes(
                &host,
                "runuser -u infrad -- infrad status",
                "degraded: /etc/infra/root.key has 31 bytes",
            );
        }
        damage(&host, "true", &["/etc/infra/root.key has 0 bytes", restore]);
        host.run("cp -a /root/copy /etc/infra/root.key; infrad check").expect(0);
        if !host.is_running() {
            host.start();
        }
    }
    becomes(&host, "infrad status", "state         ready\n");
    damage(
        &host,
        "head -c 32 /dev/zero",
        &["needs the root key", "heck the path in `LoadCredential=`", "#the-root-key-is-lost"],
    );
    // Only root can tell that it is another key.
    for command in ["infrad status", "infrad status --json"] {
        let status = host.run(command).expect(0).stdout;
        assert!(status.contains("degraded") && status.contains("needs the root key native:"), "{status}");
    }
    host.run("cp -a /root/copy /etc/infra/root.key").expect(0);
    becomes(&host, "infrad status", "state         ready\n");
    host.stop();
    damage(&host, "head -c 32 /dev/zero", &["/etc/infra/root.key may be another file"]);
    host.run("cp -a /root/copy /etc/infra/root.key").expect(0);
    host.start();
}

#[test]
fn open_root_key_is_not_taken_for_a_lost_one() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    for change in ["chmod 0644", "chmod 0640", "chown infrad:"] {
        host.run(&format!("{change} /etc/infra/root.key")).expect(0);
        let checked = host.run("infrad check").expect(1).stdout;
        assert!(
            checked.contains("`chown root: /etc/infra/root.key`, then `chmod 0400 "),
            "{change}: {checked}"
        );
        assert!(!checked.contains("recovery") && !checked.contains("has :"), "{change}: {checked}");
        // The daemon gets the key all the same.
        host.run("infrad as-service key status").expect(0);
        host.run("chown root: /etc/infra/root.key; chmod 0400 /etc/infra/root.key; infrad check").expect(0);
    }
}

#[test]
fn advice_keeps_what_protects_the_host() {
    let Some(host) = Host::new() else { return };
    let with = |line: &str, without: &str| {
        host.run(&format!("cp -a {CONFIGURATION} /root/sound; sed -i '/^{without}/d' {CONFIGURATION}; echo '{line}' >>{CONFIGURATION}"))
            .expect(0);
        let checked = host.run("infrad check").expect(1).stdout;
        host.run(&format!("cp -a /root/sound {CONFIGURATION}")).expect(0);
        checked
    };
    // The first example of docs/keys.md.
    let key = "keys: [{kind: native, config: {path: /etc/infra/root.key}}]";
    let checked = with(key, "keys");
    assert!(checked.contains("leave `keys` out") && !checked.contains("chown"), "{checked}");
    let checked = with(key, "rollbackGuardFile");
    let own = "`rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard`";
    assert!(checked.contains(own) && !checked.contains("ReadWritePaths"), "{checked}");
    let checked = with("dataDir: /var/cache", "dataDir");
    assert!(checked.contains("a directory of its own") && !checked.contains("chown"), "{checked}");
    assert!(!checked.contains("chmod") && !checked.contains("ReadWritePaths"), "{checked}");
    let checked = with("audit: {file: /etc/infra/audit.jsonl}", "audit");
    assert!(checked.contains("`audit: {file: /var/log/infrad/audit.jsonl}`"), "{checked}");
    assert!(!checked.contains("ReadWritePaths"), "{checked}");
}

/// Root reads every file, and the service does not.
#[test]
fn check_names_ca_file_that_service_cannot_read() {
    let Some(host) = Host::new() else { return };
    let authority = Authority::new();
    let pem = std::fs::read_to_string(authority.file()).expect("the CA");
    let database = "database: {kind: postgresql, hosts: [/run/postgresql], name: infra, user: infrad, caFile: /etc/infra/db-ca.pem}";
    host.run(&format!(
        "printf '%s' '{pem}' >/etc/infra/db-ca.pem; chown root:root /etc/infra/db-ca.pem; chmod 0600 /etc/infra/db-ca.pem
         sed -i '/^rollbackGuardFile/d' {CONFIGURATION}; echo '{database}' >>{CONFIGURATION}"
    ))
    .expect(0);
    let checked = host.run("infrad check").expect(1).stdout;
    assert!(checked.contains("failed   database: CA file /etc/infra/db-ca.pem"), "{checked}");
    host.run("chmod 0644 /etc/infra/db-ca.pem; infrad check").expect(0);
}

#[test]
fn root_is_no_judge_of_data_of_another_user() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    host.stop();
    host.run(&format!("cp -a {CONFIGURATION} /etc/infra/other.yaml")).expect(0);
    let other = host.run("infrad check --config /etc/infra/other.yaml").expect(1);
    assert!(other.stderr.contains("`infrad as-service check --config /etc/infra/other.yaml`"), "{other}");
    host.run("infrad as-service check --config /etc/infra/other.yaml").expect(0);
    // Without the unit, with the same data.
    host.run("rm /usr/lib/systemd/system/infrad.*; cp /etc/infra/root.key /root/copy; chown infrad: /etc/infra/root.key").expect(0);
    for command in ["check", "check --live"] {
        let ran = host.run(&format!("infrad {command}")).expect(1);
        assert!(ran.stderr.contains(&format!("`runuser -u infrad -- infrad {command}`")), "{ran}");
        assert!(!ran.to_string().contains("chown"), "{ran}");
    }
}

#[test]
fn moving_to_another_root_key_works_as_written() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    let fingerprint = host.fingerprint();
    let heading = "Another root key on a Debian host";
    let page = Page::read("docs/keys.md");
    let blocks: Vec<_> = page.blocks().into_iter().filter(|block| block.heading == heading).collect();
    let keys = blocks.iter().find(|block| block.language == "yaml").expect("the keys");
    let own = keys
        .text
        .lines()
        .filter(|line| !line.starts_with("rollbackGuardFile"))
        .collect::<Vec<_>>()
        .join("\n");
    for block in blocks.iter().filter(|block| block.language == "sh") {
        if block.text.starts_with("infrad as-service check --live") {
            host.run(&format!("cat >>{CONFIGURATION} <<'END'\n{own}\nEND")).expect(0);
        }
        if block.text.starts_with("printf") {
            // A credential without its file keeps the unit from starting, whether the configuration uses it or not.
            host.run(&format!(
                "sed -i '/service.root.key/d' {CONFIGURATION}; mv /etc/infra/root.key /root/old"
            ))
            .expect(0);
            let checked = host.run("infrad check").expect(1).stdout;
            assert!(checked.contains("failed   unit: credential root.key"), "{checked}");
            host.run("mv /root/old /etc/infra/root.key").expect(0);
        }
        host.type_in(&block.typed(), "");
    }
    assert!(host.is_running());
    assert_eq!(host.fingerprint(), fingerprint);
    host.run("test ! -e /etc/infra/root.key; infrad as-service key status | grep -q 'root2.key (wraps the data key)'")
        .expect(0);
}

#[test]
fn runbook_for_a_lost_root_key_works_as_written() {
    const PAGE: &str = "docs/runbooks.md";
    let Some(mut host) = Host::new() else { return };
    host.start();
    let fingerprint = host.fingerprint();
    // Damaged, and later gone.
    for loss in [
        "chmod 0600 /etc/infra/root.key; head -c 31 /dev/zero >/etc/infra/root.key",
        "rm /etc/infra/root.key",
    ] {
        host.run(&format!(
            "cp -a /etc/infra/root.key /root/root.key.copy; {loss}; rm -f /var/backups/infrad/*"
        ))
        .expect(0);
        let recovery = host.run("infrad key recovery create").expect(0).stdout;
        host.follow(PAGE, "With a copy of the root key", "");
        host.run(loss).expect(0);
        let checked = host.run("infrad check").expect(1).stdout;
        assert!(checked.contains("keep infrad running") && !checked.contains("recovery"), "{checked}");
        // A file that exists may be another one: only the runbook has the command.
        assert_eq!(checked.contains(RESTORE_KEPT), loss.starts_with("rm "), "{checked}");
        host.follow(PAGE, "While the daemon runs, with the Debian package", "");
        host.run("cmp /root/root.key.copy /etc/infra/root.key; test \"$(stat -c '%U %a' /etc/infra/root.key)\" = 'root 400'").expect(0);
        host.run(loss).expect(0);
        host.run("infrad backup /var/backups/infrad/before-recovery.backup").expect(0);
        host.follow(PAGE, "With the recovery key", &recovery);
        assert!(host.is_running());
        assert_eq!(host.fingerprint(), fingerprint);
        host.run("infrad check; test \"$(stat -c '%U %a' /etc/infra/root.key)\" = 'root 400'").expect(0);
        // As the service: the backup of root is its user's.
        host.run_with(
            "infrad as-service backup verify /var/backups/infrad/before-recovery.backup --recovery",
            &recovery,
        )
        .expect(0);
    }
    let blocks = Page::read(PAGE).blocks();
    let block = blocks.iter().find(|block| block.heading == "With neither").expect("the commands");
    host.type_in(&block.typed(), "");
    assert!(host.is_running());
    assert_ne!(host.fingerprint(), fingerprint);
    host.run("infrad check").expect(0);
}

#[test]
fn missing_root_key_degrades_status_of_the_unit() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    host.run("mv /etc/infra/root.key /root/copy").expect(0);
    let status = || {
        let shown = host.run("infrad status").expect(0).stdout;
        shown
            .contains("state         degraded: /etc/infra/root.key is missing; infrad cannot start again")
            .then_some(shown)
    };
    assert!(wait::until(LIMIT, status).is_some(), "{}", host.run("infrad status"));
    let shown = host.run("infrad key status").expect(0).stdout;
    let role = "systemd credential root.key (missing: check its path, or restore /etc/infra/root.key before infrad stops)";
    assert!(shown.contains(role), "{shown}");
}

#[test]
fn moving_to_another_host_works_as_written() {
    let Some(mut old) = Host::new() else { return };
    let Some(mut new) = old.another() else { return };
    old.start();
    let fingerprint = old.fingerprint();
    let head = old.run("infrad as-service audit verify --json").expect(0).json()["head"].clone();
    let heading = "Another host, with everything on it";
    let page = Page::read("docs/moving.md");
    let blocks: Vec<_> = page.blocks().into_iter().filter(|block| block.heading == heading).collect();
    let [stop, copy, start] = blocks.as_slice() else { panic!("other steps: {blocks:?}") };
    old.type_in(&stop.typed(), "");
    assert!(!old.is_running());
    old.type_in(&copy.typed(), "");
    // What `ssh` would run there.
    let (_, received) = copy.text.split_once("ssh root@new.example.com ").expect("the other host");
    let moved = old.moved();
    new.run(&format!("{} <{}", received.trim(), moved.display())).expect(0);
    new.type_in(&start.typed(), "");
    assert!(new.is_running());
    assert_eq!(new.fingerprint(), fingerprint);
    new.run(&format!("infrad as-service audit verify --head {}", head.as_str().expect("a head"))).expect(0);
}

#[test]
fn backup_that_was_copied_here_names_its_fix() {
    const BACKUP: &str = "/var/backups/infrad/a.backup";
    let Some(mut host) = Host::new() else { return };
    host.start();
    host.run(&format!("infrad key recovery create; infrad as-service backup {BACKUP}")).expect(0);
    let verify = format!("infrad as-service backup verify {BACKUP}");
    host.run(&format!("{verify}; chown root: {BACKUP}")).expect(0);
    host.run(&verify).expect(1).stderr_contains(&[&format!("`chown infrad: {BACKUP}`, as root")]);
    // The package of the new host has made another root key.
    host.run(&format!(
        "chown infrad: {BACKUP}; rm /etc/infra/root.key; head -c 32 /dev/urandom >/etc/infra/root.key"
    ))
    .expect(0);
    host.run(&verify).expect(1).stderr_contains(&["add the root key of the backup there"]);
}

#[test]
fn root_asks_the_running_daemon_without_the_unit() {
    let Some(mut host) = Host::new() else { return };
    host.start();
    let fingerprint = host.fingerprint();
    host.run("rm /usr/lib/systemd/system/infrad.*").expect(0);
    for command in
        ["status", "sessions list", "key status", "ca print", "backup /var/backups/infrad/a.backup"]
    {
        host.run(&format!("infrad {command}")).expect(0);
    }
    assert!(host.run("infrad fingerprint").expect(0).stdout.contains(&fingerprint));
    host.stop();
    let refused = host.run("infrad fingerprint").expect(1);
    assert!(refused.stderr.contains("runuser -u infrad -- "), "{refused}");
}
