//! Valid and invalid configurations. Each invalid one contains a secret that no message may show.

mod database;
mod limits;
mod schema;
mod services;
mod workloads;

use std::path::PathBuf;

use jiff::SignedDuration;

use super::*;
use crate::identity::{Allow, ClientAuthentication, SigningAlgorithm};
use crate::logging::{LogFormat, LogLevel};

const CANARY: &str = "canary-5b1d0c";

const PROVIDER: &str = "\
providers:
  - name: okta
    kind: okta
    issuer: https://example.okta.com
    clientID: 0oa1b2c3
    clientSecret: plaintext:canary-5b1d0c
";

fn directories() -> Directories {
    Directories {
        data: Some("/var/lib/infrad".into()),
        root_key: Some("/etc/infra/root.key".into()),
        ..Directories::default()
    }
}

fn parse(text: &str) -> Result<Config, FaultAt> {
    Config::parse(text, &directories())
}

/// Returns the error message for the invalid `text`.
fn message(text: &str) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("infrad.yaml");
    std::fs::write(&path, text).expect("a file");
    let error = Config::read(&path).expect_err(text);
    assert!(!format!("{error:?}{error}").contains("canary"), "the secret is shown: {error}");
    error.to_string().replace(&path.display().to_string(), "infrad.yaml")
}

fn with_section(section: &str) -> String {
    format!("version: 1\n{section}\n{PROVIDER}")
}

fn with_provider_line(line: &str) -> String {
    format!("version: 1\n{PROVIDER}    {line}\n")
}

