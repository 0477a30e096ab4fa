//! Root keys on real servers, moves between them, rotation, backups, recovery: with sessions alive where they should be.

#![expect(clippy::indexing_slicing, reason = "a test panics whenever it has to fail")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use infra_harness::daemon::Daemon;
use infra_harness::login::{self, Started};
use infra_harness::moto::{AccessKey, Moto, REGION};
use infra_harness::openbao::OpenBao;
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::{ports::Ports, wait};
use serde_json::{Value, json};

const MOMENT: Duration = Duration::from_secs(20);

fn prepared(provider: &Provider) -> Daemon {
    Daemon::prepare(vec![infra_harness::daemon::ProviderEntry::of(provider)], |_| {})
}

fn native(path: &Path) -> String {
    format!("{{kind: native, config: {{path: {}}}}}", path.display())
}

/// A transit key of OpenBao, and the entry of a configuration for it.
fn transit(bao: &OpenBao, derived: bool) -> String {
    bao.call("sys/mounts/transit", Some(json!({"type": "transit"})));
    bao.call("transit/keys/infrad", Some(json!({"type": "aes256-gcm96", "derived": derived})));
    let policy = r#"path "transit/encrypt/infrad" { capabilities = ["update"] }
path "transit/decrypt/infrad" { capabilities = ["update"] }"#;
    let token = bao.token(policy, "1h");
    format!(
        "{{kind: vault, config: {{address: \"{}\", caFile: {}, token: \"plaintext:{token}\", key: infrad}}}}",
        bao.address(),
        bao.authority_file().display()
    )
}

/// A key of KMS in moto, which checks everything, a user who may use it, and the entry of a configuration for it.
fn kms(moto: &Moto) -> (String, AccessKey) {
    let key = moto.call("TrentService.CreateKey", &json!({}));
    let id = key["KeyMetadata"]["KeyId"].as_str().expect("a key").to_owned();
    moto.call("TrentService.CreateAlias", &json!({"AliasName": "alias/infrad", "TargetKeyId": id}));
    let statement =
        json!({"Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*"});
    let user = moto.user("infrad", &statement);
    moto.check_signatures();
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
fn sessions_live_through_a_move_from_native_to_vault_to_kms_and_back() {
    let provider = Provider::start();
    let (Some(bao), Some(moto)) = (OpenBao::start(), Moto::start()) else { return };
    let mut daemon = prepared(&provider);
    let next = daemon.directory().join("next/root.key");
    let (first, vault, (kms, _), last) =
        (native(&daemon.root_key()), transit(&bao, false), kms(&moto), native(&next));
    daemon.start_again();
    let token = login::over_http(&daemon, &provider);

    for (root_key, previous, id) in
        [(&vault, &first, "vault:https://"), (&kms, &vault, "awskms:alias/infrad"), (&last, &kms, "native:")]
    {
        // The operator adds the next key before the present one, and says so; the daemon runs all the time.
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{root_key}, {previous}]")));
        daemon.infrad(["key", "rewrap"]).wait().expect(0);
        let status = key_status(&daemon);
        assert!(status["rootKey"].as_str().is_some_and(|now| now.starts_with(id)), "{status}");
        assert_live(&daemon, &token);
        // From now on the new key alone is enough.
        daemon.change(|configuration| configuration.root_keys = Some(format!("[{root_key}]")));
        daemon.restart();
        assert_live(&daemon, &token);
    }
    // What wrapped it before does not open it any more.
    daemon.stop();
    daemon.change(|configuration| configuration.root_keys = Some(format!("[{first}]")));
    daemon.infrad(["serve"]).wait().expect(1).telling(&["encrypted under the root key native:"]);
}

#[test]
fn a_derived_transit_key_wraps_too_and_a_wrapping_opens_for_its_own_store_only() {
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
    one.infrad(["serve"]).wait().expect(1).telling(&["does not", "vault:https://"]);
}

#[test]
fn kms_opens_for_the_right_context_and_for_who_may_use_it() {
    let provider = Provider::start();
    let Some(moto) = Moto::start() else { return };
    let stranger =
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
        (kms_entry(&moto, "alias/infrad", &stranger), "AccessDenied"),
        (kms_entry(&moto, "alias/none", &user), "NotFound"),
        (kms_entry(&moto, "alias/infrad", &AccessKey { secret: "wrong".to_owned(), ..user }), "status 403"),
    ] {
        one.change(|configuration| configuration.root_keys = Some(format!("[{key}]")));
        let ran = one.infrad(["serve"]).wait().expect(1);
        assert!(ran.stderr.contains("awskms:"), "{expected}: {ran}");
    }
    one.change(|configuration| configuration.root_keys = Some(format!("[{entry}]")));
    exchange_wrapped_keys(one, other);
    one.infrad(["serve"]).wait().expect(1).telling(&["does not", "awskms:alias/infrad"]);
}

