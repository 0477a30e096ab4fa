//! Every secret backend against a real server: success, and each reason why a read fails.

use infra_daemon::config::Config;
use infra_daemon::secrets::{ReadError, ReadReason};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use base64::Engine;
use infra_harness::authority::Authority;
use infra_harness::daemon::{Daemon, ProviderEntry};
use infra_harness::https::{Answer, Delivery, Server};
use infra_harness::kubernetes::{Kubernetes, NAMESPACE};
use infra_harness::ports::Ports;
use infra_harness::provider::Provider;
use infra_harness::proxy::{Proxy, ProxyMode};
use infra_peers::aws_metadata::AWSMetadata;
use infra_peers::moto::{AccessKey, Moto, REGION};
use infra_peers::openbao::OpenBao;
use secrecy::ExposeSecret;
use serde_json::json;
use tempfile::TempDir;

const SECRET: &str = "canary+of/the backends";

/// Ends a read that would never end.
const LIMIT: Duration = Duration::from_mins(1);

/// A folder for a configuration with these backends, written and read as an operator's would be.
struct ConfigFolder {
    directory: TempDir,
}

impl ConfigFolder {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    /// Writes a private file and returns the reference to it.
    fn file(&self, name: &str, contents: &str) -> String {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.directory.path().join(name);
        let mut file =
            std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.as_mut().expect("a file").write_all(contents.as_bytes()).expect("a file");
        format!("file:{}", path.display())
    }

    /// Returns the configuration with this backend and client secret reference.
    fn config(&self, backend: &str, reference: &str) -> Config {
        let yaml = format!(
            "version: 1\ndataDir: /srv/infrad\nsecrets: [{backend}]\nproviders: [{{name: okta, kind: okta, issuer: \
             https://okta.test, clientID: a, clientSecret: \"{reference}\"}}]\n"
        );
        let path = self.directory.path().join("infrad.yaml");
        std::fs::write(&path, yaml).expect("a file");
        Config::read(&path).expect("a valid configuration")
    }

    fn read(&self, backend: &str, reference: &str) -> Result<String, ReadError> {
        read(&self.config(backend, reference))
    }
}

fn read(config: &Config) -> Result<String, ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let reference = &config.providers.first().expect("a provider").client_secret;
    let read =
        async { tokio::time::timeout(LIMIT, config.backends.read(reference, ReadReason::Check)).await };
    let read = runtime.block_on(read).expect("a read ends");
    read.map(|secret| secret.expose_secret().to_owned()).inspect_err(|error| {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    })
}

/// Names the outcome of a read.
fn kind<T>(read: &Result<T, ReadError>) -> &'static str {
    match read {
        Ok(_) => "read",
        Err(ReadError::NotFound(_)) => "no such secret",
        Err(ReadError::NotAllowed(_)) => "not allowed",
        Err(ReadError::Credential(_)) => "credential",
        Err(ReadError::Unreachable(_)) => "unreachable",
        Err(ReadError::Unexpected(_)) => "unexpected",
        Err(ReadError::Malformed(_)) => "malformed",
    }
}

#[track_caller]
fn assert_kind(read: &Result<String, ReadError>, expected: &str) {
    assert_eq!(kind(read), expected, "{read:?}");
}

// Vault

fn vault(bao: &OpenBao, authentication: &str) -> String {
    vault_at(&bao.address(), bao, authentication)
}

fn vault_at(address: &str, bao: &OpenBao, authentication: &str) -> String {
    let authority = bao.authority_file();
    format!(
        "{{name: vault, kind: vault, config: {{address: \"{address}\", caFile: {}, {authentication}}}}}",
        authority.display()
    )
}

const READ_SECRETS: &str = r#"path "secret/data/okta" { capabilities = ["read"] }
path "secret/data/gone" { capabilities = ["read"] }
path "old/okta" { capabilities = ["read"] }"#;

