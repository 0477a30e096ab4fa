//! Root keys on real servers, moves between them, and data key rotation, with sessions alive throughout.

#![expect(clippy::indexing_slicing, reason = "a test panics whenever it has to fail")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::daemon::Daemon;
use infra_harness::documents::Page;
use infra_harness::login::{self, Started};
use infra_harness::provider::Provider;
use infra_harness::{ports::Ports, skip, wait};
use infra_peers::moto::{AccessKey, Moto, REGION};
use infra_peers::openbao::OpenBao;
use infra_peers::root_keys::{TRANSIT_POLICY, kms_key, native, transit_key};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_mins(1);

fn prepared(provider: &Provider) -> Daemon {
    Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(provider)], |_| {})
}

/// Creates a transit key in OpenBao and returns its configuration entry.
fn transit(bao: &OpenBao, derived: bool) -> String {
    transit_key(bao, derived);
    let token = bao.token(TRANSIT_POLICY, "1h");
    format!(
        "{{kind: vault, config: {{address: \"{}\", caFile: {}, token: \"plaintext:{token}\", key: infrad}}}}",
        bao.address(),
        bao.authority_file().display()
    )
}

/// Creates a KMS key in moto, which then checks signatures and policies. Returns its configuration entry and a user who
/// may use it.
fn kms(moto: &Moto) -> (String, AccessKey) {
    let user = kms_key(moto);
    (kms_entry(moto, "alias/infrad", &user), user)
}

fn kms_entry(moto: &Moto, key_id: &str, user: &AccessKey) -> String {
    format!(
        "{{kind: awskms, config: {{keyID: {key_id}, region: {REGION}, endpoint: \"{}\", accessKeyID: \
         \"plaintext:{}\", secretAccessKey: \"plaintext:{}\"}}}}",
        moto.endpoint(),
        user.id,
        user.secret
    )
}

#[track_caller]
fn assert_live(daemon: &Daemon, token: &str) {
    let answered = daemon.api().get_as("/v1/session", token);
    assert_eq!(answered.status, 200, "{answered:?}\n{}", daemon.log());
}

fn key_status(daemon: &Daemon) -> Value {
    daemon.infrad(["key", "status", "--json"]).wait().expect(0).json()
}

#[test]
fn sessions_survive_root_key_moves_to_vault_and_kms_and_back() {
    let provider = Provider::start();
    let (Some(bao), Some(moto)) = (OpenBao::start(), Moto::start()) else { return };
    let mut daemon = prepared(&provider);
    let next = daemon.directory().join("next/root.key");
    let (first, vault, (kms, _), last) =
        (native(&daemon.root_key()), transit(&bao, false), kms(&moto), native(&next));
    create_root_key(&next);
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);

    for (root_key, previous, id) in
        [(&vault, &first, "vault:https://"), (&kms, &vault, "awskms:alias/infrad"), (&last, &kms, "native:")]
    {
        // The operator puts the next key before the current one and rewraps, while the daemon runs.
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{root_key}, {previous}]")));
        daemon.infrad(["key", "rewrap"]).wait().expect(0);
        let status = key_status(&daemon);
        assert!(status["rootKey"].as_str().is_some_and(|now| now.starts_with(id)), "{status}");
        assert_live(&daemon, &token);
        // From now on, the new key alone is enough.
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{root_key}]")));
        daemon.restart();
        assert_live(&daemon, &token);
    }
    // The key that wrapped it before no longer opens it.
    daemon.stop();
    daemon.change(|configuration| configuration.root_keys = Some(format!("[{first}]")));
    daemon.infrad(["serve"]).wait().expect(1).stderr_contains(&["needs the root key native:"]);
}

#[test]
fn key_status_names_root_key_that_wraps_data_key() {
    let provider = Provider::start();
    let mut daemon = prepared(&provider);
    let (first, next) = (daemon.root_key(), daemon.directory().join("next/root.key"));
    daemon.start_again();
    daemon.change(|configuration| {
        configuration.root_keys = Some(format!("[{}, {}]", native(&next), native(&first)));
    });
    let expect = |role_of_next: &str, role_of_first: &str| {
        let shown = daemon.infrad(["key", "status"]).wait().expect(0);
        for (path, role) in [(&next, role_of_next), (&first, role_of_first)] {
            assert!(shown.stdout.contains(&format!(" {} ({role})\n", path.display())), "{role}: {shown}");
        }
    };
    let create = format!("missing: create {} before `infrad key rewrap`", next.display());
    expect(&create, "wraps the data key");
    create_root_key(&next);
    expect("unused until you run `infrad key rewrap`", "wraps the data key");
    let wrapped_by = |daemon: &Daemon| key_status(daemon)["rootKey"].as_str().unwrap_or_default().to_owned();
    let before = wrapped_by(&daemon);
    let backups =
        format!("backups made before need the root key {before}: keep it, or make a new backup now");
    daemon.infrad(["key", "rewrap"]).wait().expect(0).stderr_contains(&[&backups]);
    // The same key again cuts off no backup.
    let again = daemon.infrad(["key", "rewrap"]).wait().expect(0);
    assert!(!again.stderr.contains("backups made before"), "{again}");
    assert_ne!(wrapped_by(&daemon), before);
    expect("wraps the data key", "may open older backups");
}