#[test]
fn kms_is_told_for_which_store_it_wraps() {
    let provider = Provider::start();
    // Believing everybody, so that the test can ask it too.
    let Some(moto) = Moto::start() else { return };
    let key = moto.call("TrentService.CreateKey", &json!({}));
    let id = key["KeyMetadata"]["KeyId"].as_str().expect("a key").to_owned();
    let anybody = AccessKey { id: "AKIAANYBODY".to_owned(), secret: "any".to_owned() };
    let mut daemon = prepared(&provider);
    daemon.change(|configuration| {
        configuration.root_keys = Some(format!("[{}]", kms_entry(&moto, &id, &anybody)));
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

/// Puts the wrapped data key of `from` in the place of that of `to`.
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
fn a_rotation_keeps_sessions_and_pending_logins_while_the_daemon_runs_or_not() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    let pin = daemon.pin();
    let pending = Started::at(&daemon);
    daemon.infrad(["key", "rotate"]).wait().expect(0).telling(&["data key 2"]);
    assert_live(&daemon, &token);
    assert_eq!(pending.finish(&pending.sign_in(&provider)).status, 201, "{}", daemon.log());
    login::over_http(&daemon, &provider);
    let names = databases(&daemon);
    assert!(names.iter().all(|name| name.starts_with("infrad-2.db")), "{names:?}");

    let pending = Started::at(&daemon);
    daemon.stop();
    daemon.infrad(["key", "rotate"]).wait().expect(0).telling(&["data key 3"]);
    daemon.start_again();
    assert_eq!(daemon.pin(), pin, "users would be asked anew");
    assert_live(&daemon, &token);
    assert_eq!(pending.finish(&pending.sign_in(&provider)).status, 201, "{}", daemon.log());
}

fn databases(daemon: &Daemon) -> Vec<String> {
    let entries = std::fs::read_dir(daemon.data_dir()).expect("the data directory").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.contains(".db")).collect()
}

/// The commands of the page's part on recovery: those of today, and those of the day when all is lost.
fn drill() -> [Vec<String>; 2] {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keys.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, drill) = page.split_once("<!-- recovery drill").expect("the part on recovery");
    let (today, then) = drill.split_once("### When").expect("two parts");
    [today, then]
        .map(|part| part.lines().filter(|line| line.starts_with("infrad ")).map(ToOwned::to_owned).collect())
}

#[test]
fn the_page_on_recovery_works_as_it_is_written() {
    let provider = Provider::start();
    let backups = tempfile::tempdir().expect("a directory");
    let [today, then] = drill();
    assert_eq!((today.len(), then.len()), (3, 3));
    let mut key = String::new();
    let mut follow = |daemon: &mut Daemon, line: &str| {
        if line == "infrad serve" {
            return daemon.start_again();
        }
        let line = line.replace("/backups", &backups.path().display().to_string());
        let words: Vec<&str> = line.split(' ').skip(1).collect();
        let ran = daemon.infrad_told_words(&words, &key).wait().expect(0);
        if line.ends_with("recovery create") {
            ran.stdout.trim().clone_into(&mut key);
        }
    };
    let mut daemon = Daemon::start(&provider);
    for line in &today {
        follow(&mut daemon, line);
    }
    drop(daemon);
    let mut host = prepared(&provider);
    for line in &then {
        follow(&mut host, line);
    }
    login::over_http(&host, &provider);
}