#[test]
fn vault_reads_fields_of_both_kv_versions() {
    let Some(bao) = OpenBao::start() else { return };
    let folder = ConfigFolder::new();
    bao.call("secret/data/okta", Some(json!({"data": {"value": SECRET, "other": "another", "number": 7}})));
    bao.call("sys/mounts/old", Some(json!({"type": "kv", "options": {"version": "1"}})));
    bao.call("old/okta", Some(json!({"value": "of version 1"})));
    bao.call("secret/data/gone", Some(json!({"data": {"value": "v"}})));
    bao.call("secret/delete/gone", Some(json!({"versions": [1]})));
    let token = folder.file("token", &bao.token(READ_SECRETS, "1h"));
    let first = vault(&bao, &format!("token: \"{token}\""));
    let old = vault(&bao, &format!("token: \"{token}\", secretMount: /old/"));

    assert_eq!(folder.read(&first, "vault:okta").expect("a secret"), SECRET);
    assert_eq!(folder.read(&first, "vault:okta#other").expect("a secret"), "another");
    assert_eq!(folder.read(&old, "vault:okta#value").expect("a secret"), "of version 1");
    assert_kind(&folder.read(&first, "vault:okta#none"), "no such secret");
    assert_kind(&folder.read(&first, "vault:okta#number"), "malformed");
    assert_kind(&folder.read(&first, "vault:gone"), "no such secret");
    // This token may not learn whether the secret exists.
    assert_kind(&folder.read(&first, "vault:elsewhere"), "not allowed");
}

#[test]
fn vault_distinguishes_expired_token_from_outage() {
    let Some(mut bao) = OpenBao::start() else { return };
    let folder = ConfigFolder::new();
    bao.call("secret/data/okta", Some(json!({"data": {"value": SECRET}})));
    let token = bao.token(READ_SECRETS, "1h");
    let reference = folder.file("token", &format!("{token}\n"));
    let backend = vault(&bao, &format!("token: \"{reference}\""));
    let config = folder.config(&backend, "vault:okta");
    assert_eq!(read(&config).expect("a secret"), SECRET);
    // A renewal may shorten the lifetime.
    bao.call("auth/token/renew", Some(json!({"token": token, "increment": "1s"})));
    let ended = infra_harness::wait::until(LIMIT, || {
        let now = read(&config);
        now.is_err().then_some(now)
    });
    assert_kind(&ended.expect("the token ends"), "not allowed");
    // An agent writes a new token. The next read uses it without a restart.
    folder.file("token", &bao.token(READ_SECRETS, "1h"));
    assert_eq!(read(&config).expect("a secret"), SECRET);

    bao.seal();
    assert_kind(&read(&config), "unreachable");
    bao.stop();
    assert_kind(&read(&config), "unreachable");
}

#[test]
fn vault_app_role_logs_in_again_after_revocation() {
    let Some(bao) = OpenBao::start() else { return };
    let folder = ConfigFolder::new();
    bao.call("secret/data/okta", Some(json!({"data": {"value": SECRET}})));
    bao.call("sys/auth/machines", Some(json!({"type": "approle"})));
    bao.call("sys/policies/acl/okta", Some(json!({"policy": READ_SECRETS})));
    bao.call("auth/machines/role/infrad", Some(json!({"token_policies": ["okta"], "token_ttl": "1h"})));
    let role_id = bao.call("auth/machines/role/infrad/role-id", None)["data"]["role_id"].to_string();
    let secret_id = bao.call("auth/machines/role/infrad/secret-id", Some(json!({})));
    let role_id = folder.file("role-id", role_id.trim_matches('"'));
    let secret_id = folder.file("secret-id", secret_id["data"]["secret_id"].as_str().expect("a secret id"));
    let app_role = |secret_id: &str| {
        format!("appRole: {{mount: machines, roleID: \"{role_id}\", secretID: \"{secret_id}\"}}")
    };

    let config = folder.config(&vault(&bao, &app_role(&secret_id)), "vault:okta");
    assert_eq!(read(&config).expect("a secret"), SECRET);
    // Revokes all tokens of the auth method. The next read logs in again.
    bao.call("sys/leases/revoke-prefix/auth/machines/login", Some(json!({})));
    assert_eq!(read(&config).expect("a secret"), SECRET);

    let wrong = folder.file("wrong", "8f6a1d1e-0000-4000-8000-000000000000");
    assert_kind(&folder.read(&vault(&bao, &app_role(&wrong)), "vault:okta"), "credential");
    let elsewhere = app_role(&secret_id).replace("mount: machines", "mount: nowhere");
    assert_kind(&folder.read(&vault(&bao, &elsewhere), "vault:okta"), "credential");
    let missing = app_role("file:/nonexistent/secret-id");
    assert_kind(&folder.read(&vault(&bao, &missing), "vault:okta"), "credential");
}