#[track_caller]
fn assert_says(text: &str, expected: &[&str]) {
    let message = message(text);
    for part in expected {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn missing_key_takes_its_default() {
    let config = parse(&with_section("")).expect("a good configuration");
    assert_eq!(config.listen, "[::]:443".parse().expect("an address"));
    assert!(config.public_urls.is_empty());
    assert_eq!(config.data_dir, PathBuf::from("/var/lib/infrad"));
    assert_eq!(config.https.minimum_version, MinimumVersion::Tls13);
    let describe =
        |keys: &[RootKeySettings]| -> Vec<String> { keys.iter().map(RootKeySettings::describe).collect() };
    assert_eq!(describe(&config.root_keys), ["/etc/infra/root.key"]);
    assert_eq!(config.rollback_guard_file, Some("/etc/infra/infrad.rollback-guard".into()));
    assert_eq!(config.sessions.lifetime, SignedDuration::from_hours(12));
    assert_eq!(config.sessions.inactivity_timeout, SignedDuration::from_hours(4));
    assert_eq!(config.sessions.max_per_user, 48);
    assert_eq!(config.log, LogSettings::default());
    let [provider] = config.providers.as_slice() else { panic!("one provider") };
    assert_eq!(provider.redirect_uris.first().map(String::as_str), Some("http://127.0.0.1:8301/callback"));
    assert_eq!(provider.redirect_uris.len(), 3);
    assert_eq!(provider.scopes, ["openid", "email", "profile", "groups"]);
    assert_eq!(provider.allow, Allow::Everyone);
    assert!(!provider.development);
}

#[test]
fn every_section_is_read() {
    let config = parse(
        r#"
version: 1
listen: "127.0.0.1:8443"
publicURLs: [https://infra.example.com, "infra.internal:8443"]
dataDir: /srv/infrad
tls: {minVersion: "1.2"}
providers:
  - name: okta
    kind: okta
    issuer: https://example.okta.com/oauth2/default/
    clientID: "0123456"
    clientSecret: env:OKTA_CLIENT_SECRET
    clientAuthentication: client_secret_post
    redirectPorts: [9001, 9002]
    scopes: [openid, groups]
    groupsClaim: teams
    signingAlgorithms: [PS384]
    assumePKCE: true
    allow: {groups: [engineering], emailDomains: [example.com], emails: []}
    caFile: null
  - {name: other, kind: oidc, issuer: "https://id.example.com", clientID: x, clientSecret: "encoded:OTHER", allow: everyone}
secrets:
  - {name: encoded, kind: env, config: {base64: true}}
keys:
  - {kind: native, config: {path: /etc/elsewhere/root.key}}
  - {kind: native, config: {path: /etc/elsewhere/old.key}}
sessions: {lifetime: 1h30m, inactivityTimeout: 90s, maxPerUser: 2, revalidateEvery: null}
log: {format: json, level: warn}
"#,
    )
    .expect("a good configuration");
    assert_eq!(
        config.public_urls.last().map(ToString::to_string),
        Some("https://infra.internal:8443".into())
    );
    assert_eq!(config.https.minimum_version, MinimumVersion::Tls12);
    assert_eq!(config.root_keys.len(), 2);
    assert_eq!(config.sessions.lifetime, SignedDuration::from_mins(90));
    assert_eq!(config.sessions.inactivity_timeout, SignedDuration::from_secs(90));
    assert_eq!(config.log, LogSettings { format: LogFormat::Json, level: LogLevel::Warn });
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let [okta, other] = config.providers.as_slice() else { panic!("two providers") };
    assert_eq!(okta.issuer, "https://example.okta.com/oauth2/default/");
    assert_eq!(okta.client_id, "0123456");
    assert_eq!(okta.client_authentication, ClientAuthentication::ClientSecretPost);
    assert_eq!(okta.redirect_uris, ["http://127.0.0.1:9001/callback", "http://127.0.0.1:9002/callback"]);
    assert_eq!(okta.groups_claim, "teams");
    assert_eq!(okta.signing_algorithms, [SigningAlgorithm::PS384]);
    assert!(okta.assumes_pkce && !other.assumes_pkce);
    assert!(matches!(&okta.allow, Allow::Listed { groups, .. } if groups == &["engineering"]));
    assert_eq!(other.client_secret.backend(), "encoded");
    assert_eq!(other.allow, Allow::Everyone);
    assert_eq!(other.scopes, ["openid", "email", "profile"]);
}

#[test]
fn plaintext_secret_causes_warning_without_its_value() {
    let config = parse(&with_section("")).expect("a good configuration");
    let [warning] = config.warnings.as_slice() else { panic!("one warning: {:?}", config.warnings) };
    assert!(warning.contains("provider `okta`"), "{warning}");
    assert!(!format!("{config:?}").contains(CANARY));
}

#[test]
fn unknown_key_is_reported_with_position_and_nearest_key() {
    assert_says(
        &with_provider_line("redirectPort: [8301]"),
        &[
            "infrad.yaml, line 8, column 5: unknown key `redirectPort` in `providers[0]`; did you mean `redirectPorts`?",
        ],
    );
    assert_says(&with_section("publicUrls: []"), &["line 2, column 1", "did you mean `publicURLs`?"]);
    assert_says(
        &with_section("sessions: {lifetme: 12h}"),
        &["line 2, column 12", "`sessions`", "`lifetime`?"],
    );
    assert_says(
        &with_section("colour: blue"),
        &["unknown key `colour`; remove it, or write one of `admins`"],
    );
    assert_says(
        &with_section("sessions.lifetime: 8h"),
        &["line 2, column 1: a dot in a key means a section: write `sessions: {lifetime: …}`"],
    );
    assert_says(&with_section("canary.5b1d0c: 1"), &["unknown key (not a word)"]);
}

#[test]
fn addresses_that_exclude_each_other_are_rejected() {
    for (listen, metrics, redirect) in [
        ("127.0.0.1:443", "127.0.0.1:443", None),
        ("[::]:443", "127.0.0.1:443", None),
        ("0.0.0.0:443", "10.0.0.1:443", None),
        ("127.0.0.1:443", "127.0.0.1:80", Some("0.0.0.0:80")),
    ] {
        let redirect =
            redirect.map(|address| format!("\ntls: {{redirectHTTP: \"{address}\"}}")).unwrap_or_default();
        let section = format!("listen: \"{listen}\"\nmetrics: {{listen: \"{metrics}\"}}{redirect}");
        assert_says(&with_section(&section), &["`metrics.listen` must be another address than `listen`"]);
    }
    let same = "listen: \"[::]:443\"\ntls: {redirectHTTP: \"127.0.0.1:443\"}";
    assert_says(&with_section(same), &["`tls.redirectHTTP` must be another address than `listen`"]);
    for apart in [
        "listen: \"0.0.0.0:443\"\nmetrics: {listen: \"[::1]:443\"}",
        "listen: \"[::]:443\"\nmetrics: {listen: \"127.0.0.1:9464\"}",
    ] {
        parse(&with_section(apart)).expect("two addresses");
    }
}

#[test]
fn revalidation_requests_refresh_tokens() {
    let config = parse(&with_section("sessions: {revalidateEvery: 15m}")).expect("a good configuration");
    assert_eq!(config.sessions.revalidate_every, Some(SignedDuration::from_mins(15)));
    let scopes = &config.providers.first().expect("a provider").scopes;
    assert!(scopes.iter().any(|scope| scope == "offline_access"), "{scopes:?}");
    for section in ["sessions: {revalidateEvery: null}", ""] {
        let config = parse(&with_section(section)).expect("a good configuration");
        assert_eq!(config.sessions.revalidate_every, None);
        let scopes = &config.providers.first().expect("a provider").scopes;
        assert!(!scopes.iter().any(|scope| scope == "offline_access"), "{scopes:?}");
    }
    for wrong in ["9s", "13h", "0", "often", "true"] {
        let section = format!("sessions: {{revalidateEvery: {wrong}}}");
        assert_says(&with_section(&section), &["sessions.revalidateEvery", "from 10s"]);
    }
}

#[test]
fn undeclared_backend_is_named_with_its_declaration() {
    for (backend, kind) in [("vault", "vault"), ("awssm", "awssecretsmanager"), ("awsssm", "awsssm")] {
        let text = format!("version: 1\n{}", PROVIDER.replace("plaintext:", &format!("{backend}:")));
        assert_says(
            &text,
            &["line 7, column 19", &format!("secrets: [{{name: {backend}, kind: {kind}, config: {{…}}}}]")],
        );
    }
}

#[test]
fn remote_backends_are_read_with_their_credentials() {
    let vault = "address: https://vault.test, secretMount: /kv/infra/, namespace: \"\"";
    for config in [
        "kind: kubernetes".to_owned(),
        "kind: kubernetes, config: {server: https://k.test, tokenFile: /t, caFile: /c, namespace: infra, useProxy: true}"
            .to_owned(),
        format!("kind: vault, config: {{{vault}, token: env:VAULT_TOKEN}}"),
        format!(
            "kind: vault, config: {{{vault}, appRole: {{roleID: env:A, secretID: file:/b, mount: machines}}}}"
        ),
        format!("kind: vault, config: {{{vault}, kubernetes: {{role: infrad}}}}"),
        "kind: vault, config: {address: \"http://127.0.0.1:8200\", token: env:VAULT_TOKEN}".to_owned(),
        "kind: awsssm".to_owned(),
        "kind: awssecretsmanager, config: {region: us-west-2, versionStage: AWSPENDING, profile: infrad}"
            .to_owned(),
        "kind: awsssm, config: {endpoint: https://ssm.test, accessKeyID: env:A, secretAccessKey: env:B, \
         sessionToken: env:C}"
            .to_owned(),
    ] {
        let text = with_section(&format!("secrets: [{{name: mine, {config}}}]"));
        if let Err(FaultAt { fault, .. }) = parse(&text) {
            panic!("{config}: {fault}");
        }
    }
}

#[test]
fn invalid_remote_backend_is_reported_with_expected_value() {
    for (config, expected) in [
        ("kind: vault", "`config` is missing"),
        ("kind: vault, config: {token: env:A}", "`address` is missing"),
        ("kind: vault, config: {address: https://v.test}", "`token` is missing"),
        ("kind: vault, config: {address: \"http://v.test\", token: env:A}", "an https address"),
        ("kind: vault, config: {address: https://canary@v.test, token: env:A}", "an https address"),
        ("kind: vault, config: {address: https://v.test, token: canary-5b1d0c}", "`BACKEND:NAME`"),
        (
            "kind: vault, config: {address: https://v.test, token: \"vault:canary\"}",
            "`vault:` is not declared",
        ),
        (
            "kind: vault, config: {address: https://v.test, token: env:A, kubernetes: {role: a}}",
            "only one of `token`, `appRole` and `kubernetes` is allowed",
        ),
        (
            "kind: vault, config: {address: https://v.test, token: env:A, secretMount: a/../b}",
            "the path of a key-value engine",
        ),
        (
            "kind: vault, config: {address: https://v.test, token: env:A, caFile: /nonexistent}",
            "cannot use /nonexistent",
        ),
        ("kind: awsssm, config: {accessKeyID: env:A}", "`secretAccessKey` is missing"),
        ("kind: awsssm, config: {secretAccessKey: env:A}", "`accessKeyID` is missing"),
        ("kind: awsssm, config: {endpoint: \"http://ssm.test\"}", "an https address"),
        ("kind: awsssm, config: {versionStage: A}", "unknown key `versionStage`"),
        ("kind: kubernetes, config: {namespace: In_fra}", "the name of a namespace"),
        ("kind: kubernetes, config: {useProxy: often}", "`true` or `false`"),
        ("kind: kubernetes, config: {tokenFile: token}", "an absolute path"),
    ] {
        assert_says(
            &with_section(&format!("secrets: [{{name: mine, {config}}}]")),
            &["line 2, column", expected],
        );
    }
}

#[test]
fn rollback_guard_is_next_to_native_root_key() {
    for (keys, described) in [
        ("{kind: awskms, config: {keyID: alias/infrad, region: us-west-2}}", "awskms:alias/infrad"),
        (
            "{kind: vault, config: {address: https://v.test, token: env:A, key: infrad, transitMount: /t/}}",
            "vault:https://v.test/t/infrad",
        ),
    ] {
        let config = parse(&with_section(&format!("keys: [{keys}]"))).expect("a good configuration");
        assert_eq!(config.root_keys.iter().map(RootKeySettings::describe).collect::<Vec<_>>(), [described]);
        assert_eq!(config.rollback_guard_file, Some("/etc/infra/infrad.rollback-guard".into()));
    }
    let rollback_guard_file =
        |section: &str| parse(&with_section(section)).expect("a good configuration").rollback_guard_file;
    let native = "keys: [{kind: native, config: {path: /srv/keys/root.key}}]";
    assert_eq!(rollback_guard_file(native), Some("/srv/keys/infrad.rollback-guard".into()));
    assert_eq!(rollback_guard_file("rollbackGuardFile: none"), None);
    assert_eq!(rollback_guard_file("rollbackGuardFile: /srv/guard"), Some("/srv/guard".into()));
    let config = parse(&with_section("metrics: {listen: \"127.0.0.1:9464\"}")).expect("a good configuration");
    assert_eq!(config.metrics, Some("127.0.0.1:9464".parse().expect("an address")));
}

#[test]
fn invalid_value_error_names_expected_value() {
    for (section, expected) in [
        ("listen: 443", "an address and a port, such as `\"[::]:443\"`"),
        ("listen: infra.example.com:443", "an address and a port"),
        ("publicURLs: https://infra.example.com", "a list of https addresses"),
        ("publicURLs: [http://infra.example.com]", "an https address"),
        (
            "publicURLs: [a.example.com, https://a.example.com]",
            "an address that the list does not contain yet",
        ),
        ("dataDir: data", "an absolute path"),
        ("dataDir: /var/../etc", "an absolute path without `..`"),
        ("tls: {minVersion: 1.1}", "`\"1.3\"` or `\"1.2\"`"),
        ("tls: yes please", "a section with keys such as `acme:`"),
        ("sessions: {lifetime: 31d}", "a duration from 1m to 30d, such as `12h`"),
        ("sessions: {lifetime: 59s}", "a duration from 1m to 30d"),
        ("sessions: {lifetime: 12}", "must be a duration from 1m to 30d, such as `12h` or `1h30m`"),
        ("sessions: {lifetime: 1h, inactivityTimeout: 2h}", "a duration from 1m to the `lifetime`"),
        ("sessions: {maxPerUser: 0}", "a whole number from 1 to 10000, such as 48"),
        ("sessions: {maxPerUser: many}", "a whole number"),
        ("log: {level: loud}", "one of `error`, `warn`, `info`, `debug` or `trace`"),
        ("log: {format: xml}", "one of `text` or `json`"),
        ("keys: []", "a list with at least one key"),
        ("keys: [{kind: stone}]", "`native`, `awskms` or `vault`"),
        ("keys: [{kind: awskms}]", "`config` is missing"),
        ("keys: [{kind: awskms, config: {region: a}}]", "`keyID` is missing"),
        ("keys: [{kind: vault, config: {address: https://v.test, token: env:A}}]", "`key` is missing"),
        (
            "keys: [{kind: vault, config: {address: https://v.test, token: env:A, key: a/b}}]",
            "the name of a key",
        ),
        ("rollbackGuardFile: /var/lib/infrad/guard", "a file outside `dataDir`"),
        ("metrics: {listen: 9464}", "an address and a port, such as `127.0.0.1:9464`"),
        ("keys: [{kind: native, config: {path: /var/lib/infrad/root.key}}]", "a file outside `dataDir`"),
        ("secrets: [{name: env, kind: env}]", "a name that no other backend has"),
        ("secrets: [{name: a, kind: env, config: {base64: true, base64Raw: true}}]", "only one encoding"),
        ("secrets: [{name: a, kind: stone}]", "one of `env`, `file`, `plaintext`, `kubernetes`"),
    ] {
        assert_says(&with_section(section), &["line 2, column ", expected]);
    }
}

#[test]
fn invalid_provider_value_error_names_expected_value() {
    for (line, expected) in [
        ("redirectPorts: []", "a list of 1 to 10 ports"),
        ("redirectPorts: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]", "a list of 1 to 10 ports"),
        ("redirectPorts: [1023]", "a whole number from 1024 to 65535"),
        ("redirectPorts: [65536]", "a whole number from 1024 to 65535"),
        ("redirectPorts: [8301, 8301]", "a port that the list does not contain yet"),
        ("scopes: [email]", "with `openid` among them"),
        ("scopes: [openid, \"a b\"]", "with `openid` among them"),
        ("signingAlgorithms: [none]", "one of `RS256`"),
        ("signingAlgorithms: [RS256, HS256]", "one of `RS256`"),
        ("signingAlgorithms: [RS1]", "one of `RS256`"),
        ("signingAlgorithms: []", "a list of algorithms"),
        ("clientAuthentication: none", "one of `client_secret_basic` or `client_secret_post`"),
        ("allow: nobody", "`everyone`, or lists"),
        ("allow: {}", "`everyone`, or lists"),
        ("allow: {emails: alice@example.com}", "a list of addresses"),
        ("allow: {emailDomains: [\"@example.com\"]}", "a list of domains without `@`"),
        ("allow: {emails: [example.com]}", "a list of addresses"),
        ("caFile: ca.pem", "an absolute path"),
        ("caFile: /nonexistent/ca.pem", "cannot use /nonexistent/ca.pem"),
    ] {
        assert_says(&with_provider_line(line), &["line 8, column ", expected]);
    }
}

#[test]
fn ca_file_without_certificates_is_rejected() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, "no certificate").expect("a file");
    let line = format!("caFile: {}", path.display());
    assert_says(&with_provider_line(&line), &["line 8, column 13", "ca.pem: "]);
}

#[test]
fn excessive_nesting_and_aliases_are_rejected() {
    let deep = format!("listen: {}", "[".repeat(500_000));
    assert_says(&with_section(&deep), &["infrad.yaml, line "]);
    let levels: Vec<String> =
        (1..30).map(|level| format!("a{level}: &a{level} [*a{0}, *a{0}]\n", level - 1)).collect();
    assert_says(&with_section(&format!("a0: &a0 [x, x]\n{}", levels.concat())), &["infrad.yaml, line "]);
}

#[test]
fn issuer_is_https_url_without_query_or_fragment() {
    for issuer in [
        "http://example.okta.com",
        "HTTPS://example.okta.com",
        "example.okta.com",
        "https://",
        "https://example.okta.com?a",
        "\"https://example.okta.com#a\"",
        "https://user@example.okta.com",
        "\"https://example.okta.com/ a\"",
    ] {
        let text = with_section("").replace("https://example.okta.com", issuer);
        assert_says(&text, &["`providers[0].issuer` must be the provider's https address"]);
    }
}

#[test]
fn oidc_provider_requires_allow() {
    let text = with_section("").replace("kind: okta", "kind: oidc");
    assert_says(&text, &["`allow` is missing in `providers[0]`; add, for example, `allow: {emailDomains:"]);
}

#[test]
fn providers_are_required_and_have_unique_names() {
    assert_says("version: 1\n", &["`providers` is missing; add, for example"]);
    assert_says("version: 1\nproviders: []\n", &["at least one provider"]);
    let twice = format!("version: 1\n{PROVIDER}{}", PROVIDER.replace("providers:\n", ""));
    assert_says(
        &twice,
        &["line 8, column 11: `providers[1].name` must be a name that no other provider has"],
    );
    assert_says(
        &with_section("").replace("name: okta", "name: Okta"),
        &["lower-case letters, digits and dashes"],
    );
}

#[test]
fn unsupported_version_is_rejected() {
    assert_says(PROVIDER, &["`version` is missing; add, for example, `version: 1`"]);
    assert_says(&format!("version: 2\n{PROVIDER}"), &["line 1, column 10: `version` must be"]);
}

#[test]
fn secret_without_backend_is_not_shown() {
    for secret in
        [CANARY.to_owned(), format!("{CANARY}:x"), format!("{{{CANARY}: x}}"), format!("[{CANARY}]")]
    {
        let text = with_section("").replace("plaintext:canary-5b1d0c", &secret);
        assert_says(&text, &["line 8, column 19", "`BACKEND:NAME`", "`plaintext:…`"]);
    }
}

#[test]
fn secret_in_place_of_key_is_not_shown() {
    assert_says(&with_section("canary-5b1d0c: 1"), &["unknown key (not a word)"]);
}

#[test]
fn invalid_yaml_is_reported_with_position_not_text() {
    for broken in [
        "allow: {groups: [a",
        "scopes: \"open",
        "\tallow: everyone",
        "allow: *canary",
        "  x: - y: ]",
        "a: 1e999",
    ] {
        assert_says(&with_provider_line(broken), &["infrad.yaml, line "]);
    }
}

#[test]
fn duplicate_key_is_rejected() {
    assert_says(
        &with_provider_line("clientID: x"),
        &["line 8, column 5: ", "`clientID` is given twice, first in line "],
    );
}

#[test]
fn second_document_is_rejected() {
    assert_says(&format!("{}---\nversion: 1\n", with_section("")), &["one document"]);
}

#[test]
fn paths_are_required_without_home_directory() {
    let none = Directories::default();
    let missing = |text: &str| match Config::parse(text, &none) {
        Err(FaultAt { fault: Fault::Missing { key, .. }, .. }) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&with_section("")), "dataDir");
    assert_eq!(missing(&with_section("dataDir: /srv/infrad")), "keys");
}

#[test]
fn rollback_guard_needs_path_if_root_key_is_credential() {
    let handed = Directories {
        data: Some("/var/lib/infrad".into()),
        root_key: Some("/run/credentials/infrad.service/root.key".into()),
        ..Directories::default()
    };
    match Config::parse(&with_section(""), &handed) {
        Err(FaultAt { fault: Fault::Missing { key, .. }, .. }) => assert_eq!(key, "rollbackGuardFile"),
        other => panic!("{other:?}"),
    }
    let guard = "rollbackGuardFile: /var/lib/infrad-rollback-guard/infrad.rollback-guard";
    let config = Config::parse(&with_section(guard), &handed).expect("a good configuration");
    assert_eq!(
        config.rollback_guard_file,
        Some("/var/lib/infrad-rollback-guard/infrad.rollback-guard".into())
    );
}