/// Creates a native root key as the pages say.
fn create_root_key(path: &Path) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    let script = format!("(umask 377; set -C; head -c 32 /dev/urandom >{})", path.display());
    assert!(
        Command::new("sh").args(["-c", &script]).status().is_ok_and(|status| status.success()),
        "{script}"
    );
}

#[test]
fn rewrap_refuses_root_key_that_is_missing() {
    let provider = Provider::start();
    let mut daemon = prepared(&provider);
    let (first, mistyped) = (daemon.root_key(), daemon.directory().join("keys/rooot.key"));
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);
    daemon.wait_for_log("created the root key: keep a copy away from this host");
    let before = key_status(&daemon);
    daemon.change(|configuration| {
        configuration.root_keys = Some(format!("[{}, {}]", native(&mistyped), native(&first)));
    });
    let refuse = |daemon: &Daemon| {
        for command in ["rewrap", "rotate"] {
            let ran = daemon.infrad(["key", command]).wait().expect(1);
            let missing = format!("root key: {} is missing: check its path in `keys`", mistyped.display());
            let create = format!("head -c 32 /dev/urandom >{})`", mistyped.display());
            ran.stderr_contains(&[
                &missing,
                "try: correct the path in `keys`, or restore the file from its copy",
                &create,
            ]);
        }
        let checked = daemon.infrad(["check"]).wait().expect(0).stdout;
        assert!(checked.contains(&format!("root key: {} (missing)\n", mistyped.display())), "{checked}");
        assert!(!mistyped.exists());
    };
    refuse(&daemon);
    assert_eq!(key_status(&daemon), before);
    assert_live(&daemon, &token);
    daemon.stop();
    refuse(&daemon);
    // A restore wraps as well.
    daemon.infrad(["backup", "kept"]).wait().expect(0);
    daemon.infrad(["restore", "kept"]).wait().expect(1).stderr_contains(&["is missing: check its path"]);
    daemon.start_again();
    assert_live(&daemon, &token);
}

