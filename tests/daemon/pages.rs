//! The documentation for operators is correct: `infrad` accepts every configuration and every command in it. The
//! configuration page has exactly the keys of `infrad`, and says which of them a reload applies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use clap::{CommandFactory, Parser};
use infra_daemon::arguments::Arguments;
use infra_daemon::config::SCHEMA;
use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::documents::{Block, Host, Page, Treatment, calls, pages, unknown_name};
use infra_harness::provider::Provider;
use infra_harness::services::write_private;
use serde_json::Value;

/// Required keys that the blocks on the pages omit, one by one.
const REQUIRED: [(&str, &str); 5] = [
    ("version", "version: 1"),
    ("publicURLs", "publicURLs: [https://infra.example.com]"),
    ("dataDir", "dataDir: /var/lib/infrad"),
    (
        "providers",
        "providers:\n  - {name: okta, kind: okta, issuer: \"https://example.okta.com\", clientID: a, clientSecret: \"env:A\"}\n  - {name: \
         entra, kind: oidc, issuer: \"https://id.example.com\", clientID: a, clientSecret: \"env:A\", allow: everyone}",
    ),
    ("keys", "keys:\n  - {kind: native, config: {path: /etc/infra/root.key}}"),
];

#[test]
fn every_documented_configuration_is_accepted() {
    let provider = Provider::start();
    let mut daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    let directory = daemon.directory().join("etc");
    fs::create_dir(&directory).expect("a folder");
    let authority = Authority::new();
    let leaf = authority.issue();
    for (name, text) in [("tls.crt", &leaf.chain_pem), ("tls.key", &leaf.key_pem)] {
        write_private(&directory.join(name), text);
    }
    fs::copy(authority.file(), directory.join("cluster-ca.pem")).expect("a file");
    fs::copy(authority.file(), directory.join("provider-ca.pem")).expect("a file");
    let mut accepted = 0;
    for block in pages().iter().flat_map(Page::blocks) {
        let text = match block.treatment() {
            Treatment::Configuration => with_required_keys(&block.text),
            Treatment::Provider => with_required_keys(&as_provider_keys(&block.text)),
            _ => continue,
        };
        // The tests' certificate is for loopback.
        let text = if text.contains("files:") {
            text.replace("https://infra.example.com", "https://127.0.0.1")
        } else {
            text
        };
        let text = text.replace("/etc/infra/", &format!("{}/", directory.display()));
        daemon.change(|configuration| configuration.verbatim = Some(text.clone()));
        let ran = daemon.infrad(["check"]).wait();
        // 1: it is understood, and this machine has not what it names.
        assert!([Some(0), Some(1)].contains(&ran.code), "{}\n{text}\n{ran}", block.page);
        accepted += 1;
    }
    assert!(accepted > 20, "{accepted}");
}

/// Adds the required keys to the sections of a block.
fn with_required_keys(text: &str) -> String {
    let is_written = |key: &str| text.lines().any(|line| line.starts_with(&format!("{key}:")));
    let required = REQUIRED.iter().filter(|(key, _)| !is_written(key));
    required.fold(text.to_owned(), |text, (_, lines)| format!("{text}{lines}\n"))
}

fn as_provider_keys(text: &str) -> String {
    let provider =
        "{name: okta, kind: okta, issuer: \"https://example.okta.com\", clientID: a, clientSecret: \"env:A\"";
    format!("providers: [{provider}, {}}}]\n", text.trim())
}

#[test]
fn every_documented_infrad_command_parses() {
    let (mut typed, mut named) = (0, 0);
    let program = Arguments::command();
    for page in pages() {
        for block in page.blocks().into_iter().filter(Block::is_typed) {
            for call in calls(&block.typed()).into_iter().filter(|call| call.program == "infrad") {
                Arguments::try_parse_from(&call.words)
                    .unwrap_or_else(|error| panic!("{}: {:?}: {error}", page.path, call.words));
                typed += 1;
            }
        }
        for code in page.inline_code().into_iter().filter(|code| code.starts_with("infrad ")) {
            for call in calls(&code) {
                assert_eq!(unknown_name(&program, &call.words), None, "{}: `{code}`", page.path);
                named += 1;
            }
        }
    }
    assert!(typed > 20 && named > 40, "{typed} are typed, {named} are named");
}

#[test]
fn configuration_page_lists_exactly_the_keys_of_infrad() {
    let schema = serde_json::from_str(SCHEMA).expect("JSON");
    let mut known = BTreeSet::new();
    collect_keys(&schema, &schema, "", &mut known);
    let of_page: BTreeSet<String> = documented_keys().into_keys().collect();
    assert_eq!(known.difference(&of_page).collect::<Vec<_>>(), Vec::<&String>::new(), "not on the page");
    assert_eq!(of_page.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "not in the schema");
    assert!(known.len() > 100, "{}", known.len());
}

