//! A complete login with the client secret in each of the seven kinds of backend, and where the secret remains
//! afterwards.

use std::path::Path;
use std::time::Duration;

use infra_harness::canaries::Canaries;
use infra_harness::daemon::{Configuration, Daemon, ProviderEntry};
use infra_harness::kubernetes::{Kubernetes, NAMESPACE};
use infra_harness::login::{self, Started};
use infra_harness::provider::{CLIENT_SECRET, Provider};
use infra_harness::services::write_private;
use infra_harness::{skip, wait};
use infra_peers::aws_metadata::{AUTHORIZATION, AWSMetadata};
use infra_peers::moto::{AccessKey, Moto, REGION};
use infra_peers::openbao::OpenBao;
use infra_shared::api::ProblemCode;
use serde_json::json;

const ERASURE_LIMIT: Duration = Duration::from_secs(30);

/// Signs in with this reference, searches for the secret everywhere, and returns the daemon.
fn sign_in(reference: &str, provider: &Provider, more: &str, prepare: impl FnOnce(&mut Daemon)) -> Daemon {
    let entry =
        ProviderEntry { client_secret_reference: Some(reference.to_owned()), ..ProviderEntry::of(provider) };
    let mut daemon = Daemon::prepare(vec![entry], |configuration: &mut Configuration| {
        configuration.more = format!("{more}log: {{level: trace}}\n");
    });
    prepare(&mut daemon);
    daemon.start_again();
    login::over_http(&daemon, provider);

    let mut canaries = Canaries::default();
    canaries.add("client secret", CLIENT_SECRET);
    assert_eq!(
        canaries.find(daemon.complete_log().as_bytes()),
        Vec::<String>::new(),
        "the secret is in the log\n{}",
        daemon.log()
    );
    let configuration = daemon.configuration_file();
    let allowed_files: &[&Path] = if reference.starts_with("plaintext:") { &[&configuration] } else { &[] };
    assert_eq!(canaries.find_in_files(daemon.directory(), allowed_files), Vec::<String>::new());
    // A secret in the configuration or environment always stays in the daemon's memory.
    if reference.starts_with("plaintext:") || reference.starts_with("env:") {
        return daemon;
    }
    let find = || canaries.find_in_memory(daemon.process());
    if find().is_none() {
        skip::report("only root may read the memory of the daemon");
        return daemon;
    }
    let is_gone = || find().is_some_and(|found| found.is_empty()).then_some(());
    assert!(wait::until(ERASURE_LIMIT, is_gone).is_some(), "{reference}: it is in memory: {:?}", find());
    daemon
}

#[track_caller]
fn assert_logs(daemon: &Daemon, words: &[&str]) {
    for word in words {
        daemon.wait_for_log(word);
    }
}

#[test]
fn login_works_with_secret_in_configuration() {
    let provider = Provider::start();
    let daemon = sign_in(&format!("plaintext:{CLIENT_SECRET}"), &provider, "", |_| {});
    daemon.wait_for_log("the configuration contains ");
}

#[test]
fn login_works_with_secret_in_environment() {
    let provider = Provider::start();
    sign_in("env:OKTA_CLIENT_SECRET", &provider, "", |daemon| {
        daemon.set_environment("OKTA_CLIENT_SECRET", CLIENT_SECRET);
    });
}

#[test]
fn login_works_with_secret_in_file() {
    let provider = Provider::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    write_private(&path, CLIENT_SECRET);
    sign_in(&format!("file:{}", path.display()), &provider, "", |_| {});
}

#[test]
fn login_works_with_secret_in_kubernetes() {
    let (provider, cluster) = (Provider::start(), Kubernetes::start());
    cluster.put("infra-okta", "clientSecret", CLIENT_SECRET);
    let more = format!(
        "secrets: [{{name: cluster, kind: kubernetes, config: {{server: \"{}\", tokenFile: {}, caFile: {}, namespace: \
         {NAMESPACE}}}}}]\n",
        cluster.address(),
        cluster.token_file().display(),
        cluster.authority_file().display()
    );
    let daemon = sign_in("cluster:infra-okta/clientSecret", &provider, &more, |_| {});
    // The daemon reads the secret once per exchange, and for nothing else.
    assert_eq!(cluster.requests(), 1);
    let started = Started::at(&daemon);
    assert_eq!(cluster.requests(), 1);
    assert_eq!(started.finish(&started.sign_in(&provider)).status, 201);
    assert_eq!(cluster.requests(), 2);
}