/// A host without the unit: the daemon holds the data key, so that a new root key can be made.
#[test]
fn lost_root_key_of_running_daemon_is_replaced() {
    let provider = Provider::start();
    let ports = Ports::reserve(1);
    let metrics = format!("127.0.0.1:{}", ports.all()[0]);
    let mut daemon = prepared(&provider);
    daemon.change(|configuration| configuration.more = format!("metrics: {{listen: \"{metrics}\"}}\n"));
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);
    let created = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    let gauge = |value| get(&metrics, "/metrics").1.contains(&format!("infrad_root_key_missing {value}\n"));
    assert!(gauge(0));
    let path = daemon.root_key();
    let (root_key, copy) = (path.display(), daemon.directory().join("copy"));
    std::fs::rename(&path, &copy).expect("the root key");

    // Each command says so, and none leads to a stop.
    let degraded = format!("state         degraded: {root_key} is missing, and ");
    let is_degraded =
        || Some(daemon.infrad(["status"]).wait().expect(0).stdout).filter(|it| it.contains(&degraded));
    let status = wait::until(LIMIT, is_degraded).unwrap_or_else(|| panic!("{}", daemon.log()));
    for words in ["; infrad cannot start again: keep it running", "docs/runbooks.md#the-root-key-is-lost"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
    let problem = status["rootKeyProblem"].as_str().unwrap_or_default();
    assert!(problem.starts_with(&format!("{root_key} is missing, and ")), "{status}");
    assert_eq!(status["state"], json!("degraded"));
    assert!(status["reason"].as_str().is_some_and(|reason| reason.starts_with(problem)), "{status}");
    assert!(gauge(1));
    daemon.wait_for_log("this daemon cannot start again with the root key in its configuration");
    let shown = daemon.infrad(["key", "status"]).wait().expect(0).stdout;
    assert!(
        shown.contains(&format!(
            " {root_key} (missing: check its path, or restore {root_key} before infrad stops)\n"
        )),
        "{shown}"
    );
    for words in [&["check"][..], &["check", "--live"]] {
        let checked = daemon.infrad_slice_with_input(words, "").wait();
        for words in ["try: keep infrad running", "then run `infrad key rewrap`", "head -c 32 /dev/urandom"] {
            assert!(checked.code == Some(1) && checked.stdout.contains(words), "{words}: {checked}");
        }
        assert!(!checked.stdout.contains("--recovery"), "{checked}");
    }
    let words = [
        "try: keep it running",
        "without the recovery key",
        "test the recovery key first",
        "stop it with `kill ",
    ];
    daemon
        .infrad_with_input(["key", "rewrap", "--recovery"], created.stdout.trim())
        .wait()
        .expect(1)
        .stderr_contains(&words);

    // The file comes back.
    std::fs::rename(&copy, &path).expect("the root key");
    let is_ready =
        || daemon.infrad(["status"]).wait().expect(0).stdout.contains("state         ready\n").then_some(());
    assert!(wait::until(LIMIT, is_ready).is_some(), "{}", daemon.log());
    assert!(gauge(0));

    // Or it does not, and another one is made.
    std::fs::remove_file(&path).expect("the root key");
    daemon.infrad(["key", "rewrap"]).wait().expect(1).stderr_contains(&["is missing: check its path"]);
    let heading = "While the daemon runs, without the package";
    let blocks = Page::read("docs/runbooks.md").blocks();
    let block = blocks.iter().find(|block| block.heading == heading).expect("the runbook");
    for line in block.typed().lines() {
        let line = line.replace("/etc/infra/root.key", &path.display().to_string());
        match line.strip_prefix("infrad ") {
            Some(words) => {
                let words: Vec<&str> = words.split(' ').collect();
                daemon.infrad_slice_with_input(&words, "").wait().expect(0);
            }
            None => assert!(
                Command::new("sh").args(["-euc", &line]).status().is_ok_and(|it| it.success()),
                "{line}"
            ),
        }
    }
    daemon.restart();
    assert_live(&daemon, &token);
}

#[test]
fn transit_wrapping_opens_only_for_its_own_store() {
    let provider = Provider::start();
    let Some(bao) = OpenBao::start() else { return };
    let vault = transit(&bao, true);
    let mut daemons = [prepared(&provider), prepared(&provider)];
    for daemon in &mut daemons {
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{vault}]")));
        daemon.start_again();
        daemon.restart();
        daemon.stop();
    }
    let [one, other] = &daemons;
    exchange_wrapped_keys(one, other);
    one.infrad(["serve"]).wait().expect(1).stderr_contains(&["cannot unwrap", "vault:https://"]);
}

#[test]
fn kms_wrapping_opens_only_with_context_and_permission() {
    let provider = Provider::start();
    let Some(moto) = Moto::start() else { return };
    let other_user =
        moto.user("stranger", &json!({"Effect": "Allow", "Action": ["kms:List*"], "Resource": "*"}));
    let (entry, user) = kms(&moto);
    let mut daemons = [prepared(&provider), prepared(&provider)];
    for daemon in &mut daemons {
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{entry}]")));
        daemon.start_again();
        daemon.restart();
        daemon.stop();
    }
    let [one, other] = &mut daemons;
    for (key, expected) in [
        (kms_entry(&moto, "alias/infrad", &other_user), "AccessDenied"),
        (kms_entry(&moto, "alias/none", &user), "NotFound"),
        (kms_entry(&moto, "alias/infrad", &AccessKey { secret: "wrong".to_owned(), ..user }), "status 403"),
    ] {
        one.change(|configuration| configuration.root_keys = Some(format!("[{key}]")));
        let ran = one.infrad(["serve"]).wait().expect(1);
        assert!(ran.stderr.contains("awskms:"), "{expected}: {ran}");
    }
    one.change(|configuration| configuration.root_keys = Some(format!("[{entry}]")));
    exchange_wrapped_keys(one, other);
    one.infrad(["serve"]).wait().expect(1).stderr_contains(&["cannot unwrap", "awskms:alias/infrad"]);
}

