//! What operators see: the output and exit codes of `infrad`, compared with `tests/transcripts`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::program::{Ran, Transcript};
use infra_harness::provider::{CLIENT_SECRET, Provider};

fn transcript_of(provider: &Provider, daemon: &Daemon) -> Transcript {
    let mut transcript = Transcript::new();
    transcript.replace(daemon.origin(), "SERVER");
    transcript.replace(format!("127.0.0.1:{}", daemon.port()), "ADDRESS");
    transcript.replace(format!("sport = :{}", daemon.port()), "sport = :PORT");
    transcript.replace(provider.issuer(), "ISSUER");
    transcript.replace(provider.issuer().trim_start_matches("https://"), "ISSUER-HOST");
    for port in daemon.redirect_ports() {
        transcript.replace(format!("127.0.0.1:{port}"), "127.0.0.1:PORT");
    }
    transcript.replace(daemon.directory().display().to_string(), "DIRECTORY");
    transcript.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    transcript
}

#[track_caller]
fn run<const N: usize>(daemon: &Daemon, arguments: [&str; N], code: i32) -> Ran {
    let ran = daemon.infrad(arguments).wait().expect(code);
    assert!(!ran.to_string().contains(CLIENT_SECRET), "a secret is shown\n{ran}");
    ran
}

#[test]
fn check_matches_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.add(&run(&daemon, ["check"], 0));
    let sound = std::fs::read_to_string(daemon.configuration_file()).expect("the configuration");
    for (from, to) in [
        ("    clientID: ", "    clientld: "),
        ("    issuer: https://", "    issuer: http://"),
        ("    kind: oidc", "    kind: ldap"),
        ("clientSecret: file:", "clientSecret: fil:"),
        ("clientSecret: file:", "clientSecret: not-a-reference-"),
        ("clientSecret: file:", "clientSecret: plaintext:"),
        ("version: 1", "version: 2"),
        ("version: 1", "version: [one]"),
        ("keys:\n", "keys: {\n"),
        ("    allow: everyone\n", ""),
        ("    redirectPorts: [", "    redirectPorts: [80, "),
        ("version: 1", "version: 1\nsessions: {lifetime: 10s}"),
        ("version: 1", "version: 1\nsessions: {lifetime: 1h, inactivityTimeout: 2h}"),
        ("version: 1", "version: 1\nmetrics: {listen: \"127.0.0.1:9464\"}"),
    ] {
        assert!(sound.contains(from), "nothing to break: {from}");
        let broken = sound.replacen(from, to, 1);
        daemon.change(|configuration| configuration.verbatim = Some(broken));
        transcript.note(&format!("{from:?} became {to:?}"));
        let ran = daemon.infrad(["check"]).wait();
        assert!(!ran.to_string().contains(CLIENT_SECRET), "a secret is shown\n{ran}");
        transcript.add(&ran);
    }
    std::fs::remove_file(daemon.configuration_file()).expect("the configuration");
    transcript.note("there is no configuration");
    transcript.add(&run(&daemon, ["check"], 2));
    transcript.compare("infrad-check");
}

#[test]
fn check_names_unusable_secret() {
    let provider = Provider::start();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let configuration = std::fs::read_to_string(daemon.configuration_file()).expect("the configuration");
    let (_, secret) = configuration.split_once("clientSecret: file:").expect("a secret in a file");
    let secret = Path::new(secret.lines().next().expect("a path"));
    std::fs::set_permissions(secret, Permissions::from_mode(0o644)).expect("a mode");
    let ran = run(&daemon, ["check"], 1);
    for words in ["FAILS    provider ", "others may read ", "mode 0644", "try: `chmod 0400 "] {
        assert!(ran.stdout.contains(words), "{words}: {ran}");
    }
    assert!(!ran.stdout.contains("configuration is good"), "{ran}");
    let ran = run(&daemon, ["check", "--json"], 1).json();
    assert_eq!(ran.pointer("/problems/0/result").and_then(|result| result.as_str()), Some("fails"), "{ran}");

    // The configuration may be for another machine.
    std::fs::remove_file(secret).expect("the secret");
    let ran = run(&daemon, ["check"], 0);
    assert!(ran.stdout.contains("is missing on this machine") && ran.stdout.contains("as far as"), "{ran}");
}