#[test]
fn vault_reads_in_configured_namespace() {
    let Some(bao) = OpenBao::start() else { return };
    let folder = ConfigFolder::new();
    bao.call("sys/namespaces/platform", Some(json!({})));
    bao.call_in("platform", "sys/mounts/secret", Some(json!({"type": "kv", "options": {"version": "2"}})));
    bao.call_in("platform", "secret/data/okta", Some(json!({"data": {"value": SECRET}})));
    let token = folder.file("token", infra_peers::openbao::ROOT_TOKEN);
    let inside = vault(&bao, &format!("token: \"{token}\", namespace: platform"));
    let outside = vault(&bao, &format!("token: \"{token}\", namespace: \"\""));
    assert_eq!(folder.read(&inside, "vault:okta").expect("a secret"), SECRET);
    assert_kind(&folder.read(&outside, "vault:okta"), "no such secret");
}

#[test]
fn vault_with_untrusted_certificate_is_sent_nothing() {
    let Some(bao) = OpenBao::start() else { return };
    let folder = ConfigFolder::new();
    let authority = Authority::new();
    let token = folder.file("token", infra_peers::openbao::ROOT_TOKEN);
    let backend = format!(
        "{{name: vault, kind: vault, config: {{address: \"{}\", caFile: {}, token: \"{token}\"}}}}",
        bao.address(),
        authority.file().display()
    );
    assert_kind(&folder.read(&backend, "vault:okta"), "unreachable");
}

// AWS

fn aws(moto: &Moto, kind: &str, key: &AccessKey, folder: &ConfigFolder, more: &str) -> String {
    let id = folder.file("key-id", &key.id);
    let secret = folder.file("key", &key.secret);
    format!(
        "{{name: aws, kind: {kind}, config: {{region: {REGION}, endpoint: \"{}\", accessKeyID: \"{id}\", \
         secretAccessKey: \"{secret}\"{more}}}}}",
        moto.endpoint()
    )
}

/// Creates secrets and parameters, a user who may read them, and one who may not.
fn filled_moto() -> Option<(Moto, AccessKey, AccessKey)> {
    let moto = Moto::start()?;
    let create = |name: &str, field: &str, value: &str| {
        moto.call("secretsmanager.CreateSecret", &json!({"Name": name, field: value}));
    };
    create("okta", "SecretString", SECRET);
    create("infra/json", "SecretString", &json!({"clientSecret": SECRET, "port": 7}).to_string());
    create("binary", "SecretBinary", "b2YgYnl0ZXM=");
    create("bytes", "SecretBinary", "//79");
    let put = |name: &str, kind: &str, value: &str| {
        moto.call("AmazonSSM.PutParameter", &json!({"Name": name, "Type": kind, "Value": value}));
    };
    put("/infra/okta", "SecureString", SECRET);
    put("infra-okta", "SecureString", "without a slash");
    put("/infra/plain", "String", "plain");
    let reader = moto.user(
        "reader",
        &json!({"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue", "ssm:GetParameter"], "Resource": "*"}),
    );
    let other_user =
        moto.user("stranger", &json!({"Effect": "Allow", "Action": ["kms:List*"], "Resource": "*"}));
    moto.check_signatures();
    Some((moto, reader, other_user))
}