#[test]
fn kms_encryption_context_names_store() {
    let provider = Provider::start();
    // This moto checks no signatures, so that the test can call it too.
    let Some(moto) = Moto::start() else { return };
    let key = moto.call("TrentService.CreateKey", &json!({}));
    let id = key["KeyMetadata"]["KeyId"].as_str().expect("a key").to_owned();
    let any_key = AccessKey { id: "AKIAANYBODY".to_owned(), secret: "any".to_owned() };
    let mut daemon = prepared(&provider);
    daemon.change(|configuration| {
        configuration.root_keys = Some(format!("[{}]", kms_entry(&moto, &id, &any_key)));
    });
    daemon.start_again();
    let header: Value =
        serde_json::from_slice(&std::fs::read(daemon.data_dir().join("keys.json")).expect("a header"))
            .expect("JSON");
    let wrapped =
        BASE64_STANDARD.decode(header["wrappedDataKey"].as_str().expect("a wrapping")).expect("Base64");
    let length = usize::from(u16::from_be_bytes([wrapped[0], wrapped[1]]));
    let encrypted = BASE64_STANDARD.encode(&wrapped[2..2 + length]);
    let store = header["store"].as_str().expect("a store");
    let decrypt = |context: &Value| {
        let body = json!({"KeyId": id, "CiphertextBlob": encrypted, "EncryptionContext": context});
        moto.try_call("TrentService.Decrypt", &body).0
    };
    assert_eq!(decrypt(&json!({"infra": format!("infra data key v1 of store {store}")})), 200);
    for wrong in [json!({}), json!({"infra": "infra data key v1 of store 0"}), json!({"other": store})] {
        assert_eq!(decrypt(&wrong), 400, "{wrong}");
    }
}

/// Replaces the wrapped data key of `to` with that of `from`.
fn exchange_wrapped_keys(to: &Daemon, from: &Daemon) {
    let read = |daemon: &Daemon| -> Value {
        let text = std::fs::read(daemon.data_dir().join("keys.json")).expect("a header");
        serde_json::from_slice(&text).expect("JSON")
    };
    let mut header = read(to);
    header["wrappedDataKey"] = read(from)["wrappedDataKey"].clone();
    std::fs::write(to.data_dir().join("keys.json"), header.to_string()).expect("a header");
}

#[test]
fn rotation_keeps_sessions_and_pending_logins() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let pin = daemon.pin();
    let pending = Started::at(&daemon);
    daemon.infrad(["key", "rotate"]).wait().expect(0).stderr_contains(&["data key 2"]);
    assert_live(&daemon, &token);
    assert_eq!(pending.finish(&pending.sign_in(&provider)).status, 201, "{}", daemon.log());
    login::over_http(&daemon, &provider);
    let names = databases(&daemon);
    assert!(names.iter().all(|name| name.starts_with("infrad-2.db")), "{names:?}");

    let pending = Started::at(&daemon);
    daemon.stop();
    daemon.infrad(["key", "rotate"]).wait().expect(0).stderr_contains(&["data key 3"]);
    daemon.start_again();
    assert_eq!(daemon.pin(), pin, "users would have to trust the daemon again");
    assert_live(&daemon, &token);
    assert_eq!(pending.finish(&pending.sign_in(&provider)).status, 201, "{}", daemon.log());
}

fn databases(daemon: &Daemon) -> Vec<String> {
    let entries = std::fs::read_dir(daemon.data_dir()).expect("the data directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".db")).collect()
}

#[test]
fn start_waits_for_root_key_which_is_not_needed_later() {
    let provider = Provider::start();
    let Some(mut bao) = OpenBao::start() else { return };
    let metrics = Ports::reserve(1);
    let monitoring = format!("http://127.0.0.1:{}", metrics.all()[0]);
    let mut daemon = prepared(&provider);
    let vault = transit(&bao, false);
    daemon.change(|configuration| {
        configuration.root_keys = Some(format!("[{vault}]"));
        configuration.more =
            format!("metrics: {{listen: \"{}\"}}\n", monitoring.trim_start_matches("http://"));
    });
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);
    assert_eq!(get(&monitoring, "/readyz").0, 204);
    let (_, text) = get(&monitoring, "/metrics");
    assert!(text.contains("infrad_secret_reads_total{purpose=\"exchange\"} 1\n"), "{text}");
    let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
    assert_eq!((&status["state"], &status["liveSessions"]), (&json!("ready"), &json!(1)));
    assert_eq!(status["secretReads"]["exchange"], 1);

    bao.seal();
    assert_live(&daemon, &token);
    login::over_http(&daemon, &provider);
    daemon.infrad(["key", "rewrap"]).wait().expect(4).stderr_contains(&["sealed"]);
    bao.stop();
    assert_live(&daemon, &token);
    assert_eq!(get(&monitoring, "/readyz").0, 204);

    daemon.stop();
    let mut waiting = daemon.infrad(["serve"]);
    let names_cause = |(status, cause): &(u16, String)| *status == 503 && cause.contains("cannot be reached");
    let reported = wait::until(LIMIT, || Some(get(&monitoring, "/readyz")).filter(names_cause));
    assert!(reported.is_some(), "{:?}\n{}", get(&monitoring, "/readyz"), waiting.output());
    // SIGHUP has nothing to reload yet, and must not end the daemon.
    waiting.signal(rustix::process::Signal::HUP);
    assert_eq!(get(&monitoring, "/healthz").0, 204);
    let status = daemon.infrad(["status"]).wait().expect(4);
    assert!(status.stdout.contains("waiting: the root key vault:https://"), "{status}");
    waiting.signal(rustix::process::Signal::TERM);
    assert_eq!(waiting.wait_for_end(LIMIT), Some(Some(0)), "{}", waiting.output());
}