/// In detail: make a recovery key, make a backup; the host and the root key are lost; restore on an empty host.
#[test]
fn a_store_comes_back_on_an_empty_host_from_a_backup_and_the_printed_key_alone() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let (token, pin) = (login::over_http(&daemon, &provider), daemon.pin());
    daemon.infrad(["backup", "too-early"]).wait().expect(0);
    let ran = daemon.infrad(["key", "recovery", "create"]).wait().expect(0);
    let key = ran.stdout.trim().to_owned();
    assert_eq!(key.len(), 69, "{ran}");
    daemon.infrad_told(["key", "recovery", "test"], &key.to_lowercase()).wait().expect(0);
    daemon.infrad_told(["key", "recovery", "test"], &key.replace('-', " ")).wait().expect(0);
    daemon.infrad_told(["key", "recovery", "test"], "AAAA").wait().expect(2).telling(&["56 letters"]);
    // A rotation needs no printed key, and the printed key goes on.
    daemon.infrad(["key", "rotate"]).wait().expect(0);
    daemon.infrad_told(["key", "recovery", "test"], &key).wait().expect(0);
    daemon.infrad(["backup", "kept.backup"]).wait().expect(0);
    daemon.infrad(["backup", "kept.backup"]).wait().expect(2).telling(&["is there already"]);

    let mut host = prepared(&provider);
    for file in ["kept.backup", "too-early"] {
        std::fs::copy(daemon.directory().join(file), host.directory().join(file)).expect("a copy");
    }
    drop(daemon);
    host.infrad(["backup", "verify", "kept.backup"]).wait().expect(1);
    host.infrad_told(["backup", "verify", "kept.backup", "--recovery"], &key).wait().expect(0);
    host.infrad_told(["restore", "too-early", "--recovery"], &key)
        .wait()
        .expect(1)
        .telling(&["no recovery key"]);
    assert!(!host.data_dir().join("keys.json").exists());
    host.infrad_told(["restore", "kept.backup", "--recovery"], &key)
        .wait()
        .expect(0)
        .telling(&["ended the 1 sessions"]);
    host.start_again();
    assert_eq!(host.pin(), pin, "users would be asked anew");
    let answered = host.api().get_as("/v1/session", &token);
    assert_eq!((answered.status, answered.json()["code"].as_str()), (401, Some("session_revoked")));
    login::over_http(&host, &provider);
    // The printed key opens what was restored, too.
    host.infrad_told(["key", "recovery", "test"], &key).wait().expect(0);
}

#[test]
fn a_backup_that_was_changed_anywhere_is_refused_and_nothing_is_replaced() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["backup", "good"]).wait().expect(0);
    daemon.infrad(["restore", "good"]).wait().expect(1).telling(&["in use by another infrad"]);
    daemon.stop();
    let good = std::fs::read(daemon.directory().join("good")).expect("a backup");
    let before = std::fs::read(daemon.data_dir().join("keys.json")).expect("a header");
    let step = good.len() / 40;
    let changed = (0..40).map(|part| part * step).map(|position| {
        let mut bad = good.clone();
        bad[position] ^= 1;
        bad
    });
    let cut = [0, 15, 400, good.len() / 2, good.len() - 1].map(|length| good[..length].to_vec());
    let longer = [good.iter().copied().chain([0]).collect()];
    // What it says of itself: nothing but the keyed hash tells that this was changed.
    let said = concat!("\"version\":\"", env!("CARGO_PKG_VERSION"), "\"").as_bytes();
    let place = good.windows(said.len()).position(|part| part == said).expect("its version");
    let mut other_version = good.clone();
    other_version[place + said.len() - 2] ^= 1;
    for bad in changed.chain(cut).chain(longer).chain([other_version]) {
        std::fs::write(daemon.directory().join("bad"), &bad).expect("a file");
        let ran = daemon.infrad(["restore", "bad"]).wait().expect(1);
        assert!(ran.stderr.contains("backup"), "{ran}");
    }
    assert_eq!(std::fs::read(daemon.data_dir().join("keys.json")).expect("a header"), before);
    daemon.start_again();
    assert_live(&daemon, &token);
}