#[test]
fn secrets_manager_reads_values_and_distinguishes_errors() {
    let Some((moto, reader, other_user)) = filled_moto() else { return };
    let folder = ConfigFolder::new();
    let backend = aws(&moto, "awssecretsmanager", &reader, &folder, "");
    assert_eq!(folder.read(&backend, "aws:okta").expect("a secret"), SECRET);
    assert_eq!(folder.read(&backend, "aws:infra/json#clientSecret").expect("a secret"), SECRET);
    assert_eq!(folder.read(&backend, "aws:binary").expect("a secret"), "of bytes");
    assert_kind(&folder.read(&backend, "aws:bytes"), "malformed");
    assert_kind(&folder.read(&backend, "aws:infra/json#port"), "malformed");
    assert_kind(&folder.read(&backend, "aws:infra/json#none"), "no such secret");
    assert_kind(&folder.read(&backend, "aws:okta#field"), "malformed");
    assert_kind(&folder.read(&backend, "aws:none"), "no such secret");

    let current = aws(&moto, "awssecretsmanager", &reader, &folder, ", versionStage: AWSCURRENT");
    assert_eq!(folder.read(&current, "aws:okta").expect("a secret"), SECRET);
    let previous = aws(&moto, "awssecretsmanager", &reader, &folder, ", versionStage: AWSPREVIOUS");
    assert_kind(&folder.read(&previous, "aws:okta"), "no such secret");

    for key in [
        other_user,
        AccessKey { secret: "wrong".to_owned(), ..reader.clone() },
        AccessKey { id: "AKIAUNKNOWN".to_owned(), ..reader.clone() },
    ] {
        let backend = aws(&moto, "awssecretsmanager", &key, &folder, "");
        assert_kind(&folder.read(&backend, "aws:okta"), "not allowed");
    }
}

#[test]
fn parameter_store_decrypts_and_preserves_names() {
    let Some((moto, reader, other_user)) = filled_moto() else { return };
    let folder = ConfigFolder::new();
    let backend = aws(&moto, "awsssm", &reader, &folder, "");
    assert_eq!(folder.read(&backend, "aws:/infra/okta").expect("a secret"), SECRET);
    assert_eq!(folder.read(&backend, "aws:infra-okta").expect("a secret"), "without a slash");
    assert_eq!(folder.read(&backend, "aws:/infra/plain").expect("a secret"), "plain");
    assert_kind(&folder.read(&backend, "aws:infra/okta"), "no such secret");
    assert_kind(
        &folder.read(&aws(&moto, "awsssm", &other_user, &folder, ""), "aws:/infra/okta"),
        "not allowed",
    );
    drop(moto);
    assert_kind(&folder.read(&backend, "aws:/infra/okta"), "unreachable");
}

// Kubernetes

/// Returns a backend for a real or simulated API server.
fn kubernetes(server: &str, token_file: &str, authority_file: &str, namespace: &str) -> String {
    format!(
        "{{name: cluster, kind: kubernetes, config: {{server: \"{server}\", tokenFile: {token_file}, caFile: \
         {authority_file}, namespace: {namespace}}}}}"
    )
}

fn simulated_cluster(cluster: &Kubernetes, namespace: &str) -> String {
    kubernetes(
        &cluster.address(),
        &cluster.token_file().display().to_string(),
        &cluster.authority_file().display().to_string(),
        namespace,
    )
}

#[test]
fn kubernetes_reads_key_and_distinguishes_errors() {
    let cluster = Kubernetes::start();
    let folder = ConfigFolder::new();
    cluster.put("infra-okta", "clientSecret", SECRET);
    cluster.put("infra-okta", "bytes", b"\xff\xfe");
    cluster.put_encoded("infra-okta", "broken", "not Base64!");
    let backend = simulated_cluster(&cluster, NAMESPACE);
    assert_eq!(folder.read(&backend, "cluster:infra-okta/clientSecret").expect("a secret"), SECRET);
    for (reference, expected) in [
        ("cluster:infra-okta/none", "no such secret"),
        ("cluster:none/clientSecret", "no such secret"),
        ("cluster:forbidden/clientSecret", "not allowed"),
        ("cluster:infra-okta/bytes", "malformed"),
        ("cluster:infra-okta/broken", "unexpected"),
    ] {
        assert_kind(&folder.read(&backend, reference), expected);
    }
    let elsewhere = simulated_cluster(&cluster, "other");
    assert_kind(&folder.read(&elsewhere, "cluster:infra-okta/clientSecret"), "not allowed");
    for (answer, expected) in [
        (Answer::text(200, "<html>"), "unexpected"),
        (Answer::text(503, ""), "unreachable"),
        (Answer::redirect("https://127.0.0.1:1/"), "unexpected"),
        (Answer { delivery: Delivery::Endless, ..Answer::text(200, &"x".repeat(4096)) }, "unexpected"),
    ] {
        cluster.misbehave(Some(answer));
        assert_kind(&folder.read(&backend, "cluster:infra-okta/clientSecret"), expected);
    }
}