/// Returns status and body over plain HTTP, or 0 if there is no answer.
fn get(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let get = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = get().unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[test]
fn live_check_tests_every_dependency() {
    let Some(provider) = infra_peers::certified_provider::CertifiedProvider::start(
        infra_peers::certified_provider::Paths::Custom,
    ) else {
        return;
    };
    let mut daemon = Daemon::prepare(vec![provider.entry("client_secret_basic")], |_| {});
    let check = |daemon: &Daemon, code| daemon.infrad(["check", "--live", "--json"]).wait().expect(code);
    let result = |ran: &infra_harness::program::Ran, about: &str| -> Vec<String> {
        let checks = ran.json()["checks"].as_array().expect("checks").clone();
        let of = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
        checks
            .iter()
            .filter(|check| of(check, "check").starts_with(about))
            .map(|check| of(check, "status"))
            .collect()
    };
    daemon.change(|configuration| configuration.redirect_ports = vec![8301]);
    daemon.start_again();
    let good = check(&daemon, 0);
    for about in ["/", "unwraps", "client secret", "discovery", "signing keys", "client authentication"] {
        assert_eq!(result(&good, about), ["ok"], "{about}: {good}");
    }
    assert_eq!(result(&good, "redirect URI"), ["ok"], "{good}");
    let table = daemon.infrad(["check", "--live"]).wait().expect(0);
    assert!(table.stdout.contains("ok       provider okta: client authentication"), "{table}");
    assert!(table.stdout.ends_with(" checks: all ok\n"), "{table}");

    let secret = "wrong-secret-0123456789";
    daemon.change(|configuration| configuration.providers[0].client_secret = secret.to_owned());
    let ran = check(&daemon, 1);
    assert_eq!(result(&ran, "client authentication"), ["failed"], "{ran}");
    assert!(ran.stdout.contains("invalid_client") && !ran.stdout.contains(secret), "{ran}");
    daemon.change(|configuration| {
        configuration.providers[0].client_secret_reference = Some("file:/nonexistent".to_owned());
    });
    let ran = check(&daemon, 1);
    assert_eq!(result(&ran, "client secret"), ["failed"], "{ran}");
    daemon.change(|configuration| {
        configuration.providers[0].client_secret_reference = None;
        configuration.providers[0].issuer = "https://127.0.0.1:1/oauth2/default".to_owned();
    });
    let ran = check(&daemon, 4);
    assert_eq!(result(&ran, "discovery"), ["failed"], "{ran}");
}

#[test]
fn inaccessible_store_is_not_reported_missing() {
    if !rustix::process::geteuid().is_root() {
        return skip::report("only root can be kept from files of its own machine");
    }
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    daemon.stop();
    std::os::unix::fs::chown(daemon.data_dir(), Some(65534), Some(65534)).expect("another owner");
    for arguments in [&["key", "status"][..], &["status"]] {
        // Root without capabilities sees only what other users see.
        let mut confined = Command::new("setpriv");
        confined.args(["--bounding-set=-all", "--inh-caps=-all"]);
        let ran = daemon.infrad_under(confined, arguments).wait().expect(1);
        let ran = ran.stderr_contains(&["cannot read", "permission denied", "run the same command as root"]);
        assert!(!ran.stderr.contains("infrad serve"), "{ran}");
    }
}