/// Collects the paths of all keys below `node`, as the page writes them: `secrets[].name`, and `secrets[vault].config.address`
/// if the kind decides.
fn collect_keys(schema: &Value, node: &Value, path: &str, keys: &mut BTreeSet<String>) {
    if let Some(reference) = node["$ref"].as_str() {
        let node = schema.pointer(reference.trim_start_matches('#')).expect(reference);
        return collect_keys(schema, node, path, keys);
    }
    for (key, node) in node["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        collect_keys(schema, node, &path, keys);
        keys.insert(path);
    }
    if node["items"].is_object() {
        collect_keys(schema, &node["items"], &format!("{path}[]"), keys);
    }
    for choice in node["anyOf"].as_array().into_iter().flatten() {
        collect_keys(schema, choice, path, keys);
    }
    for case in node["allOf"].as_array().into_iter().flatten() {
        let kind = case.pointer("/if/properties/kind").expect("a case is about kinds");
        let kinds = kind["enum"].as_array().cloned().unwrap_or_else(|| vec![kind["const"].clone()]);
        let config = case.pointer("/then/properties/config").expect("a kind has a configuration");
        for kind in kinds.iter().filter_map(Value::as_str) {
            collect_keys(schema, config, &path.replace("[]", &format!("[{kind}].config")), keys);
        }
    }
}

/// Returns the keys in the page's tables, each with its heading.
fn documented_keys() -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for (heading, row) in Page::read("docs/configuration.md").rows() {
        if heading == RELOADED {
            continue;
        }
        for key in row.first().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            assert!(keys.insert(key.to_owned(), heading.clone()).is_none(), "`{key}` is listed twice");
        }
    }
    keys
}

/// The heading of the keys that a reload applies.
const RELOADED: &str = "What is taken over without a restart";

#[test]
fn reload_applies_documented_keys_and_names_other_sections() {
    let provider = Provider::start();
    let mut daemon = Daemon::start(&provider);
    let rows = Page::read("docs/configuration.md").rows();
    let known = documented_keys();
    let reloaded: Vec<&str> = rows
        .iter()
        .filter(|(heading, _)| heading == RELOADED)
        .flat_map(|(_, row)| row[0].split('`').skip(1).step_by(2))
        .filter(|key| known.contains_key(*key))
        .collect();
    assert_eq!(reloaded, ["log.level"]);

    // Every section differs, including `log.format`. For a change of `log.level` alone, the daemon names no section, as
    // tests/daemon/monitoring.rs shows.
    let text = with_required_keys(
        "listen: \"127.0.0.1:1\"\ntls: {minVersion: \"1.2\"}\nsecrets: [{name: encoded, kind: env}]\nrollbackGuardFile: none\nsessions: {lifetime: \
         1h}\ndatabase: {kind: postgresql, hosts: [a], name: b, user: c}\nlimits: {maxConnections: 100}\ntrustedProxies: [192.0.2.1]\nproxyProtocol: true\nadmins: [{provider: okta, groups: \
         [a]}]\nmetrics: {listen: \"127.0.0.1:2\"}\naudit: {journal: true}\nlog: {format: json, level: debug}\nservices: [{name: a, allow: \
         everyone}]\njwt: {algorithm: EdDSA}\nworkloads: [{name: ci, issuer: \"https://ci.test\", audiences: [a], claims: {sub: a}, services: [a]}]\n",
    );
    daemon.change(|configuration| configuration.verbatim = Some(text));
    daemon.control("reload");
    let log = daemon.wait_for_log_with("the sections that need a restart", |log| {
        log.lines().any(|line| line.contains("sections=\"") && line.ends_with('"'))
    });
    let named =
        |line: &str| line.split_once("sections=\"").map(|(_, rest)| rest.trim_end_matches('"').to_owned());
    let named = log.lines().rev().find_map(named).expect("it was waited for");
    let named: BTreeSet<&str> = named.split(", ").collect();
    let sections: BTreeSet<&str> =
        known.keys().map(|key| key.split(['.', '[']).next().unwrap_or_default()).collect();
    // Only version 1 is accepted.
    let expected: BTreeSet<&str> = sections.into_iter().filter(|section| *section != "version").collect();
    assert_eq!(named, expected);
}

/// If there is no token, no request is sent, and a script ends.
#[test]
fn script_with_a_token_ends_when_infra_fails() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    for (name, code) in [("infra", 3), ("curl", 0), ("deploy", 0)] {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\necho {name} >>ran\nexit {code}\n")).expect("a program");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    let mut tried = 0;
    for block in pages().iter().flat_map(Page::blocks) {
        let is_script =
            ["$(infra token", "infra token --min-left"].iter().any(|part| block.text.contains(part));
        // The examples of the help are typed in a terminal, where `exit` would close the shell. They use `&&`.
        if block.language != "sh" || !is_script || block.page == "docs/infra.md" {
            continue;
        }
        for options in [&["sh", "-c"][..], &["sh", "-e", "-c"], &["bash", "-c"], &["bash", "-e", "-c"]] {
            let (program, options) = options.split_first().expect("a shell");
            let ran = std::process::Command::new(program)
                .args(options)
                .arg(format!("{}\necho 'it goes on'", block.text))
                .env("PATH", format!("{}:/usr/bin:/bin", directory.path().display()))
                .current_dir(directory.path())
                .output()
                .expect("a shell");
            // A block to type at a prompt keeps the terminal open.
            let expected = if block.text.contains(") &&\n") { 0 } else { 3 };
            assert_eq!(ran.status.code(), Some(expected), "{}: {program}: {}", block.page, block.text);
            let log = directory.path().join("ran");
            assert_eq!(std::fs::read_to_string(&log).expect("infra ran"), "infra\n", "{}", block.page);
            std::fs::remove_file(log).expect("a file");
        }
        tried += 1;
    }
    assert!(tried >= 3, "{tried}");
}