#[test]
fn a_backup_holds_nothing_that_can_be_read() {
    let provider = Provider::start();
    let daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.infrad(["backup", "file"]).wait().expect(0);
    let bytes = std::fs::read(daemon.directory().join("file")).expect("a backup");
    let mut canaries = infra_harness::canaries::Canaries::default();
    canaries.add("session secret", token.split_once('.').expect("two parts").1);
    canaries.add("client secret", CLIENT_SECRET);
    canaries.add("e-mail", "alice@example.test");
    canaries.add("SQLite", "SQLite format 3");
    canaries.add("root key", std::fs::read(daemon.root_key()).expect("the root key"));
    assert_eq!(canaries.find(&bytes), Vec::<String>::new());
    let mode = std::fs::metadata(daemon.directory().join("file")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_data_directory_that_was_rolled_back_is_refused_and_accepted_without_its_sessions() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let token = login::over_http(&daemon, &provider);
    daemon.stop();
    let (data, copy) = (daemon.data_dir(), daemon.directory().join("copy"));
    copy_files(&data, &copy);
    daemon.start_again();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    daemon.kill();

    std::fs::remove_dir_all(&data).expect("the data directory");
    copy_files(&copy, &data);
    daemon
        .infrad(["serve"])
        .wait()
        .expect(1)
        .telling(&["older than what this host has seen", "--accept-rollback"]);
    let mut accepted = daemon.infrad(["serve", "--accept-rollback"]);
    accepted.wait_for("that it listens", |stdout, _| stdout.contains("listens on").then_some(()));
    accepted.signal(rustix::process::Signal::TERM);
    accepted.wait_for_end(MOMENT).expect("it ends");
    daemon.start_again();
    assert_eq!(daemon.api().get_as("/v1/session", &token).status, 401);
    // A session of one and the same run that is ended is noted within a second.
    let token = login::over_http(&daemon, &provider);
    let noted = || std::fs::read(daemon.root_key().with_file_name("infrad.epoch")).expect("the epoch file");
    let before = noted();
    assert_eq!(daemon.api().delete_as("/v1/session", &token).status, 204);
    assert!(wait::until(MOMENT, || (noted() != before).then_some(())).is_some(), "{}", daemon.log());
}

fn copy_files(from: &Path, to: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().mode(0o700).create(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        if entry.file_type().expect("a kind").is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

#[test]
fn a_root_key_that_is_away_at_the_start_is_waited_for_and_away_later_does_no_harm() {
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
    assert_eq!(ask(&monitoring, "/readyz").0, 204);
    let (_, text) = ask(&monitoring, "/metrics");
    assert!(text.contains("infrad_secret_reads_total{reason=\"exchange\"} 1\n"), "{text}");
    let status = daemon.infrad(["status", "--json"]).wait().expect(0).json();
    assert_eq!((&status["state"], &status["liveSessions"]), (&json!("ready"), &json!(1)));
    assert_eq!(status["secretReads"]["exchange"], 1);

    bao.seal();
    assert_live(&daemon, &token);
    login::over_http(&daemon, &provider);
    daemon.infrad(["key", "rewrap"]).wait().expect(4).telling(&["sealed"]);
    bao.stop();
    assert_live(&daemon, &token);
    assert_eq!(ask(&monitoring, "/readyz").0, 204);

    daemon.stop();
    let mut waiting = daemon.infrad(["serve"]);
    let says_why = |(status, cause): &(u16, String)| *status == 503 && cause.contains("cannot be reached");
    let told = wait::until(MOMENT, || Some(ask(&monitoring, "/readyz")).filter(says_why));
    assert!(told.is_some(), "{:?}\n{}", ask(&monitoring, "/readyz"), waiting.output());
    assert_eq!(ask(&monitoring, "/healthz").0, 204);
    let status = daemon.infrad(["status"]).wait().expect(4);
    assert!(status.stdout.contains("waiting: the root key vault:https://"), "{status}");
    waiting.signal(rustix::process::Signal::TERM);
    assert_eq!(waiting.wait_for_end(MOMENT), Some(Some(0)), "{}", waiting.output());
}

/// Status and text of an answer in the clear; 0 where there is none.
fn ask(address: &str, path: &str) -> (u16, String) {
    use std::io::{Read, Write};
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(MOMENT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let text = ask().unwrap_or_default();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text)
}

#[test]
fn a_check_tries_everything_and_says_what_to_do() {
    let Some(provider) = infra_harness::certified_provider::CertifiedProvider::start(
        infra_harness::certified_provider::Paths::Custom,
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
            .map(|check| of(check, "result"))
            .collect()
    };
    daemon.change(|configuration| configuration.redirect_ports = vec![8301]);
    daemon.start_again();
    let good = check(&daemon, 0);
    for about in ["/", "unwraps", "client secret", "discovery", "signing keys", "client authentication"] {
        assert_eq!(result(&good, about), ["works"], "{about}: {good}");
    }
    assert_eq!(result(&good, "redirect URI"), ["works"], "{good}");
    let table = daemon.infrad(["check", "--live"]).wait().expect(0);
    assert!(table.stdout.contains("works    provider okta: client authentication"), "{table}");

    let secret = "wrong-secret-0123456789";
    daemon.change(|configuration| configuration.providers[0].client_secret = secret.to_owned());
    let ran = check(&daemon, 1);
    assert_eq!(result(&ran, "client authentication"), ["fails"], "{ran}");
    assert!(ran.stdout.contains("invalid_client") && !ran.stdout.contains(secret), "{ran}");
    daemon.change(|configuration| {
        configuration.providers[0].client_secret_reference = Some("file:/nonexistent".to_owned());
    });
    let ran = check(&daemon, 1);
    assert_eq!(result(&ran, "client secret"), ["fails"], "{ran}");
    daemon.change(|configuration| {
        configuration.providers[0].client_secret_reference = None;
        configuration.providers[0].issuer = "https://127.0.0.1:1/oauth2/default".to_owned();
    });
    let ran = check(&daemon, 4);
    assert_eq!(result(&ran, "discovery"), ["fails"], "{ran}");
}