#[test]
fn kubernetes_token_is_read_again_after_rotation() {
    let cluster = Kubernetes::start();
    let folder = ConfigFolder::new();
    cluster.put("infra-okta", "clientSecret", SECRET);
    let config = folder.config(&simulated_cluster(&cluster, NAMESPACE), "cluster:infra-okta/clientSecret");
    for _ in 0..3 {
        assert_eq!(read(&config).expect("a secret"), SECRET);
        cluster.rotate_token();
    }
    std::fs::write(cluster.token_file(), "another token").expect("the token file");
    assert_kind(&read(&config), "credential");
    // An API server would treat the request as anonymous and report missing permissions.
    for (contents, what) in [("", "is empty"), ("\n", "is empty"), ("a token \n", "ends with white space")] {
        std::fs::write(cluster.token_file(), contents).expect("the token file");
        let requests = cluster.requests();
        let error = read(&config).expect_err(what).to_string();
        assert!(error.contains("cannot authenticate") && error.contains(what), "{error}");
        assert_eq!(cluster.requests(), requests, "{what}");
    }
    std::fs::remove_file(cluster.token_file()).expect("the token file");
    let error = read(&config).expect_err("no token").to_string();
    assert!(error.contains("cannot authenticate") && error.contains("token does not exist"), "{error}");
}

#[test]
fn secret_is_read_from_real_api_server_if_configured() {
    #[expect(clippy::disallowed_methods, reason = "the environment names the API server")]
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let names = ["INFRA_TEST_KUBERNETES_URL", "INFRA_TEST_KUBERNETES_TOKEN", "INFRA_TEST_KUBERNETES_CA"];
    let [Some(server), Some(token), Some(authority)] = names.map(variable) else {
        return infra_harness::skip::report(
            "no API server is given in INFRA_TEST_KUBERNETES_URL, _TOKEN and _CA",
        );
    };
    // That server has a Secret `infra-okta` with the key `clientSecret`, in the namespace
    // INFRA_TEST_KUBERNETES_NAMESPACE.
    let folder = ConfigFolder::new();
    let namespace = variable("INFRA_TEST_KUBERNETES_NAMESPACE").unwrap_or_else(|| NAMESPACE.to_owned());
    let token = folder.file("token", &token);
    let backend = kubernetes(&server, token.trim_start_matches("file:"), &authority, &namespace);
    assert_kind(&folder.read(&backend, "cluster:infra-okta/clientSecret"), "read");
    assert_kind(&folder.read(&backend, "cluster:infra-okta/none"), "no such secret");
    let elsewhere = kubernetes(&server, token.trim_start_matches("file:"), &authority, "infra-elsewhere");
    assert_kind(&folder.read(&elsewhere, "cluster:infra-okta/clientSecret"), "not allowed");
}

// Normalization of stored secrets

/// What each backend stores after the secret, and what every backend makes of it.
const STORED: [(&str, Result<(), &str>); 6] = [
    ("\n", Ok(())),
    ("\r\n", Ok(())),
    (" ", Err("ends with white space")),
    ("\n\n", Err("ends with more than one line break")),
    ("\u{200b}", Err("contains an invisible character")),
    ("\u{7}", Err("contains a control character")),
];

#[track_caller]
fn assert_normalized(what: &str, expected: Result<(), &str>, read: &Result<String, ReadError>) {
    match expected {
        Ok(()) => assert_eq!(read.as_deref().expect(what), SECRET, "{what}"),
        Err(fault) => {
            assert_kind(read, "malformed");
            assert!(read.as_ref().is_err_and(|error| error.to_string().contains(fault)), "{what}: {read:?}");
        }
    }
}