#[test]
fn login_follows_secret_rotation_and_outage_in_vault() {
    let provider = Provider::start();
    let Some(mut bao) = OpenBao::start() else { return };
    let store = |secret: &str| {
        bao.call("secret/data/infra-okta", Some(json!({"data": {"clientSecret": secret}})));
    };
    store(CLIENT_SECRET);
    let token = bao.token(r#"path "secret/data/infra-okta" { capabilities = ["read"] }"#, "1h");
    let more = format!(
        "secrets: [{{name: vault, kind: vault, config: {{address: \"{}\", caFile: {}, token: env:VAULT_TOKEN}}}}]\n",
        bao.address(),
        bao.authority_file().display()
    );
    let daemon = sign_in("vault:infra-okta#clientSecret", &provider, &more, |daemon| {
        daemon.set_environment("VAULT_TOKEN", &token);
    });

    // The secret is wrong. The provider rejects it, and the log tells the operator what to do.
    store("rotated, but not at the provider");
    let finish = || {
        let started = Started::at(&daemon);
        started.finish(&started.sign_in(&provider))
    };
    let refused = finish();
    assert_eq!((refused.status, refused.problem().code), (503, ProblemCode::Unavailable));
    assert_logs(&daemon, &["invalid_client", "vault:infra-okta#clientSecret"]);
    // The next login uses the right secret without a restart.
    store(CLIENT_SECRET);
    assert_eq!(finish().status, 201);

    bao.stop();
    let away = finish();
    assert_eq!((away.status, away.problem().code), (503, ProblemCode::Unavailable));
    // Only an outage is worth a retry.
    for (answered, retries, words) in [
        (&refused, false, "ask your operator to correct it"),
        (&away, true, "cannot reach the backend of its client secret"),
    ] {
        assert_eq!(answered.headers.get("retry-after").is_some(), retries, "{answered:?}");
        let detail = answered.problem().detail.unwrap_or_default();
        assert!(detail.contains(words), "{detail}");
    }
    assert_logs(&daemon, &["the secret backend is unavailable"]);
}

fn aws_entry(moto: &Moto, kind: &str) -> String {
    format!("secrets: [{{name: aws, kind: {kind}, config: {{endpoint: \"{}\"}}}}]\n", moto.endpoint())
}

fn filled_moto() -> Option<(Moto, AccessKey)> {
    let moto = Moto::start()?;
    let secret = json!({"clientSecret": CLIENT_SECRET}).to_string();
    moto.call("secretsmanager.CreateSecret", &json!({"Name": "infra-okta", "SecretString": secret}));
    moto.call(
        "AmazonSSM.PutParameter",
        &json!({"Name": "/infra/okta", "Type": "SecureString", "Value": CLIENT_SECRET}),
    );
    let actions = ["secretsmanager:GetSecretValue", "ssm:GetParameter"];
    let key = moto.user("infrad", &json!({"Effect": "Allow", "Action": actions, "Resource": "*"}));
    moto.check_signatures();
    Some((moto, key))
}

#[test]
fn login_works_with_secret_in_secrets_manager_and_access_key() {
    let provider = Provider::start();
    let Some((moto, key)) = filled_moto() else { return };
    let more = aws_entry(&moto, "awssecretsmanager");
    sign_in("aws:infra-okta#clientSecret", &provider, &more, |daemon| {
        daemon.set_environment("AWS_REGION", REGION);
        daemon.set_environment("AWS_ACCESS_KEY_ID", &key.id);
        daemon.set_environment("AWS_SECRET_ACCESS_KEY", &key.secret);
    });
}

#[test]
fn login_works_with_secret_in_parameter_store_and_profile() {
    let provider = Provider::start();
    let Some((moto, key)) = filled_moto() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let profile = directory.path().join("config");
    let (id, secret) = (&key.id, &key.secret);
    write_private(
        &profile,
        &format!(
            "[profile infrad]\nregion = {REGION}\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
        ),
    );
    let more = aws_entry(&moto, "awsssm").replace("}}]", ", profile: infrad}}]");
    sign_in("aws:/infra/okta", &provider, &more, |daemon| {
        daemon.set_environment("AWS_CONFIG_FILE", &profile.display().to_string());
    });
}

#[test]
fn login_works_with_container_or_instance_credentials() {
    let provider = Provider::start();
    let Some((moto, key)) = filled_moto() else { return };
    let more = aws_entry(&moto, "awsssm");
    let container = AWSMetadata::start(&key);
    sign_in("aws:/infra/okta", &provider, &more, |daemon| {
        daemon.set_environment("AWS_REGION", REGION);
        daemon.set_environment(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            &format!("{}/container", container.address()),
        );
        daemon.set_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN", AUTHORIZATION);
    });
    assert_eq!(container.requested_paths(), ["/container"]);

    let instance = AWSMetadata::start(&key);
    sign_in("aws:/infra/okta", &provider, &more, |daemon| {
        daemon.set_environment("AWS_EC2_METADATA_SERVICE_ENDPOINT", &instance.address());
    });
    assert!(instance.requested_paths().iter().any(|path| path.ends_with("security-credentials/infrad")));
}

#[test]
fn login_works_with_service_account_web_identity() {
    let provider = Provider::start();
    // This moto checks no signatures, because it has no user for this role.
    let Some(moto) = Moto::start() else { return };
    moto.call(
        "AmazonSSM.PutParameter",
        &json!({"Name": "/infra/okta", "Type": "SecureString", "Value": CLIENT_SECRET}),
    );
    let directory = tempfile::tempdir().expect("a directory");
    let token = directory.path().join("token");
    write_private(&token, "a token of the cluster");
    let more = aws_entry(&moto, "awsssm");
    sign_in("aws:/infra/okta", &provider, &more, |daemon| {
        daemon.set_environment("AWS_REGION", REGION);
        daemon.set_environment("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/infrad");
        daemon.set_environment("AWS_WEB_IDENTITY_TOKEN_FILE", &token.display().to_string());
        daemon.set_environment("AWS_ENDPOINT_URL_STS", &moto.endpoint());
    });
}

#[test]
fn check_reports_secrets_that_the_service_would_lack() {
    let provider = Provider::start();
    let with = |reference: &str, more: &str| {
        let entry = ProviderEntry {
            client_secret_reference: Some(reference.to_owned()),
            ..ProviderEntry::of(&provider)
        };
        Daemon::prepare(vec![entry], |configuration: &mut Configuration| {
            more.clone_into(&mut configuration.more);
        })
    };
    let daemon = with("env:INFRA_TEST_UNSET", "");
    let checked = daemon.infrad(["check"]).wait().expect(0).stdout;
    let words = [
        "unknown  provider okta: client secret env:INFRA_TEST_UNSET",
        "is not set for this command",
        "see `unknown`",
    ];
    assert!(words.iter().all(|word| checked.contains(word)), "{checked}");

    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("none");
    let mut daemon = with(&format!("file:{}", missing.display()), "");
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    assert!(
        checked.contains("failed   provider okta: client secret") && checked.contains("is missing"),
        "{checked}"
    );
    daemon.start_again();
    daemon.wait_for_log("cannot read the client secret: users cannot sign in");

    write_private(&folder.path().join("short"), "short");
    let credential = format!("file:{}", folder.path().join("short").display());
    let daemon = with(
        "plaintext:a-client-secret-of-some-length",
        &format!(
            "services: [{{name: a, audience: https://a.example.com, credentials: ['{credential}'], allow: everyone}}]\n"
        ),
    );
    let checked = daemon.infrad(["check"]).wait().expect(2);
    let checked = checked
        .stderr_contains(&["cannot use the credential of service `a`", "has fewer than 24 characters"]);
    assert!(!checked.stderr.contains("white space"), "advice for another fault\n{checked}");
}

#[test]
fn configuration_that_others_may_write_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    let provider = Provider::start();
    let daemon = Daemon::prepare(vec![ProviderEntry::of(&provider)], |_| {});
    daemon.infrad(["check"]).wait().expect(0);
    let open = std::fs::Permissions::from_mode(0o666);
    std::fs::set_permissions(daemon.configuration_file(), open).expect("a mode");
    let checked = daemon.infrad(["check"]).wait().expect(1).stdout;
    assert!(
        checked.contains("failed   configuration: ") && checked.contains("other users can write to"),
        "{checked}"
    );
}
