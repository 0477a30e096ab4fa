//! The cluster as an issuer, with an API server of the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use infra_harness::authority::Authority;
use infra_harness::https::{Answer, Request, Server};
use infra_harness::provider::Provider;
use infra_harness::workloads::{AUDIENCE, kubernetes, token};
use infra_shared::clock::{Clock, SystemClock};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::outbound::LIMITS;
use crate::secrets::KubernetesSettings;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const POD_TOKEN: &str = "token-of-the-pod";
const LOCALHOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Cluster {
    workloads: Workloads,
    keys: Provider,
    requests: Arc<AtomicUsize>,
    _server: Server,
    /// Its file goes with it.
    _authority: Authority,
    _directory: TempDir,
}

fn rule(issuer: &str) -> WorkloadSettings {
    WorkloadSettings {
        name: "deployer".to_owned(),
        issuer: issuer.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        claims: vec![ClaimRule {
            name: "sub".to_owned(),
            values: vec!["system:serviceaccount:my-namespace:deployer".to_owned()],
        }],
        services: vec!["wiki".to_owned()],
        lifetime: SignedDuration::from_mins(15),
        authorities: None,
    }
}

impl Cluster {
    /// A cluster whose API server answers only the account of the pod with `pod_token`.
    fn start(pod_token: &str) -> Self {
        let (authority, keys, requests) =
            (Authority::new(), Provider::start(), Arc::new(AtomicUsize::new(0)));
        let (published, count) = (keys.published_keys(), Arc::clone(&requests));
        let server = Server::start(authority.issue(), move |request: Request| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = match request.path.as_str() {
                _ if request.header("authorization") != Some(&format!("Bearer {POD_TOKEN}")) => {
                    Answer::json(401, &json!({"kind": "Status"}))
                }
                "/.well-known/openid-configuration" => Answer::json(
                    200,
                    &json!({"issuer": ISSUER, "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks",
                            "id_token_signing_alg_values_supported": ["RS256"]}),
                ),
                "/openid/v1/jwks" => {
                    let mut answer = Answer::json(200, &published);
                    answer.set_header("content-type", "application/jwk-set+json");
                    answer
                }
                _ => Answer::text(404, "not here"),
            };
            async move { answer }
        });
        let directory = tempfile::tempdir().expect("a directory");
        let token_file = directory.path().join("token");
        std::fs::write(&token_file, pod_token).expect("a file");
        let account = KubernetesSettings {
            server: Some(format!("https://127.0.0.1:{}", server.port()).parse().expect("an address")),
            token_file: Some(token_file),
            ca_file: Some(authority.file()),
            ..KubernetesSettings::default()
        };
        let issuers = vec![Issuer::of_cluster(account, &ExchangeLimits::default())];
        let workloads = Workloads { rules: vec![rule(CLUSTER)], issuers };
        Self { workloads, keys, requests, _server: server, _authority: authority, _directory: directory }
    }

    async fn identify(&self, issuer: &str) -> Result<IdentifiedWorkload, WorkloadError> {
        let mut claims = kubernetes(&self.keys);
        claims["iss"] = json!(issuer);
        let token = token(&self.keys, &claims).into();
        self.workloads.identify(&token, LOCALHOST, SystemClock.now()).await
    }
}

#[tokio::test]
async fn cluster_issuer_is_known_from_its_api_server() {
    let cluster = Cluster::start(POD_TOKEN);
    for _ in 0..3 {
        let workload = cluster.identify(ISSUER).await.expect("a workload");
        assert_eq!((workload.issuer(), workload.rules().len()), (ISSUER, 1));
        assert_eq!(workload.subject(), "system:serviceaccount:my-namespace:deployer");
    }
    assert_eq!(cluster.requests.load(Ordering::SeqCst), 2, "metadata and keys are cached");
    for other in ["https://other.test", CLUSTER, "https://kubernetes.default.svc.cluster.local/"] {
        let refused = cluster.identify(other).await.expect_err(other);
        assert!(matches!(refused, WorkloadError::UnknownIssuer), "{refused}");
    }
    assert!(cluster.workloads.has("deployer", ISSUER) && !cluster.workloads.has("other", ISSUER));
    let findings = cluster.workloads.diagnose(SystemClock.now()).await;
    assert!(
        findings.iter().all(|(_, finding)| finding.outcome == crate::identity::Outcome::Works),
        "{findings:?}"
    );
}

#[tokio::test]
async fn rejected_account_of_pod_is_reported() {
    let cluster = Cluster::start("another-token");
    let refused = cluster.identify(ISSUER).await.expect_err("no metadata");
    assert!(matches!(refused, WorkloadError::Unavailable { .. }), "{refused}");
    assert!(refused.to_string().contains("status 401"), "{refused}");
}

#[tokio::test]
async fn daemon_outside_of_cluster_reports_it() {
    let workloads =
        Workloads::new(vec![rule(CLUSTER)], &ExchangeLimits::default(), LIMITS).expect("a client");
    let findings = workloads.diagnose(SystemClock.now()).await;
    let [(name, finding)] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((name.as_str(), finding.what.as_str()), ("deployer", "issuer kubernetes:///"));
    let text = format!("{:?}", finding.outcome);
    assert!(text.contains("runs outside a pod"), "{text}");
}