#[test]
fn every_backend_normalizes_secrets_alike() {
    let folder = ConfigFolder::new();
    let cluster = Kubernetes::start();
    let (bao, moto) = (OpenBao::start(), Moto::start());
    for (number, (end, expected)) in STORED.into_iter().enumerate() {
        let stored = format!("{SECRET}{end}");
        let none = "{name: none, kind: env}";
        assert_normalized("file", expected, &folder.read(none, &folder.file("secret", &stored)));
        // YAML has JSON's escapes.
        let plaintext = json!(format!("plaintext:{stored}")).to_string();
        assert_normalized("plaintext", expected, &folder.read(none, plaintext.trim_matches('"')));
        let encoded = base64::prelude::BASE64_STANDARD.encode(&stored);
        let backend = "{name: encoded, kind: plaintext, config: {base64: true}}";
        assert_normalized("encoded", expected, &folder.read(backend, &format!("encoded:{encoded}")));
        cluster.put("infra-okta", "clientSecret", &stored);
        let read = folder.read(&simulated_cluster(&cluster, NAMESPACE), "cluster:infra-okta/clientSecret");
        assert_normalized("kubernetes", expected, &read);
        if let Some(bao) = &bao {
            bao.call("secret/data/okta", Some(json!({"data": {"value": stored}})));
            let token = folder.file("token", infra_peers::openbao::ROOT_TOKEN);
            let backend = vault(bao, &format!("token: \"{token}\""));
            assert_normalized("vault", expected, &folder.read(&backend, "vault:okta"));
        }
        if let Some(moto) = &moto {
            let key = AccessKey { id: "AKIDEXAMPLE".to_owned(), secret: "secret".to_owned() };
            let (secret, parameter) = (format!("okta{number}"), format!("/infra/okta{number}"));
            moto.call("secretsmanager.CreateSecret", &json!({"Name": secret, "SecretString": stored}));
            let put = json!({"Name": parameter, "Type": "SecureString", "Value": stored});
            moto.call("AmazonSSM.PutParameter", &put);
            let backend = aws(moto, "awssecretsmanager", &key, &folder, "");
            assert_normalized("awssm", expected, &folder.read(&backend, &format!("aws:{secret}")));
            let backend = aws(moto, "awsssm", &key, &folder, "");
            assert_normalized("awsssm", expected, &folder.read(&backend, &format!("aws:{parameter}")));
        }
        let variables = [("OKTA_SECRET", stored.as_str())];
        let report = secret_report(&check_live("", "env:OKTA_SECRET", &variables));
        match expected {
            Ok(()) => assert!(report.starts_with("ok "), "{report}"),
            Err(fault) => {
                assert!(report.contains(fault) && report.contains("try: store the secret again"), "{report}");
            }
        }
        assert!(!report.contains("canary"), "{report}");
    }
}

#[test]
fn check_names_unusable_local_secret() {
    let folder = ConfigFolder::new();
    let reference = folder.file("secret", "\u{feff}canary-of-windows\r\n");
    let provider = Provider::start();
    let entry =
        ProviderEntry { client_secret_reference: Some(reference.clone()), ..ProviderEntry::of(&provider) };
    let daemon = Daemon::prepare(vec![entry], |_| {});
    let ran = daemon.infrad(["check"]).wait().expect(2);
    for words in [
        "cannot use the client secret of provider `okta`".to_owned(),
        format!("{reference} begins with a byte-order mark"),
        "try: store the secret again".to_owned(),
    ] {
        assert!(ran.stderr.contains(&words), "it does not say {words:?}\n{ran}");
    }
    assert!(!ran.to_string().contains("canary"), "{ran}");
    folder.file("secret", "canary-of-windows\r\n");
    daemon.infrad(["check"]).wait().expect(0);
}

// Outages