#[test]
fn serve_and_fingerprint_match_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.note("before the first start");
    transcript.add(&run(&daemon, ["fingerprint"], 0));
    daemon.start_again();
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.process().to_string(), "PROCESS");
    transcript.note("while it runs");
    transcript.add(&run(&daemon, ["fingerprint"], 0));
    transcript.add(&run(&daemon, ["serve"], 1));
    daemon.stop();
    let root_key = daemon.root_key();
    let aside = root_key.with_extension("aside");
    std::fs::rename(&root_key, &aside).expect("the root key");
    transcript.note("the root key is gone");
    transcript.add(&run(&daemon, ["serve"], 1));
    std::fs::rename(&aside, &root_key).expect("the root key");
    let listener = std::net::TcpListener::bind(("127.0.0.1", daemon.port())).expect("its port is free");
    transcript.note("somebody else has its port");
    transcript.add(&run(&daemon, ["serve"], 1));
    drop(listener);
    transcript.note("the data directory is open to others");
    open_to_others(&daemon.data_dir());
    transcript.add(&run(&daemon, ["serve"], 1));
    transcript.compare("infrad-serve");
}

#[test]
fn keys_and_backups_match_transcript() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.note("before the first start");
    for command in ["status", "rotate"] {
        transcript.add(&run(&daemon, ["key", command], 1));
    }
    transcript.add(&run(&daemon, ["status"], 1));
    transcript.add(&run(&daemon, ["check", "--live"], 0));
    daemon.start_again();
    let status = run(&daemon, ["key", "status", "--json"], 0).json();
    let text = |name: &str| status.get(name).and_then(|text| text.as_str()).unwrap_or_default().to_owned();
    transcript.replace(text("store"), "STORE");
    transcript.replace(text("rootKey"), "ROOT-KEY");
    transcript.replace(daemon.fingerprint(), "FINGERPRINT");
    transcript.replace(daemon.process().to_string(), "PROCESS");
    transcript.note("while it runs");
    transcript.add(&run(&daemon, ["status"], 0));
    transcript.add(&run(&daemon, ["key", "status"], 0));
    transcript.add(&run(&daemon, ["key", "rewrap"], 0));
    transcript.add(&run(&daemon, ["key", "rotate"], 0));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], &"0".repeat(56), 2));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], RECOVERY_KEY, 1));
    let created = run(&daemon, ["key", "recovery", "create"], 0);
    let key = created.stdout.trim().to_owned();
    transcript.replace(key.clone(), "RECOVERY-KEY");
    transcript.add(&created);
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], &key, 0));
    transcript.add(&run_with_input(&daemon, ["key", "recovery", "test"], RECOVERY_KEY, 1));
    transcript.add(&run(&daemon, ["key", "status"], 0));
    transcript.add(&run(&daemon, ["backup", "infra.backup"], 0));
    transcript.add(&run(&daemon, ["backup", "infra.backup"], 2));
    transcript.add(&run(&daemon, ["backup", "verify", "infra.backup"], 0));
    transcript.add(&run(&daemon, ["backup", "verify", "infrad.yaml"], 1));
    let restore = run(&daemon, ["restore", "infra.backup"], 1);
    transcript.add(&restore);
    daemon.stop();
    transcript.note("while it does not run");
    transcript.add(&run(&daemon, ["status"], 1));
    transcript.add(&run(&daemon, ["key", "rotate"], 0));
    transcript.add(&run(&daemon, ["restore", "infra.backup"], 0));
    transcript.add(&run_with_input(&daemon, ["restore", "infra.backup", "--recovery"], &key, 0));
    transcript.note("without its root key");
    std::fs::remove_file(daemon.root_key()).expect("a root key");
    transcript.add(&run(&daemon, ["key", "rewrap"], 1));
    transcript.add(&run(&daemon, ["backup", "verify", "infra.backup"], 1));
    let rewrapped = run_with_input(&daemon, ["key", "rewrap", "--recovery"], &key, 0);
    let status = run(&daemon, ["key", "status", "--json"], 0).json();
    transcript.replace(status["rootKey"].as_str().unwrap_or_default().to_owned(), "NEW-ROOT-KEY");
    transcript.add(&rewrapped);
    transcript.compare("infrad-keys");
}

/// A recovery key of another store.
const RECOVERY_KEY: &str = "0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-0000-000B-6N6S";

#[track_caller]
fn run_with_input<const N: usize>(daemon: &Daemon, arguments: [&str; N], input: &str, code: i32) -> Ran {
    daemon.infrad_told(arguments, input).wait().expect(code)
}

#[test]
fn help_matches_transcript() {
    let provider = Provider::start();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let mut transcript = transcript_of(&provider, &daemon);
    transcript.add(&run(&daemon, ["--version"], 0));
    transcript.add(&run(&daemon, ["--help"], 0));
    for command in
        ["serve", "check", "status", "key", "backup", "restore", "dev", "fingerprint", "completions"]
    {
        transcript.add(&run(&daemon, [command, "--help"], 0));
    }
    for command in ["status", "rewrap", "rotate", "recovery"] {
        transcript.add(&run(&daemon, ["key", command, "--help"], 0));
    }
    transcript.add(&run(&daemon, ["sreve"], 2));
    transcript.compare("infrad-help");
}

fn open_to_others(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;

    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).expect("chmod");
}