#[test]
fn vault_outage_names_its_cause() {
    let status = Arc::new(AtomicU16::new(0));
    let answers = Arc::clone(&status);
    let authority = Authority::new();
    let server = Server::start(authority.issue(), move |_| {
        let status = answers.load(Ordering::SeqCst);
        let mut answer = Answer::json(status, &json!({"errors": ["canary"]}));
        answer.set_header("location", "https://active.test:8200/v1/secret/data/okta?canary");
        std::future::ready(answer)
    });
    let more = format!(
        "secrets: [{{name: vault, kind: vault, config: {{address: \"https://127.0.0.1:{}\", caFile: {}, token: plaintext:t}}}}]\n",
        server.port(),
        authority.file().display()
    );
    for (answered, word, is_outage) in [
        (307, "is a standby, and redirects to https://active.test:8200", true),
        (429, "limits the rate of requests", true),
        (472, "standby for disaster recovery", true),
        (473, "performance standby", true),
        (503, "sealed", true),
        (403, "denies", false),
        (302, "follows no redirects", false),
    ] {
        status.store(answered, Ordering::SeqCst);
        let report = secret_report(&check_live(&more, "vault:okta", &[]));
        assert!(report.contains(word) && !report.contains("canary"), "{answered}: {report}");
        assert_eq!(report.contains("the secret backend is unavailable"), is_outage, "{answered}: {report}");
        assert!(!report.contains("clientSecret"), "{answered}: {report}");
    }
}

#[test]
fn silent_metadata_service_error_names_hop_limit() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = format!("http://{}", silent.local_addr().expect("an address"));
    for region in ["region: us-west-2, ", ""] {
        let more = format!(
            "secrets: [{{name: aws, kind: awsssm, config: {{{region}endpoint: \"http://127.0.0.1:9\"}}}}]\n"
        );
        let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.as_str())];
        let report = secret_report(&check_live(&more, "aws:/infra/okta", &variables));
        for words in
            ["the secret backend is unavailable", "metadata service 127.0.0.1 did not answer", "hop limit"]
        {
            assert!(report.contains(words), "it does not say {words:?}: {report}");
        }
    }
    // Outside AWS, nothing listens at that address, and the daemon reports that immediately.
    let ports = Ports::reserve(1);
    let unused = format!("http://127.0.0.1:{}", ports.all()[0]);
    let more =
        "secrets: [{name: aws, kind: awsssm, config: {region: r, endpoint: \"http://127.0.0.1:9\"}}]\n";
    let variables = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", unused.as_str())];
    let report = secret_report(&check_live(more, "aws:/infra/okta", &variables));
    assert!(report.contains("found no AWS credentials") && !report.contains("hop limit"), "{report}");
}

// Proxies

/// Runs `infrad check --live` with this backend, reference and environment, and returns its output.
fn check_live(more: &str, reference: &str, variables: &[(&str, &str)]) -> String {
    let provider = Provider::start();
    let entry =
        ProviderEntry { client_secret_reference: Some(reference.to_owned()), ..ProviderEntry::of(&provider) };
    let mut daemon = Daemon::prepare(vec![entry], |configuration| more.clone_into(&mut configuration.more));
    for (name, value) in variables {
        daemon.set_environment(name, value);
    }
    let ran = daemon.infrad(["check", "--live"]).wait();
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Returns what `check --live` reports about the client secret, including the reason and the hint.
#[track_caller]
fn secret_report(report: &str) -> String {
    let mut lines = report.lines().skip_while(|line| !line.contains("client secret "));
    let first = lines.next().expect(report);
    let more = lines.take_while(|line| line.starts_with("         "));
    std::iter::once(first).chain(more).collect::<Vec<_>>().join("\n")
}

#[test]
fn loopback_and_plain_http_never_use_a_proxy() {
    let Some(moto) = Moto::start() else { return };
    moto.call(
        "AmazonSSM.PutParameter",
        &json!({"Name": "/infra/okta", "Type": "SecureString", "Value": SECRET}),
    );
    let key = AccessKey { id: "AKIDCANARY".to_owned(), secret: "canary".to_owned() };
    let instance = AWSMetadata::start(&key);
    let unused = Ports::reserve(1);
    let vault = format!(
        "secrets: [{{name: vault, kind: vault, config: {{address: \"http://127.0.0.1:{}\", token: env:VAULT_TOKEN}}}}]\n",
        unused.all()[0]
    );
    let aws =
        format!("secrets: [{{name: aws, kind: awsssm, config: {{endpoint: \"{}\"}}}}]\n", moto.endpoint());
    let proxy = Proxy::start(ProxyMode::Reject);
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"] {
        let variables = [
            (variable, proxy.address()),
            ("VAULT_TOKEN", "hvs.CANARY".to_owned()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.address()),
        ];
        let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
        let report = secret_report(&check_live(&vault, "vault:infra-okta#clientSecret", &variables));
        assert!(report.contains("127.0.0.1 cannot be reached: Connection refused"), "{report}");
        // Both the credentials from the metadata service and the secret travel over plain HTTP on loopback.
        let report = secret_report(&check_live(&aws, "aws:/infra/okta", &variables));
        assert!(report.starts_with("ok "), "{report}");
        assert_eq!(proxy.targets(), Vec::<String>::new(), "{variable}");
    }
}

#[test]
fn error_names_failing_proxy() {
    let vault = "secrets: [{name: vault, kind: vault, config: {address: \"https://vault.test:8200\", token: plaintext:t}}]\n";
    let report = |address: &str| {
        let variables = [("HTTPS_PROXY", address)];
        secret_report(&check_live(vault, "vault:infra-okta", &variables))
    };
    let refuses = Proxy::start(ProxyMode::Reject);
    let text = report(&refuses.address());
    let words = format!("vault.test cannot be reached: the proxy {} refused to connect", refuses.address());
    assert!(text.contains(&words), "{text}");
    assert_eq!(refuses.targets().first().map(String::as_str), Some("vault.test:8200"));
    let asks = Proxy::start(ProxyMode::RequireCredentials("alice:canary"));
    let wrong = report(&asks.address().replace("//", "//alice:canary-of-mine@"));
    assert!(wrong.contains(&format!("the proxy {} rejected the credentials", asks.address())), "{wrong}");
    assert!(!wrong.contains("canary"), "{wrong}");
    let hangs = Proxy::start(ProxyMode::Hang);
    let slow = report(&hangs.address());
    assert!(
        slow.contains(&format!("vault.test (through the proxy {}) did not answer", hangs.address())),
        "{slow}"
    );
    assert!(report("https://127.0.0.1:1").contains("uses TLS, which is not supported"));
    let address = refuses.address();
    let list = [("HTTPS_PROXY", address.as_str()), ("NO_PROXY", "*.test,localhost")];
    let warned = check_live(vault, "vault:infra-okta", &list);
    assert!(warned.contains("warning: these entries of NO_PROXY match no server: `*.test`;"), "{warned}");
}

#[test]
fn api_server_is_reached_directly_unless_configured() {
    let cluster = Kubernetes::start();
    let proxy = Proxy::start(ProxyMode::Tunnel);
    let port = cluster.address().rsplit_once(':').expect("a port").1.to_owned();
    for (more, through_proxy) in [("", false), (", useProxy: false", false), (", useProxy: true", true)] {
        let before = proxy.targets().len();
        // A name that only the proxy can resolve.
        let backend =
            simulated_cluster(&cluster, &format!("{NAMESPACE}{more}")).replace("127.0.0.1", "cluster.test");
        let more = format!("secrets: [{backend}]\n");
        let address = proxy.address();
        let report = secret_report(&check_live(
            &more,
            "cluster:infra-okta/clientSecret",
            &[("HTTPS_PROXY", &address)],
        ));
        let targets = proxy.targets().split_off(before);
        let expected = vec![format!("cluster.test:{port}"); usize::from(through_proxy)];
        assert_eq!(targets, expected, "{more}: {report}");
    }
}

// All backends

/// Covers a closed port and a server that never answers.
#[test]
fn every_backend_times_out() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent.local_addr().expect("an address");
    let ports = Ports::reserve(1);
    let unused = ports.all()[0];
    let backends = [
        ("vault", "token: plaintext:t", "address"),
        (
            "awssecretsmanager",
            "region: r, accessKeyID: plaintext:a, secretAccessKey: plaintext:s",
            "endpoint",
        ),
        ("awsssm", "region: r, accessKeyID: plaintext:a, secretAccessKey: plaintext:s", "endpoint"),
    ];
    std::thread::scope(|scope| {
        for (kind, config, key) in backends {
            for address in [format!("http://127.0.0.1:{unused}"), format!("http://{silent}")] {
                scope.spawn(move || {
                    let backend =
                        format!("{{name: b, kind: {kind}, config: {{{config}, {key}: \"{address}\"}}}}");
                    assert_kind(&ConfigFolder::new().read(&backend, "b:okta"), "unreachable");
                });
            }
        }
    });
}
